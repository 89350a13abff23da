"""Alertmanager's configuration: pages at once, tickets together, and no ticket next to a page about the same."""

from __future__ import annotations

from typing import Any

RECEIVERS = ("page", "ticket")
ADDRESS = "http://127.0.0.1:9099/"
"""A stand-in for where alerts go; the path is the receiver's name. Replace the webhooks by your own receivers."""


def build(address: str = ADDRESS, *, group_wait: str = "0s", group_interval: str = "1m") -> dict[str, Any]:
    """The configuration as a value; every receiver is a webhook below `address`."""
    group = ["namespace", "alertname"]
    return {
        "route": {
            "receiver": "ticket", "group_by": group, "group_wait": "5m" if group_wait == "0s" else group_wait,
            "group_interval": group_interval, "repeat_interval": "3d",
            "routes": [
                {"receiver": "page", "matchers": ['severity="page"'], "group_wait": group_wait, "repeat_interval": "4h"}
            ],
        },
        "inhibit_rules": [
            {"source_matchers": ['severity="page"'], "target_matchers": ['severity="ticket"'],
             "equal": ["namespace", "objective"]},
            {"source_matchers": ['alertname="SlipwayAbsent"'], "target_matchers": ['alertname!="SlipwayAbsent"'],
             "equal": ["namespace"]},
        ],
        "receivers": [
            {"name": name, "webhook_configs": [{"url": address.rstrip("/") + f"/{name}", "send_resolved": True}]}
            for name in RECEIVERS
        ],
    }  # fmt: skip
