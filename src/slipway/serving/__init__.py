"""The prediction service and batch scoring: validation, metrics, OpenAPI; may import `core`."""
