"""Decide whether a digest may go on: `release`, `promote`, `rollback` and `policy`; may import `packaging`, `github` and the rooms below, never `judging`."""
