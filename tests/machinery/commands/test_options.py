"""Options that several commands have: closed sets are choices."""

from __future__ import annotations

from typing import get_args

from slipway.commands import options
from slipway.core import ledger
from slipway.delivery import evidence


def test_choices_are_those_of_the_machinery() -> None:
    assert get_args(options.Environment) == ledger.ENVIRONMENTS
    assert get_args(options.EvidenceSource) == evidence.SOURCES
