"""The uploader of the prediction log as a program of its own, in an image that has nothing else.

    python -m slipway.monitoring.log_files.uploader s3://bucket/flights --log /log --every 60

It repeats until SIGTERM, and then uploads once more what the service has closed. Without --every it runs once.
Imports only what `requirements/extra-s3.lock` has.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from slipway.errors import SlipwayError
from slipway.monitoring.log_files import remote


def main(words: Sequence[str] | None = None) -> int:
    """Upload, print the sentence of each run, and return the exit code of the last one."""
    parser = argparse.ArgumentParser(description="Upload the closed files of a prediction log.")
    parser.add_argument("url", help="where the files go, such as s3://bucket/flights")
    parser.add_argument("--log", type=Path, required=True, help="folder of the prediction log")
    parser.add_argument("--every", type=float, help="seconds between two uploads; without it there is one")
    options = parser.parse_args(words)
    try:
        if options.every:
            ended = remote.end_at_sigterm()
            report(remote.upload_every(options.log, options.url, seconds=options.every, report=report, ended=ended))
        else:
            report(remote.upload(options.log, options.url))
    except SlipwayError as error:
        report(f"{error}; {error.hint}")
        return error.code
    return 0


def report(text: str) -> None:
    """Print a line at once."""
    print(text, flush=True)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
