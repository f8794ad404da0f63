"""Windows decide when rows are written, never what they hold: on time, days late, out of order, empty, drained."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from random import Random
from typing import Any

import apache_beam as beam
import pytest
from apache_beam import coders
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions
from apache_beam.testing.test_stream import TestStream
from apache_beam.testing.util import BeamAssertException, assert_that
from apache_beam.transforms.window import TimestampedValue
from apache_beam.utils.timestamp import MIN_TIMESTAMP

from judge import replay
from tests.histories import CONFIGS, deal, history, line
from tests.product_rows import connections, facts, plain
from transforms import windows
from transforms.core.facts import Known
from transforms.core.rows import Upsert
from transforms.resolve_identities import ResolveIdentities

WINDOW_S = 60.0
DAY_S = 86_400
Fact = tuple[str, Known]


def stream() -> TestStream:
    return TestStream(coder=coders.registry.get_coder(Fact)).with_output_types(Fact)


def at(seconds: Any, *facts: Fact) -> list[TimestampedValue]:
    return [TimestampedValue(fact, seconds) for fact in facts]


def run(events: TestStream, check: dict[str, Callable[[list[Upsert]], None]]) -> None:
    options = PipelineOptions(["--runner=DirectRunner"])
    options.view_as(StandardOptions).streaming = True
    with beam.Pipeline(options=options) as pipeline:
        rows = pipeline | "Stream" >> events | "ResolveIdentities" >> ResolveIdentities(windows.Arrival(WINDOW_S))
        for table, checked in check.items():
            assert_that(rows[table], checked, label=f"Check{table}")


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
    events = stream().add_elements(at(1, *edge(1, "a", "b"))).add_elements(at(59, *edge(2, "b", "c")))
    run(
        events.advance_watermark_to(200).advance_watermark_to_infinity(),
        {"identities": written(("a", "c"), ("b", "c"))},
    )


def test_each_window_writes_what_changed_in_it() -> None:
    events = stream().add_elements(at(1, *edge(1, "a", "b"))).advance_watermark_to(100)
    events = events.add_elements(at(110, *edge(2, "b", "c"))).advance_watermark_to(200)
    run(
        events.advance_watermark_to_infinity(),
        {"identities": written(("a", "b"), ("a", "c"), ("b", "c"))},
    )


def test_days_late_and_earlier_in_time_undoes_a_merge() -> None:
    events = stream().add_elements(at(1, *edge(10, "a", "b"))).advance_watermark_to(9 * DAY_S)
    events = events.add_elements(at(2, *edge(5, "a", "c"))).advance_watermark_to(9 * DAY_S + 100)
    run(events.advance_watermark_to_infinity(), {"identities": holds({("a",): {"id": "a", "external_id": "c"}})})


def test_empty_windows_write_nothing() -> None:
    events = stream().advance_watermark_to(500).add_elements(at(510, *edge(1, "a", "b"))).advance_watermark_to(5000)
    run(events.advance_watermark_to_infinity(), {"identities": written(("a", "b"))})


def test_a_drain_flushes_the_open_window() -> None:
    events = stream().add_elements(at(1, *edge(1, "a", "b"))).advance_watermark_to_infinity()
    run(events, {"identities": written(("a", "b"))})


@pytest.mark.parametrize("seed", range(12))
def test_random_histories_late_and_out_of_order_equal_the_replay(seed: int) -> None:
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
    events, now = stream(), 0
    for fact in said:
        events = events.add_elements(at(max(0, now + rng.choice([0, 0, 5, -200, -20 * DAY_S])), fact))
        if rng.random() < 0.3:
            now += rng.choice([10, 60, 200, 3 * DAY_S])
            events = events.advance_watermark_to(now)
    run(
        events.advance_watermark_to(now + 1000).advance_watermark_to_infinity(),
        {
            "contacts": holds({(key,): row for key, row in expected.contacts.items()}),
            "identities": holds({(id,): {"id": id, "external_id": to} for id, to in expected.identities.items()}),
            "memberships": holds(dict(expected.memberships)),
        },
    )


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
