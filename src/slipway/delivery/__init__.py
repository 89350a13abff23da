"""Decide whether a digest may go on; may import `packaging`, `github` and the rooms below them, never `judging`."""
