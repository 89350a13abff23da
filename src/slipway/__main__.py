"""Run the `slipway` command as `python -m slipway`, in processes that live a few seconds."""

import atexit
import gc

# Collecting cycles while libraries load, and once more at exit, takes a fifth of a command's start and frees nothing.
gc.disable()
atexit.register(gc.freeze)

from slipway.cli import main  # noqa: E402

main()
