"""Request ids, structured logs and traces of the service; may import `errors`."""
