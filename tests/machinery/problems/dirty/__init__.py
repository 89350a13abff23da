"""The bikes problem over a source that a test may spoil: `ingest` must refuse it."""
