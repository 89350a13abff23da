"""Closed files of the prediction log: compacted to parquet; may import `core` and `serving`."""
