from __future__ import annotations

import json
import urllib.request

import pytest

from slipway.errors import Inconclusive
from slipway.sandbox.drills import webhook_receiver


def post(url: str, body: bytes) -> int:
    request = urllib.request.Request(url, data=body, headers={"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return int(answer.status)


def test_message_is_kept_with_its_path_and_body():
    with webhook_receiver.listen() as here:
        assert post(f"{here.url}/repos/x/dispatches", json.dumps({"ref": "main"}).encode()) == 204
        message = here.wait("/dispatches", seconds=10)
    assert (message.path, message.body) == ("/repos/x/dispatches", {"ref": "main"})
    assert message.at > 0


def test_messages_to_other_paths_are_passed_over():
    with webhook_receiver.listen() as here:
        post(f"{here.url}/statuses/abc", b"{}")
        post(f"{here.url}/dispatches", b"[1]")
        assert here.wait("/dispatches", seconds=10).body == [1]


def test_what_is_no_json_has_no_body():
    with webhook_receiver.listen() as here:
        post(f"{here.url}/dispatches", b"{")
        assert here.wait("/dispatches", seconds=10).body is None


def test_silence_is_unsure():
    with webhook_receiver.listen() as here:
        post(f"{here.url}/statuses/abc", b"{}")
        with pytest.raises(Inconclusive, match=r"sent no message to /dispatches within 0\.2 s"):
            here.wait("/dispatches", seconds=0.2)
