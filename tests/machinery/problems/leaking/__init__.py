"""The bikes problem with a feature that is not known in time: `features` must refuse it."""
