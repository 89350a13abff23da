"""The prediction log at an fsspec URL (s3://, file:// …): closed files go there, and the files of a window come back."""

from __future__ import annotations

import json
import re
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import fsspec

from slipway.core import environment, process
from slipway.errors import ConfigError, SlipwayError
from slipway.monitoring.log_files import extras, transfer
from slipway.serving.prediction_log import log_file

WINDOW_SLACK = timedelta(days=1)
"""A file has rows of at most a day after its name's time, and of a day before it when the clock was put back."""


def upload(folder: Path, url: str, *, root: Path = Path()) -> str:
    """Copy the closed files of `folder`/predictions to `url`/predictions, remove each after a check; return a sentence.

    Labels stay. ConfigError when the store refuses: all that was not copied is still here, and the next run goes on.
    """
    _require_elsewhere(folder, url)
    place = folder / "predictions"
    if not place.is_dir():
        raise ConfigError(
            f"{place} does not exist", expected="the folder of a prediction log", value=str(folder),
            hint="ask a service that logs (slipway serve), or name the folder: slipway log upload URL --log FOLDER",
        )  # fmt: skip
    paths = sorted(path for pattern in log_file.DATA for path in place.glob(pattern) if log_file.is_closed(path))
    if not paths:
        return f"no closed file in {place}"
    request = {"operation": "upload", "into": "predictions", "paths": [str(path.resolve()) for path in paths]}
    result = _transfer(url, request, root)
    summary = f"{len(result['files']):,} of {len(paths):,} files, {result['bytes'] / 1e6:,.1f} MB, are at {_shown(url)}"
    _require_complete(result, url, f"{summary}; the others are still in {place}")
    return summary


def upload_every(
    folder: Path,
    url: str,
    *,
    seconds: float,
    root: Path = Path(),
    report: Callable[[str], None],
    ended: threading.Event,
) -> str:
    """Upload every `seconds` until `ended` is set, and once more then; `report` gets the sentence of each run.

    A failed run is only reported, as the next one repeats it. The last one raises its ConfigError.
    """
    while not ended.is_set():
        try:
            report(upload(folder, url, root=root))
        except SlipwayError as error:
            report(str(error))
        ended.wait(seconds)
    return upload(folder, url, root=root)


def end_at_sigterm() -> threading.Event:
    """Return an event that SIGTERM and SIGINT set: a pod that ends uploads what its service has closed."""
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    return ended


def is_url(text: str) -> bool:
    """Return whether a text is a URL, and not the path of a folder."""
    return "://" in text


def local_copy(url: str, folder: Path, start: datetime, end: datetime, *, root: Path = Path()) -> Path:
    """Copy the files of the log at `url` that may have rows with `start` ≤ at < `end`, and all labels, to `folder`.

    Files that `folder` has already are not copied again. Of a file that is there as lines and as parquet, parquet comes.
    Returns `folder`; ConfigError when the store refuses.
    """
    listed = _transfer(url, {"operation": "list", "folders": ["predictions", "labels"]}, root)
    _require_complete(listed, url, "no file was copied")
    names = [Path(name) for name in listed["files"]]
    compacted = {name.stem for name in names if name.suffix == ".parquet" and name.parts[0] == "predictions"}
    requested = [
        name.as_posix()
        for name in names
        if (name.parts[0] == "labels" and name.suffix == ".parquet")
        or (name.suffix == ".parquet" and _may_have_rows(name, start, end))
        or (name.suffix == ".jsonl" and name.stem not in compacted and _may_have_rows(name, start, end))
    ]
    folder.mkdir(parents=True, exist_ok=True)
    request = {"operation": "download", "names": requested, "folder": str(folder.resolve())}
    result = _transfer(url, request, root)
    _require_complete(result, url, f"{len(result['files'])} of {len(requested)} files were copied")
    return folder


def upload_labels(folder: Path, url: str, *, root: Path = Path()) -> None:
    """Copy the labels of a local copy to the log at `url`, those that were kept apart too; ConfigError if it refuses.

    The files of the copy are removed: the next `local_copy` brings them again.
    """
    for into in ("labels", "labels/apart"):
        paths = [str(path.resolve()) for path in sorted((folder / into).glob("*.parquet"))]
        result = _transfer(url, {"operation": "upload", "into": into, "paths": paths}, root)
        _require_complete(result, url, f"{len(result['files']):,} of {len(paths):,} files of labels are there")


def _may_have_rows(name: Path, start: datetime, end: datetime) -> bool:
    match = log_file.NAME.fullmatch(name.name)
    if not match:
        return True
    with suppress(ValueError):
        begun = datetime.strptime(match[1], log_file.STAMP).replace(tzinfo=UTC)
        return start - WINDOW_SLACK <= begun < end + WINDOW_SLACK
    return True


def _transfer(url: str, request: dict[str, Any], root: Path) -> dict[str, Any]:
    """Run the request here, or in the environment of an extra when the store's library is not in this one."""
    protocol = fsspec.core.split_protocol(url)[0] or "file"
    request = request | {"url": url if is_url(url) else str(Path(url).resolve())}
    try:
        fsspec.get_filesystem_class(protocol)
    except ImportError:
        if extras.lock(protocol, root) is None:
            raise _unknown(url, protocol) from None
    except ValueError:
        raise _unknown(url, protocol) from None
    else:
        return transfer.run(request)
    program = extras.python(protocol, root)
    variables = environment.for_programs(root)
    del variables["PYTHONPATH"]
    ended = process.run([str(program), "-P", transfer.__file__], env=variables, stdin=json.dumps(request))
    if not ended.ok:
        raise ConfigError(f"the copy to {_shown(url)} stopped: {ended.last_lines()}", hint="run the command again")
    result: dict[str, Any] = json.loads(ended.out)
    return result


def _unknown(url: str, protocol: str) -> ConfigError:
    return ConfigError(
        f"{_shown(url)} is of the kind {protocol}://, for which no library is installed", allowed="s3://, file:// or a folder",
        hint="write the URL with s3://, or copy to a folder",
    )  # fmt: skip


def _require_elsewhere(folder: Path, url: str) -> None:
    """ConfigError when the URL is the log's own folder: each file would be its own copy, and be removed."""
    protocol, path = fsspec.core.split_protocol(url)
    if protocol in (None, "file", "local") and Path(path).resolve() == folder.resolve():
        raise ConfigError(f"{url} is the folder of the log itself", expected="another place", hint="name another URL")


def _require_complete(result: dict[str, Any], url: str, progress: str) -> None:
    if "error" not in result:
        return
    raise ConfigError(
        f"{_shown(url)} failed with {result['kind']}: {result['error']}; {progress}",
        hint="check the URL, the bucket and the login (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY), and run the command again",
    )


def _shown(url: str) -> str:
    """Return the URL without user and password."""
    return re.sub(r"(?<=://)[^/@]*@", "", url)
