"""Records, parameters, files, Git, DVC and processes that every other room uses; imports only `slipway.errors` and `slipway.problem`."""
