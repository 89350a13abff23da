"""Watch a released model by its prediction log and labels; may import the rooms below `judging`."""
