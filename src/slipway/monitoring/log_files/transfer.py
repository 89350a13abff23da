"""Copy files of a prediction log to and from an fsspec URL, each one checked; a program of its own, without Slipway.

`python transfer.py` reads a request as JSON from standard input, and prints the result as JSON. So it also runs in an
environment that has the libraries of a remote store, and none of Slipway's.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import fsspec

BLOCK_BYTES = 1 << 20


def run(request: dict[str, Any]) -> dict[str, Any]:
    """Do what `operation` names; the result has `error` if the store did not let it end, and all that was done before."""
    result: dict[str, Any] = {"files": [], "bytes": 0}
    try:
        store, root = fsspec.core.url_to_fs(request["url"], use_listings_cache=False)
        operation = {"upload": upload, "list": names, "download": download}[request["operation"]]
        operation(store, root.rstrip("/"), request, result)
    except Exception as error:  # each library raises errors of its own
        text = " ".join(str(error).split()) or type(error).__name__
        result |= {"error": text[:500], "kind": type(error).__name__}
    return result


def upload(store: Any, root: str, request: dict[str, Any], result: dict[str, Any]) -> None:
    """Copy each of `paths` to `root`/`into`; a local file is removed after the remote one was compared with it."""
    folder = f"{root}/{request['into']}"
    if _is_local(store):
        store.makedirs(folder, exist_ok=True)
    for name in request["paths"]:
        path = Path(name)
        target, size, digest = f"{folder}/{path.name}", path.stat().st_size, _md5(path)
        if not is_equal(store, target, size, digest):
            _put(store, path, target)
            if not is_equal(store, target, size, digest):
                raise OSError(f"{target} is not the same as {path.name} after it was copied")
        path.unlink()
        result["files"].append(path.name)
        result["bytes"] += size


def _put(store: Any, path: Path, target: str) -> None:
    if not _is_local(store):  # an object appears when it is whole
        store.put_file(str(path), target)
        return
    partial = f"{target.rpartition('/')[0]}/.{path.name}.part"
    store.put_file(str(path), partial)
    store.mv(partial, target)


def is_equal(store: Any, target: str, size: int, digest: str) -> bool:
    """Return whether the remote file has this size and MD5: by its ETag, or read again where that is another sum."""
    try:
        details = store.info(target)
    except FileNotFoundError:
        return False
    if details["size"] != size:
        return False
    if str(details.get("ETag", "")).strip('"') == digest:
        return True
    total = hashlib.md5(usedforsecurity=False)
    with store.open(target, "rb") as file:
        while block := file.read(BLOCK_BYTES):
            total.update(block)
    return total.hexdigest() == digest


def names(store: Any, root: str, request: dict[str, Any], result: dict[str, Any]) -> None:
    """List the files in the folders `folders` below `root`, as `folder/name`."""
    for folder in request["folders"]:
        try:
            entries = store.ls(f"{root}/{folder}", detail=True)
        except FileNotFoundError:
            store.ls(root)  # a log without labels is one; a bucket that does not exist is an error
            continue
        result["files"] += [f"{folder}/{each['name'].rpartition('/')[2]}" for each in entries if each["type"] == "file"]
        result["bytes"] += sum(each["size"] for each in entries if each["type"] == "file")


def download(store: Any, root: str, request: dict[str, Any], result: dict[str, Any]) -> None:
    """Copy the files `names` below `root` to the same names below `folder`; one that is there in its size stays."""
    for name in request["names"]:
        target = Path(request["folder"]) / name
        size = store.info(f"{root}/{name}")["size"]
        if not target.exists() or target.stat().st_size != size:
            target.parent.mkdir(parents=True, exist_ok=True)
            partial = target.with_name(f".{target.name}.part")
            store.get_file(f"{root}/{name}", str(partial))
            if partial.stat().st_size != size:
                raise OSError(f"{name} ended after {partial.stat().st_size} of {size} bytes")
            partial.replace(target)
        result["files"].append(name)
        result["bytes"] += size


def _is_local(store: Any) -> bool:
    return "file" in ((store.protocol,) if isinstance(store.protocol, str) else store.protocol)


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


if __name__ == "__main__":
    json.dump(run(json.load(sys.stdin)), sys.stdout)
