"""The whole job on the strict runner at small size; `python -m tests.strict_runner` runs it at any."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from random import Random
from unittest import mock

import pytest
from apache_beam.coders import VarIntCoder

from pipeline.sources.history import History
from tests.bigquery_double import BigQueryDouble
from tests.fuzz.whole_job import side_by_side
from tests.histories import CONFIGS
from tests.streaming import shuffled
from tests.strict_runner import Interrupted, Interruption, Strictness, UpdateRefused, WorkItemTooLarge, goals
from tests.strict_runner.interrupted_jobs import run_interrupted
from tests.strict_runner.report import Report, Rows, StepReport
from tests.strict_runner.whole_job import Publication, WholeJobs, into_double
from transforms.core.rules_version import RULES_VERSION

_HISTORIES = 4
STRICT = Strictness(repeats=0.3, output_bytes=goals.OUTPUT_BYTES, cell_bytes=goals.STATE_BYTES)


@pytest.fixture
def bigquery() -> Iterator[BigQueryDouble]:
    with into_double() as double:
        yield double


def in_two(seed: int) -> tuple[list[bytes], list[bytes]]:
    """Some forty messages: for a job, and for the next one on the same dataset, which has a history then."""
    rng = Random(seed)
    payloads = shuffled(rng, side_by_side(rng, _HISTORIES))
    return payloads[: len(payloads) // 2], payloads[len(payloads) // 2 :]


@pytest.mark.parametrize(("seed", "config", "threads"), [(1, "mixed", 1), (2, "group + fallback", 3)])
def test_jobs_without_end_leave_the_tables_of_the_replay(
    seed: int, config: str, threads: int, bigquery: BigQueryDouble, tmp_path: Path
) -> None:
    strictness = replace(STRICT, seed=seed, threads=threads)
    jobs = WholeJobs(bigquery, tmp_path, CONFIGS[config], strictness)
    for payloads in in_two(seed):
        jobs.run_on_subscription(payloads, Publication(batch=4), Random(seed))
    assert jobs.differences() == []
    gather = jobs.reports[-1].step("ResolveIdentities/Person/Gather")
    assert gather.repeats
    assert not gather.late
    assert jobs.reports[-1].counts["rows to identity_calls"]


def test_bounded_jobs_leave_the_tables_of_the_replay(bigquery: BigQueryDouble, tmp_path: Path) -> None:
    jobs = WholeJobs(bigquery, tmp_path, CONFIGS["mixed"], STRICT)
    for payloads in in_two(3):
        jobs.run_on_files(payloads)
    assert jobs.differences() == []


@pytest.mark.parametrize(
    ("seed", "interruptions", "threads"),
    [
        (5, (Interruption.STOP, Interruption.DRAIN), 1),
        (6, (Interruption.UPDATE,), 2),
        (7, (Interruption.STOP, Interruption.UPDATE), 1),
    ],
    ids=["stop, drain", "update", "stop, update"],
)
def test_jobs_that_are_interrupted_leave_the_tables_of_the_replay(
    seed: int, interruptions: tuple[Interruption, ...], threads: int, bigquery: BigQueryDouble, tmp_path: Path
) -> None:
    strictness = replace(STRICT, seed=seed, threads=threads, waits=False)
    rng = Random(seed)
    jobs = WholeJobs(bigquery, tmp_path, CONFIGS["mixed"], strictness)
    assert run_interrupted(jobs, shuffled(rng, side_by_side(rng, _HISTORIES)), interruptions, rng) == []
    assert len(jobs.reports) > len(interruptions)


def test_what_can_never_commit_fails_the_job(bigquery: BigQueryDouble, tmp_path: Path) -> None:
    jobs = WholeJobs(bigquery, tmp_path, CONFIGS["mixed"], Strictness(output_bytes=1_000))
    with pytest.raises(WorkItemTooLarge, match="ReadPubSub/Read/Give"):
        jobs.run_on_subscription(in_two(1)[0], Publication(), Random(1))
    assert jobs.reports[-1].step("ReadPubSub").bundles


def test_a_message_that_no_job_has_read_is_a_difference(bigquery: BigQueryDouble, tmp_path: Path) -> None:
    jobs = WholeJobs(bigquery, tmp_path, CONFIGS["mixed"], STRICT)
    first, second = in_two(1)
    jobs.run_on_files(first)
    jobs.read[-1] = [*first, *second]
    assert jobs.differences()


def test_an_event_that_waits_when_its_job_is_stopped_is_lost_and_no_other(
    bigquery: BigQueryDouble, tmp_path: Path
) -> None:
    jobs = WholeJobs(bigquery, tmp_path, CONFIGS["mixed"], replace(STRICT, waits=False))
    event = b'{"type": "track", "event": "Paid", "userId": "ann", "timestamp": "2024-03-01", "messageId": "m%d"}'
    events = [event % number for number in range(30)]
    stop = Interrupted(by=Interruption.STOP, at=2, step="WriteEvents/Append")
    jobs.run_on_subscription(events, Publication(batch=1), Random(1), stop)
    jobs.run_on_subscription([], Publication(), Random(1))
    lost, stored = jobs.lost_events(), jobs.stored_events()
    assert lost
    assert stored.keys().isdisjoint(lost)
    assert stored.keys() | lost == {f"m{number}" for number in range(30)}
    assert set(stored.values()) == {1}


def test_an_update_that_does_not_fit_names_the_step(bigquery: BigQueryDouble, tmp_path: Path) -> None:
    jobs = WholeJobs(bigquery, tmp_path, CONFIGS["mixed"], replace(STRICT, waits=False))
    update = Interrupted(by=Interruption.UPDATE, at=10)
    runner = jobs.run_on_subscription(in_two(1)[0], Publication(batch=4), Random(1), update)
    with (
        mock.patch("transforms.deduplicate._MEMORY.coder", VarIntCoder()),
        pytest.raises(UpdateRefused, match=r"Deduplicate/Unseen: .*'memory' is .*VarIntCoder.*StructCoder\(Memory\)"),
    ):
        jobs.update(runner)


def test_an_update_under_newer_rules_reads_the_log_where_the_old_source_is_said_to_be_gone(
    bigquery: BigQueryDouble, tmp_path: Path
) -> None:
    jobs = WholeJobs(bigquery, tmp_path, CONFIGS["mixed"], replace(STRICT, waits=False))
    update = Interrupted(by=Interruption.UPDATE, at=60)
    runner = jobs.run_on_subscription(in_two(1)[0], Publication(batch=4, begin_s=3600), Random(1), update)
    old = History.label
    with (
        mock.patch.object(History, "label", "HistoryForNewRules"),
        mock.patch("pipeline.warehouses.bigquery.warehouse.RULES_VERSION", RULES_VERSION + 1),
        mock.patch("pipeline.warehouses.bigquery.history.RULES_VERSION", RULES_VERSION + 1),
    ):
        with pytest.raises(UpdateRefused, match=f"the new job has no '.*{old}.*', and the running one has"):
            jobs.update(runner)
        gone = {f"{step}{old}": "" for step in ("Read", "Parse", "Arrive")}
        updated = jobs.update(runner, transform_names=gone)
    assert updated.report.step("ReadHistoryForNewRules/Rows/Read").bundles
    assert jobs.differences() == []


_ROWS = Rows(bundles=1, total=1, p50=1)


@pytest.mark.parametrize(
    ("changed", "requests", "elapsed_s", "expected"),
    [
        ({}, 5, 0.5, []),
        ({"largest_output": 50_000_001}, 5, 0.5, ["Step: a work item puts out 50,000,001 bytes: at most 50,000,000"]),
        ({"largest_key": 2_000_000}, 5, 0.5, ["Step: a key has 2,000,000 bytes of state: at most 1,000,000"]),
        ({"furthest_timer_s": 181}, 5, 0.5, ["Step: a timer is 181 s ahead: at most 3 windows"]),
        ({}, 500, 0.5, ["events: 2.0 rows a request: at least 200"]),
        ({}, 500, 0.6, []),
    ],
)
def test_a_goal_that_is_missed_is_told(
    changed: dict[str, int], requests: int, elapsed_s: float, expected: list[str]
) -> None:
    figures = {
        "bundles": 1,
        "received_bytes": 0,
        "state_bytes": 0,
        "largest_output": 0,
        "largest_cell": 0,
        "largest_key": 0,
        "timers": 0,
        "furthest_timer_s": 0,
        "repeats": 0,
        "checkpoints": 0,
        "late": 0,
    }
    step = StepReport(name="Step", labels=("Step",), rows=_ROWS, **{**figures, **changed})
    counts = {"AppendRows requests to events": requests, "rows to events": 1000}
    report = Report(seed=0, elapsed_s=elapsed_s, steps=(step,), transforms={}, counts=counts)
    assert list(goals.missed(report, window_s=60)) == expected
