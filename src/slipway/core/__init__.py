"""Records, parameters, files, Git, DVC and processes for every room; may import only `slipway.errors` and `slipway.problem`."""
