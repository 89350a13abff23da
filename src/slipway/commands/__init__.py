"""The subcommands of `slipway`, one module for each purpose; may import every room but cli."""
