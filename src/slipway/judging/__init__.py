"""May this change be merged? `prove`, `judge` and `latency`; may import `packaging`, `github` and the rooms below, never `delivery`."""
