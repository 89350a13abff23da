"""The service's documents about itself: the page at `/` and the OpenAPI document; may import `serving.validation`."""
