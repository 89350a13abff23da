"""Answer one question about a window of the prediction log per module; may import `monitoring.window` and the rooms below `judging`."""
