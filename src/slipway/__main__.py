"""`python -m slipway` is the `slipway` command, for processes that live a few seconds."""

import atexit
import gc

# Looking for cycles while libraries load, and once more at the end, is a fifth of a chapter's start and finds nothing.
gc.disable()
atexit.register(gc.freeze)

from slipway.cli import main  # noqa: E402

main()
