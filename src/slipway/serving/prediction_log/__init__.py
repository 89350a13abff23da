"""The prediction log that the service writes: lines, files, and the thread between; may import `core` and `errors`."""
