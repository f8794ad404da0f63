"""The keys of a sweep, page by page: each once, in work items of bounded size."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from unittest import mock

import apache_beam as beam
import pytest

from pipeline import work_items
from pipeline.warehouses import JobRun
from pipeline.warehouses.bigquery import catalog, statements, sweep
from pipeline.warehouses.bigquery.append_stream import AppendStream
from pipeline.warehouses.bigquery.dataset import Dataset
from pipeline.warehouses.bigquery.sink import UpsertRows
from schemas.tables import CONTACTS, KEYED, MEMBERSHIPS, Membership, Timestamp
from tests.bigquery_double import BigQueryDouble
from tests.work_items import run
from transforms.core.rows import Upsert

SALES = Dataset("acme-data", "sales")
NOON = Timestamp(1_700_000_000_000_000)
JOB = JobRun(NOON, NOON, None, bounded=True)
LATER = NOON * 2
KEYS = [*itertools.product(["", "a", "b", "ü", "😀"], ["", "0", "1", "z", "é"])]


@pytest.fixture
def double() -> Iterator[BigQueryDouble]:
    with BigQueryDouble() as served, mock.patch.dict(os.environ, served.environment):
        catalog.create(catalog.connect(SALES.project), SALES)
        with beam.Pipeline(runner="FnApiRunner") as pipeline:
            rows = [Upsert(key, (1,), Membership(*key, "group", NOON, NOON)) for key in KEYS]
            _ = pipeline | beam.Create(rows) | UpsertRows(SALES, MEMBERSHIPS, JOB)
        yield served
        AppendStream.close_all()


def obsolete(stop_after: int | None = None) -> list[list[Upsert]]:
    """What each work item gives."""
    fn = sweep._ObsoleteKeysFn(SALES, MEMBERSHIPS)
    fn.setup()
    found = run(fn.process, LATER, sweep._Unread(), stop_after=stop_after)
    fn.teardown()
    return found


@pytest.mark.parametrize("page", [1, 4, 5, 24, 25, 26])
@pytest.mark.parametrize("stop_after", [None, 3])
def test_each_key_comes_once(
    page: int, stop_after: int | None, double: BigQueryDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep, "_PAGE", page)
    monkeypatch.setattr(work_items, "BYTES", 300)
    found = obsolete(stop_after)
    assert [delete.key for work_item in found for delete in work_item] == KEYS
    assert max(map(len, found)) <= 6, "a delete takes some 50 bytes"
    assert all(delete == Upsert(delete.key, (), None) for work_item in found for delete in work_item)


def test_a_sweep_removes_page_by_page(double: BigQueryDouble, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep, "_PAGE", 4)
    monkeypatch.setattr(work_items, "BYTES", 300)
    later = JobRun(LATER, Timestamp(LATER), None, bounded=True)
    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        _ = pipeline | beam.Create([0]) | sweep.Sweep(SALES, later)
    assert double.rows(f"{SALES}.memberships") == []


def test_a_key_of_several_columns_is_after_another_by_the_first_that_differs() -> None:
    assert len(MEMBERSHIPS.key) == 2
    restriction = "`external_id` > @after_0 OR (`external_id` = @after_0 AND (`account_id` > @after_1))"
    assert f"AND ({restriction}) ORDER BY" in statements.keys_written_before(MEMBERSHIPS, None, 9, is_first=False)
    assert "@after" not in statements.keys_written_before(CONTACTS, None, 9, is_first=True)
    assert all(len(table.key) <= 2 for table in KEYED)
