"""Rows of any day in whole jobs: old data come to the tables that the replay makes, by files or by their letters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from random import Random

import apache_beam as beam
import pytest
from apache_beam.pvalue import PCollection
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing.util import assert_that, equal_to

from pipeline.options import parse
from pipeline.warehouses import base, open_warehouse
from pipeline.warehouses.base import JobRun
from pipeline.warehouses.bigquery.any_day import _LoadEventsFn
from pipeline.warehouses.bigquery.dataset import Dataset
from pipeline.warehouses.bigquery.load_jobs import PARTITIONS, Loading
from schemas.tables import DEAD_LETTERS, EVENTS
from tests.bigquery_double import BigQueryDouble
from tests.histories import Message, history, line
from tests.pipeline.sources.test_redelivery_job import (
    DATASET,
    OPEN_CONFIG,
    URL,
    bigquery,
    check_bigquery,
    run_on_bigquery,
)
from tests.pipeline.test_job import PEOPLE, Place, as_lines, collected, place
from tests.rows import NOON, event
from tests.transforms.core.calls import IDENTIFY, TRACK, accepted
from transforms.classify import Classify
from transforms.core.call_rows import identity_call
from transforms.core.packed_event import pack
from transforms.core.reader import Reader, Received
from transforms.core.rows import Append, LogEntry
from transforms.parse import Parse

__all__ = ["bigquery", "collected", "place"]

REASON = "out_of_partition_range"


def aged(message: Message) -> Message:
    """The message as of long ago, or of far ahead: the same for the same one."""
    rng = Random(line(message))
    year = rng.choice([1972, 1985, *range(1999, 2013), 2101])
    return {**message, "receivedAt": f"{year}-{rng.randint(1, 12):02}-{rng.randint(1, 28):02}T12:00:00.123456Z"}


def of_all_times(seed: int, count: int) -> list[bytes]:
    """The lines of a history, half of it aged."""
    messages = history(Random(seed), count, PEOPLE)
    return as_lines([aged(each) if Random(line(each)).random() < 0.5 else each for each in messages])


def letters(bigquery: BigQueryDouble) -> Counter[str]:
    """How many dead letters there are for each reason."""
    return Counter({row["dead_letter_id"]: row["reason"] for row in bigquery.rows(f"{DATASET}.dead_letters")}.values())


def stream(place: Place, lines: Sequence[bytes]) -> None:
    """Writes events, log and dead letters as a job does that has no end."""
    settings, _ = parse([f"--warehouse={URL}", *place.arguments("--redeliver=all")[1:]])
    warehouse = open_warehouse(URL)
    job = warehouse.start(bounded=False, runner="FnApiRunner", options="", history=True)
    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        received = pipeline | beam.Create([Received(each) for each in lines], reshuffle=False)
        parsed = received | Parse(Reader.of(settings.connections))
        rows = parsed[Parse.CALLS] | Classify()
        logged = rows[Classify.IDENTITY_CALLS] | warehouse.log(job)
        refused: dict[str, PCollection] = {
            "Unread": parsed[Parse.DEAD_LETTERS],
            "Events": rows[Classify.EVENTS] | "WriteEvents" >> warehouse.append(EVENTS, job),
            "Log": logged[base.DEAD_LETTERS],
        }
        for name, each in refused.items():
            _ = each | f"Letters{name}" >> warehouse.append(DEAD_LETTERS, job)
    warehouse.finish(job)
    warehouse.close()


# ---- whole jobs ----


def test_a_job_on_old_files_comes_to_the_replay_by_few_load_jobs(bigquery: BigQueryDouble, place: Place) -> None:
    place.config = OPEN_CONFIG
    lines = of_all_times(1, 150)
    run_on_bigquery(place, place.input(lines))
    check_bigquery(bigquery, place, lines)
    assert letters(bigquery)[REASON] == 0
    assert {append.outcome for append in bigquery.requests.appends} == {"OK"}
    assert {job.load["destinationTable"]["tableId"] for job in bigquery.loads.ended} == {"events", "identity_calls"}
    assert len(bigquery.loads.ended) <= 2 * 6, "one for each table and 4,000 days"
    events = [row["message_id"] for row in bigquery.rows(f"{DATASET}.events")]
    assert len(events) == len(set(events))


def test_what_a_stream_refuses_is_loaded_by_one_command(bigquery: BigQueryDouble, place: Place) -> None:
    place.config = OPEN_CONFIG
    unstorable = line(aged({**TRACK, "properties": {"k": "?"}})).replace(b'"?"', b"1e400")
    lines = [*of_all_times(2, 120), unstorable]
    stream(place, lines)
    refused = letters(bigquery)
    assert refused[REASON] > 30
    assert bigquery.loads.ended == []
    assert {append.outcome for append in bigquery.requests.appends} == {"OK"}
    summary = run_on_bigquery(place, f"--redeliver={REASON}")
    assert (summary.reread, summary.dead_letters) == (refused.pop(REASON), {"invalid_field": 1})
    assert letters(bigquery) == refused + Counter(invalid_field=1), "the last is refused for another reason"
    check_bigquery(bigquery, place, lines)


def test_no_letter_is_removed_before_all_rows_are_loaded(bigquery: BigQueryDouble, place: Place) -> None:
    place.config = OPEN_CONFIG
    lines = as_lines([aged({**TRACK, "messageId": "t"}), aged({**IDENTIFY, "messageId": "i"})])
    stream(place, lines)
    bigquery.loads.failures = ["", "notFound"]
    with pytest.raises(Exception, match="a load job: a fault that the test asked for; trying again would not help"):
        run_on_bigquery(place, "--redeliver=all")
    assert letters(bigquery) == {REASON: 2}
    assert sum(len(bigquery.rows(f"{DATASET}.{name}")) for name in ("events", "identity_calls")) == 1
    run_on_bigquery(place, "--redeliver=all")
    assert letters(bigquery) == {}
    check_bigquery(bigquery, place, lines)


def test_a_bundle_that_is_run_again_loads_its_rows_once(bigquery: BigQueryDouble) -> None:
    warehouse = open_warehouse(URL)
    job = warehouse.start(bounded=True, runner="FnApiRunner", options="", history=True)
    calls = [accepted(aged({**IDENTIFY, "messageId": f"{number}"})) for number in range(20)]
    entries = [LogEntry(each, Append(identity_call(each), "identity_call")) for each in calls]
    with beam.Pipeline(runner=FnApiRunner(bundle_repeat=2)) as pipeline:
        logged = pipeline | beam.Create(entries, reshuffle=False) | warehouse.log(job)
        assert_that(logged[base.LOGGED], equal_to(calls))
    warehouse.close()
    assert len(bigquery.rows(f"{DATASET}.identity_calls")) == 20
    attempts = [path for method, path in bigquery.requests.rest if path.startswith("/upload/")]
    assert len(attempts) > len(bigquery.loads.ended) > 0


# ---- by which days rows are gathered ----

MEGABYTE = 1_000_000
GATHERED: list[tuple[str, int, int, int, int]] = [
    ("a few rows of thirty years", 11_000, 1_000, 4, 11_000),
    ("ten gigabytes of twenty years", 7_300, 10_000 * MEGABYTE, 300, 12_000),
    ("a terabyte of twenty years", 7_300, 1_000_000 * MEGABYTE, 15_000, 15_000),
    ("a terabyte of a month", 30, 1_000_000 * MEGABYTE, 10_500, 10_500),
    ("all days that a table may have", 10_000, 200_000 * MEGABYTE, 12_000, 15_000),
]


@pytest.mark.parametrize(("what", "days", "total", "most_jobs", "most_changes"), GATHERED, ids=[g[0] for g in GATHERED])
def test_there_are_few_jobs_and_few_changes_of_partitions(
    what: str, days: int, total: int, most_jobs: int, most_changes: int
) -> None:
    """Rows are even over the days, and each piece of a group has rows of all its days."""
    loading = Loading()
    fn = _LoadEventsFn(Dataset("p", "d"), EVENTS, JobRun(NOON, NOON, None, bounded=True), loading)
    packed = pack(Append(event("m")))
    groups: dict[int, int] = {}
    for day in range(days):
        group, _ = fn.by_days((day, packed), total)
        groups[group] = groups.get(group, 0) + 1
    assert max(groups.values()) <= PARTITIONS
    pieces = {group: -(-of * total // days // loading.piece_bytes) or 1 for group, of in groups.items()}
    assert sum(pieces.values()) <= most_jobs
    assert sum(pieces[group] * of for group, of in groups.items()) <= most_changes
