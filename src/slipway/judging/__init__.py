"""Decide whether a change may be merged; may import `packaging`, `github` and the rooms below them, never `delivery`."""
