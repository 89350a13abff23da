"""The branch `slipway-records`: verdicts, decisions and alerts that are no release; may import `core`."""
