"""Windows decide when rows are written, never what they hold: on time, days late, out of order, empty, drained."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from random import Random
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions
from apache_beam.testing.test_stream import TestStream
from apache_beam.testing.util import BeamAssertException, assert_that
from apache_beam.transforms.window import TimestampedValue
from apache_beam.utils.timestamp import MIN_TIMESTAMP, Timestamp
from hypothesis import given
from hypothesis import strategies as st

from judge import replay
from tests.histories import CONFIGS, deal, history, line
from tests.product_rows import connections, facts, plain
from transforms import paged_step, windows
from transforms.core.facts import Known
from transforms.core.rows import Upsert
from transforms.parcels import ONE_KEY, Packing, Parcel, in_parcels
from transforms.resolve_identities import ResolveIdentities
from transforms.resolve_in_process import PERSONS, ResolveInProcess

WINDOW_S = 60.0
DAY_S = 86_400
Fact = tuple[str, Known]


NOW_S = [0.0]
"""What the workers' clock shows, in this process."""


def clock() -> float:
    return NOW_S[0]


ARRIVAL = windows.Arrival(WINDOW_S, clock=clock)


class _ReadFn(beam.DoFn):
    """Gives facts, each when the clock has come to the second at which it is read; None is read for the clock alone."""

    def process(self, timed: tuple[float, Fact | None]) -> Iterator[Fact]:
        NOW_S[0], fact = timed
        if fact is not None:
            yield fact


def at(seconds: float, *facts: Fact, read: float | None = None) -> list[TimestampedValue]:
    """Facts that were published at a second, and read then or later."""
    return [TimestampedValue((seconds if read is None else read, fact), seconds) for fact in facts]


def run(
    events: TestStream,
    check: dict[str, Callable[[list[Upsert]], None]],
    *,
    stamped: bool = True,
    page_bytes: int | None = None,
    in_process: bool = False,
) -> None:
    options = PipelineOptions(["--runner=DirectRunner"])
    options.view_as(StandardOptions).streaming = True
    with beam.Pipeline(options=options) as pipeline:
        known = pipeline | "Stream" >> events | "Read" >> beam.ParDo(_ReadFn()).with_output_types(Fact)
        if stamped:
            known = known | "Arrive" >> windows.Arrive(clock=clock)
        if in_process:
            parcels = known | "Parcels" >> beam.Map(parcel).with_output_types(tuple[str, Parcel])
            rows = parcels | "Window" >> windows.arrival(ARRIVAL) | "ResolveInProcess" >> ResolveInProcess(ARRIVAL)
        else:
            rows = known | "ResolveIdentities" >> ResolveIdentities(ARRIVAL, page_bytes)
        for table, checked in check.items():
            assert_that(rows[table], checked, label=f"Check{table}")


def parcel(fact: Fact) -> tuple[str, Parcel]:
    return ONE_KEY, next(in_parcels(PERSONS, [fact], Packing(Known)))


def standing(upserts: Iterable[Upsert]) -> dict[tuple[str, ...], Any]:
    """Of each key the row of the greatest version, as the judge has it."""
    newest: dict[tuple[str, ...], Upsert] = {}
    for upsert in upserts:
        if upsert.key not in newest or upsert.version > newest[upsert.key].version:
            newest[upsert.key] = upsert
    return {key: plain(upsert.row) for key, upsert in newest.items() if upsert.row is not None}


def holds(expected: dict[Any, Any]) -> Callable[[list[Upsert]], None]:
    def check(upserts: list[Upsert]) -> None:
        if standing(upserts) != expected:
            raise BeamAssertException(f"{standing(upserts)} != {expected}")

    return check


def written(*expected: tuple[str, str | None]) -> Callable[[list[Upsert]], None]:
    """Exactly these rows of `identities` were written, in whatever order: (id, label)."""

    def check(upserts: list[Upsert]) -> None:
        rows = sorted((upsert.key[0], getattr(upsert.row, "external_id", None)) for upsert in upserts)
        if rows != sorted(expected):
            raise BeamAssertException(f"{rows} != {sorted(expected)}")

    return check


def edge(second: int, previous: str, user: str) -> list[Fact]:
    return [(previous, Known(out={user: (second, f"m{second}")})), (user, Known(named=True))]


def test_a_window_writes_a_key_once() -> None:
    events = TestStream().add_elements(at(1, *edge(1, "a", "b"))).add_elements(at(59, *edge(2, "b", "c")))
    run(
        events.advance_watermark_to(200).advance_watermark_to_infinity(),
        {"identities": written(("a", "c"), ("b", "c"))},
    )


def test_each_window_writes_what_changed_in_it() -> None:
    events = TestStream().add_elements(at(1, *edge(1, "a", "b"))).advance_watermark_to(100)
    events = events.add_elements(at(110, *edge(2, "b", "c"))).advance_watermark_to(200)
    run(
        events.advance_watermark_to_infinity(),
        {"identities": written(("a", "b"), ("a", "c"), ("b", "c"))},
    )


@pytest.mark.parametrize(
    ("what", "timestamp", "now", "arrives"),
    [
        ("what was just published", 995, 1_000, 1_000),
        ("a clock that is behind Pub/Sub's", 1_003, 1_000, 1_003),
        ("as late as a window is kept", 10_000 - 120, 10_000, 10_000),
        ("a minute later than that", 10_000 - 180, 10_000, 10_800),
        ("sixty days late", 1, 60 * DAY_S, 60 * DAY_S + 1_200),
        ("history, which holds the watermark", float(MIN_TIMESTAMP), 1_000, float(MIN_TIMESTAMP)),
    ],
)
def test_when_an_element_arrives(what: str, timestamp: float, now: float, arrives: float) -> None:
    assert windows.arrived_at(Timestamp(timestamp), Timestamp(now)) == Timestamp(arrives), what


@given(st.floats(0, 4e9), st.floats(0, 4e9))
def test_what_arrives_is_never_behind_the_clock_nor_its_own_timestamp(timestamp: float, now: float) -> None:
    arrived = windows.arrived_at(Timestamp(timestamp), Timestamp(now))
    assert max(Timestamp(timestamp), Timestamp(now)) <= arrived
    assert arrived <= max(Timestamp(timestamp), Timestamp(now + 2 * windows.AHEAD_S))


def test_a_backlog_has_few_windows() -> None:
    """Those of two hours, read in one, are all open until it is read."""
    stamps = {
        windows.arrived_at(Timestamp(1e9 - 7200 + second), Timestamp(1e9 + second)) for second in range(0, 3600, 5)
    }
    assert len(stamps) <= 3600 / windows.AHEAD_S + 1


def label_of_a(label: str) -> dict[str, Callable[[list[Upsert]], None]]:
    return {"identities": holds({("a",): {"id": "a", "external_id": label}})}


def test_sixty_days_behind_the_watermark_and_earlier_in_time_undoes_a_merge() -> None:
    """A window is kept for two minutes, and nothing is lost."""
    assert ARRIVAL.lateness <= 2 * WINDOW_S
    late = 60 * DAY_S
    events = TestStream().add_elements(at(1, *edge(10, "a", "b"))).advance_watermark_to(late)
    events = events.add_elements(at(2, *edge(5, "a", "c"), read=late))
    run(events.advance_watermark_to(late + 2 * windows.AHEAD_S).advance_watermark_to_infinity(), label_of_a("c"))


def test_without_a_stamp_it_would_be_lost() -> None:
    events = TestStream().add_elements(at(1, *edge(10, "a", "b"))).advance_watermark_to(DAY_S)
    events = events.add_elements(at(2, *edge(5, "a", "c"), read=DAY_S)).advance_watermark_to(2 * DAY_S)
    run(events.advance_watermark_to_infinity(), label_of_a("b"), stamped=False)


def test_what_is_late_for_its_window_is_not_late_for_those_of_the_steps_after_it() -> None:
    """It is written at once, and goes on as what arrives now: a step takes time, and keeps no window for long."""
    late = WINDOW_S + 100
    events = TestStream().add_elements(at(1, ("a", Known()))).advance_watermark_to(late)
    events = events.add_elements(at(2, ("b", Known()), read=late)).advance_watermark_to_infinity()
    pipeline = beam.Pipeline("BundleBasedDirectRunner", PipelineOptions(["--streaming"]))
    known = pipeline | "Stream" >> events | "Read" >> beam.ParDo(_ReadFn()).with_output_types(Fact)
    gathered = known | "Window" >> windows.arrival(ARRIVAL) | "Gather" >> beam.GroupByKey()
    SEEN.clear()
    _ = gathered | "Late" >> windows.LateArrivesNow(clock) | "Keys" >> beam.Keys() | "See" >> beam.ParDo(_SeeTimeFn())
    pipeline.run().wait_until_finish()
    assert ["a 59", f"b {late:.0f}"] == SEEN


class _SeeTimeFn(beam.DoFn):
    def process(self, key: str, timestamp: Any = beam.DoFn.TimestampParam) -> None:
        SEEN.append(f"{key} {timestamp.micros // 1_000_000}")


def test_empty_windows_write_nothing() -> None:
    events = TestStream().advance_watermark_to(500).add_elements(at(510, *edge(1, "a", "b"))).advance_watermark_to(5000)
    run(events.advance_watermark_to_infinity(), {"identities": written(("a", "b"))})


def test_a_drain_flushes_the_open_window() -> None:
    events = TestStream().add_elements(at(1, *edge(1, "a", "b"))).advance_watermark_to_infinity()
    run(events, {"identities": written(("a", "b"))})


@pytest.mark.parametrize(
    ("seed", "page_bytes", "in_process"),
    [
        *((seed, 300 if seed % 2 else None, False) for seed in range(12)),
        *((seed, None, True) for seed in range(12, 20)),
    ],
)
def test_random_histories_late_and_out_of_order_equal_the_replay(
    seed: int, page_bytes: int | None, in_process: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some with pages of a few elements, some in parcels."""
    monkeypatch.setattr(paged_step, "FEW", 0)
    rng = Random(seed)
    config = rng.choice(list(CONFIGS.values()))
    messages = history(rng, rng.randint(5, 30))
    expected = replay(map(line, messages), config)
    product = connections(config)
    said = [
        person
        for part in deal(rng, messages, 1)
        for message in part
        for learned in facts(message, product)
        for person in learned.persons
    ]
    rng.shuffle(said)
    events, now = TestStream(), 0
    for fact in said:
        published = max(0, now + rng.choice([0, 0, 5, -200, -20 * DAY_S]))
        events = events.add_elements(at(published, fact, read=now))
        if rng.random() < 0.3:
            now += rng.choice([10, 60, 200, 3 * DAY_S])
            events = passing(events, now)
    for later in range(4):  # later pages arrive in later windows
        events = passing(events, now + 3 * windows.AHEAD_S + later * 2 * WINDOW_S)
    run(
        events.advance_watermark_to_infinity(),
        {
            "contacts": holds({(key,): row for key, row in expected.contacts.items()}),
            "identities": holds({(id,): {"id": id, "external_id": to} for id, to in expected.identities.items()}),
            "memberships": holds(dict(expected.memberships)),
        },
        page_bytes=page_bytes,
        in_process=in_process,
    )


def passing(events: TestStream, now: float) -> TestStream:
    """The clock and the watermark go on."""
    return events.add_elements([TimestampedValue((now, None), now)]).advance_watermark_to(now)


SEEN: list[str] = []
"""What the stages of the next test saw, in this process."""


class _SeeFn(beam.DoFn):
    def __init__(self, what: str) -> None:
        self.what = what

    def process(self, element: Any) -> Iterator[Any]:
        SEEN.append(f"{self.what} {element}" if isinstance(element, int) else self.what)
        yield element


def test_an_element_passes_once_when_the_history_is_through_and_never_again() -> None:
    SEEN.clear()
    live = 1_700_000_000
    taken = (
        TestStream()
        .add_elements([TimestampedValue(1, MIN_TIMESTAMP)])
        .advance_watermark_to(-1_000_000)
        .add_elements([TimestampedValue(2, -1_000_000)])
        .advance_watermark_to(live)
        .add_elements([TimestampedValue(3, live), TimestampedValue(4, MIN_TIMESTAMP)])
        .advance_watermark_to(live + 60)
        .add_elements([TimestampedValue(5, live + 60)])
        .advance_watermark_to_infinity()
    )
    pipeline = beam.Pipeline("BundleBasedDirectRunner", PipelineOptions(["--streaming"]))
    rows = pipeline | "Taken" >> taken | "Rows" >> beam.ParDo(_SeeFn("row"))
    _ = rows | "Written" >> windows.AfterHistory("mark", bounded=False) | "Marks" >> beam.ParDo(_SeeFn("mark"))
    pipeline.run().wait_until_finish()
    assert SEEN[:3] == ["row 1", "row 2", "mark"]
    assert sorted(SEEN[3:]) == ["row 3", "row 4", "row 5"]
