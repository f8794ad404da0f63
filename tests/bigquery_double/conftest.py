"""A double with one dataset, for each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.bigquery_double import BigQueryDouble

NOW = 1_700_000_000_000_000
"""2023-11-14, the double's time."""


@pytest.fixture
def double() -> Iterator[BigQueryDouble]:
    with BigQueryDouble(now=NOW) as made:
        made.catalog.create_dataset("project", "dataset", {})
        yield made
