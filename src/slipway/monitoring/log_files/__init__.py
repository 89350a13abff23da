"""Closed files of the prediction log: compacted to parquet, uploaded; may import `core`, `problem` and `serving`."""
