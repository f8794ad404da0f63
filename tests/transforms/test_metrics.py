"""Counters: declared once, told to Beam when a bundle ends."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping

import apache_beam as beam
import pytest
from apache_beam.metrics.metric import MetricResults, MetricsFilter
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.testing.test_pipeline import TestPipeline

from pipeline.prism import started
from tests import prism
from transforms import metrics
from transforms.metrics import COUNTERS, DISTRIBUTIONS, NOTES, READ, TYPES, Counter, Distribution, Notes, Tally


class _CountingFn(beam.DoFn):
    def __init__(self) -> None:
        self.tally = Tally()

    def process(self, element: int) -> Iterator[int]:
        self.tally[READ.name] += 1
        self.tally[TYPES.of("page" if element % 2 else "track")] += element
        metrics.observe(metrics.MEMBERS, element)
        yield element

    def finish_bundle(self) -> None:
        self.tally.report()
        assert not self.tally


def test_every_metric_is_listed_once_with_its_unit_and_meaning() -> None:
    declared = [value for value in vars(metrics).values() if isinstance(value, Counter | Distribution | Notes)]
    assert declared == [*COUNTERS, *DISTRIBUTIONS, *NOTES]
    names = [metric.name for metric in declared]
    assert len(set(names)) == len(names)
    assert {name.rpartition("-")[2] for name in names} <= {
        "calls",
        "messages",
        "letters",
        "lines",
        "files",
        "rows",
        "ids",
        "times",
        "edges",
        "tokens",
        "jobs",
        "keys",
        "msec",
        "bytes",
        "streams",
        "requests",
    }
    assert all(metric.meaning for metric in declared)


@pytest.mark.parametrize("counter", [counter for counter in COUNTERS if counter.singular], ids=lambda each: each.name)
def test_one_of_a_thing_is_told_in_the_singular(counter: Counter) -> None:
    assert counter.phrase(2) == counter.phrase(0) == counter.meaning
    one = counter.phrase(1)
    assert one == counter.singular != counter.meaning
    assert not re.search(r"^\w+s\b|\b(were|they)\b", one)


def test_every_counter_that_a_summary_may_show_has_a_singular() -> None:
    hidden = {READ, metrics.RECEIVED, metrics.READ_BYTES, metrics.LOG_ROWS}
    shown = {counter for counter in COUNTERS if not counter.labels} - hidden
    assert {counter.name for counter in shown if not counter.singular} == set()


def test_what_was_counted_is_told_when_a_bundle_ends() -> None:
    pipeline = TestPipeline(runner="FnApiRunner")
    _ = pipeline | beam.Create([1, 2, 3]) | beam.ParDo(_CountingFn())
    results = pipeline.run().metrics()
    counted = metrics.counts(results)
    assert counted == {READ.name: 3, TYPES.of("page"): 4, TYPES.of("track"): 2}
    assert metrics.family(counted, TYPES) == {"page": 4, "track": 2}
    assert metrics.family(counted, READ) == {}
    (members,) = results.query(MetricsFilter().with_name(metrics.MEMBERS.name))[MetricResults.DISTRIBUTIONS]
    assert (members.committed.count, members.committed.sum, members.committed.max) == (3, 6, 3)


class _NotingFn(beam.DoFn):
    def process(self, element: int) -> Iterator[int]:
        metrics.note(metrics.UNREADABLE_PARTS, f"{element % 2}.gz: ends too early")
        yield element


@pytest.mark.parametrize("runner", ["FnApiRunner", "PrismRunner"])
def test_a_line_is_noted_once(runner: str) -> None:
    options = PipelineOptions(prism.options() if runner == "PrismRunner" else [f"--runner={runner}"])
    with started(options) if runner == "PrismRunner" else contextlib.nullcontext():
        pipeline = TestPipeline(options=options)
        _ = pipeline | beam.Create([1, 2, 3]) | beam.ParDo(_NotingFn())
        result = pipeline.run()
        result.wait_until_finish()
        lines = metrics.noted(result.metrics(), metrics.UNREADABLE_PARTS)
    assert lines == ("0.gz: ends too early", "1.gz: ends too early")


class Watching:
    """An observer that keeps what it sees."""

    def __init__(self) -> None:
        self.seen: list[object] = []

    def counted(self, counts: Mapping[str, int]) -> None:
        self.seen.append(dict(counts))

    def observed(self, distribution: str, value: int) -> None:
        self.seen.append((distribution, value))


def test_an_observer_sees_what_is_reported_while_it_looks() -> None:
    watching = Watching()
    Tally({READ.name: 1}).report()
    with metrics.observed_by(watching):
        Tally({READ.name: 2}).report()
        metrics.observe(metrics.MEMBERS, 7)
    Tally({READ.name: 3}).report()
    assert watching.seen == [{READ.name: 2}, (metrics.MEMBERS.name, 7)]
