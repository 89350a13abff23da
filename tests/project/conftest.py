"""The sample that this project's tests run on."""

from __future__ import annotations

import polars as pl
import pytest

from flights import ingest


@pytest.fixture(scope="session")
def sample() -> pl.DataFrame:
    """The table of mid-July to the end of October: eight weeks that a lookup answers, with the rates before them."""
    table = ingest.ingest(ingest.sources())[0]
    return table.filter(pl.col("day").is_between(pl.date(2013, 7, 15), pl.date(2013, 10, 31)))
