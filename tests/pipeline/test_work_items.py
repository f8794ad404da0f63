"""What makes much of little, on the strict runner: no work item puts out much, and nothing is lost or comes twice."""

from __future__ import annotations

import gzip
import os
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.testing.util import assert_that, equal_to

from pipeline import work_items
from pipeline.prism import started
from pipeline.sources import files
from pipeline.sources.files import ReadFiles
from pipeline.warehouses import JobRun
from pipeline.warehouses.bigquery import catalog, read_rows, sweep
from pipeline.warehouses.bigquery.append_stream import AppendStream
from pipeline.warehouses.bigquery.dataset import Dataset
from pipeline.warehouses.bigquery.history import ReadLog
from pipeline.warehouses.bigquery.sink import UpsertRows
from pipeline.warehouses.bigquery.sweep import UnreadKeys
from pipeline.work_items import RemainderTracker
from schemas.tables import IDENTITIES, IDENTITY_CALLS, Identity, Timestamp
from tests import prism
from tests.bigquery_double import BigQueryDouble
from tests.bigquery_double import read_api as double_read_api
from tests.bigquery_double.tables import TableName
from tests.strict_runner import Strictness, StrictRunner, WorkItemTooLarge
from transforms.core.rows import Upsert

SALES = Dataset("acme-data", "sales")
NOON = Timestamp(1_700_000_000_000_000)
HOUR_US = 3_600_000_000
COUNT = 200
LINES = [f"{number:0100}" for number in range(COUNT)]

BYTES = 1_000
"""A work item takes nothing more when it has put out so much."""
MOST = 5_000
"""What it may put out on the runner, with what a runner writes around each element."""


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work_items, "BYTES", BYTES)
    monkeypatch.setattr(files, "_BLOCK_BYTES", 500)
    monkeypatch.setattr(double_read_api, "BATCH", 5)
    monkeypatch.setattr(sweep, "_PAGE", 7)
    for name, value in (("_READERS", 3), ("_LEAST_ROWS", 30), ("_MOST_ROWS", 30)):
        monkeypatch.setattr(read_rows, name, value)


@pytest.fixture
def double() -> Iterator[BigQueryDouble]:
    with BigQueryDouble() as served, mock.patch.dict(os.environ, served.environment):
        catalog.create(catalog.connect(SALES.project), SALES)
        yield served
        AppendStream.close_all()


def test_a_remainder_is_left_at_a_checkpoint_and_nowhere_else() -> None:
    tracker = RemainderTracker(UnreadKeys(("a",)), UnreadKeys(is_done=True))
    assert tracker.try_claim(UnreadKeys(("b",)))
    assert tracker.try_split(0.5) is None
    with pytest.raises(ValueError, match="a work item ended without UnreadKeys"):
        tracker.check_done()
    assert tracker.try_split(0) == (UnreadKeys(is_done=True), UnreadKeys(("b",)))
    assert not tracker.try_claim(UnreadKeys(("c",)))
    assert tracker.try_split(0) is None
    tracker.check_done()


def test_nothing_is_left_of_what_is_done() -> None:
    tracker = RemainderTracker(UnreadKeys(), UnreadKeys(is_done=True))
    assert tracker.current_progress().fraction_completed == 0
    assert tracker.try_claim(UnreadKeys(is_done=True))
    assert tracker.try_split(0) is None
    assert tracker.current_progress().fraction_completed == 1


def run(step: beam.PTransform, seed: int = 0) -> None:
    """Runs a step that gives the lines, each once, and a shuffle behind it."""
    runner = StrictRunner(Strictness(seed=seed, checkpoints=0.5, output_bytes=MOST))
    check(step, beam.Pipeline(runner=runner, options=PipelineOptions([])))


def check(step: beam.PTransform, pipeline: beam.Pipeline) -> None:
    with pipeline:
        lines = pipeline | "Step" >> step | "Line" >> beam.Map(lambda received: received.payload.decode())
        assert_that(lines | "Spread" >> beam.Reshuffle(), equal_to(LINES))


@pytest.fixture(params=[False, True], ids=["plain", "gzip"])
def file(request: pytest.FixtureRequest, tmp_path: Path) -> ReadFiles:
    content = "".join(f"{line}\n" for line in LINES).encode()
    path = tmp_path / "a.jsonl"
    path.write_bytes(gzip.compress(content) if request.param else content)
    return ReadFiles((str(path),))


@pytest.mark.parametrize("seed", range(2))
def test_a_file(seed: int, file: ReadFiles) -> None:
    run(file, seed)


@pytest.fixture
def log(double: BigQueryDouble) -> ReadLog:
    double.catalog.tables[TableName(*SALES, "identity_calls")].append([call(number) for number in range(COUNT)])
    return ReadLog(SALES, JobRun(NOON, NOON, NOON, bounded=False))


def call(number: int) -> tuple[object, ...]:
    values = {
        **dict.fromkeys(column.name for column in IDENTITY_CALLS.columns),
        "message_id": f"m{number}",
        "type": "identify",
        "timestamp": NOON,
        "received_at": NOON + number * HOUR_US // 20,
        "connection": "",
        "traits": "{}",
        "context": "{}",
        "written_at": NOON,
        "payload": LINES[number],
    }
    return tuple(values.values())


@pytest.mark.parametrize("seed", range(2))
def test_the_log(seed: int, log: ReadLog) -> None:
    run(log, seed)


def test_a_sweep(double: BigQueryDouble) -> None:
    job = JobRun(NOON, NOON, None, bounded=False)
    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        rows = [Upsert((line,), (1,), Identity(line, "a")) for line in LINES[:60]]
        _ = pipeline | beam.Create(rows) | UpsertRows(SALES, IDENTITIES, job)
    later = JobRun(2 * NOON, Timestamp(2 * NOON), None, bounded=False)
    runner = StrictRunner(Strictness(checkpoints=0.5, output_bytes=MOST))
    with beam.Pipeline(runner=runner, options=PipelineOptions([])) as pipeline:
        _ = pipeline | beam.Create([2 * NOON]) | "Sweep" >> sweep._SweepTable(SALES, IDENTITIES, later)
    assert double.rows(f"{SALES}.identities") == []


def test_on_prism(file: ReadFiles, log: ReadLog) -> None:
    """It splits at fractions as well, as it likes."""
    options = PipelineOptions([*prism.options(), "--streaming"])
    with started(options):
        for step in (file, log):
            check(step, beam.Pipeline(options=options))


def test_more_than_a_work_item_may_put_out_is_found(
    file: ReadFiles, log: ReadLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work_items, "BYTES", 1 << 30)
    for step in (file, log):
        with pytest.raises(WorkItemTooLarge):
            run(step)
