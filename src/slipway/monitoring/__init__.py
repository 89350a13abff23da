"""Watch a released model by its prediction log and labels; may import `serving` and the rooms below `judging`."""
