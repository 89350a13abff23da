"""The prediction service and batch scoring: HTTP, validation, metrics; may import `core`."""
