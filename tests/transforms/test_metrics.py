"""Counters: declared once, told to Beam when a bundle ends."""

from __future__ import annotations

from collections.abc import Iterator

import apache_beam as beam
from apache_beam.metrics.metric import MetricResults, MetricsFilter
from apache_beam.testing.test_pipeline import TestPipeline

from transforms import metrics
from transforms.metrics import COUNTERS, DISTRIBUTIONS, READ, TYPES, Counter, Distribution, Tally


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
    declared = [value for value in vars(metrics).values() if isinstance(value, Counter | Distribution)]
    assert declared == [*COUNTERS, *DISTRIBUTIONS]
    names = [metric.name for metric in declared]
    assert len(set(names)) == len(names)
    assert {name.rpartition("-")[2] for name in names} <= {
        "calls",
        "messages",
        "lines",
        "files",
        "rows",
        "ids",
        "edges",
        "keys",
        "msec",
        "bytes",
        "streams",
        "requests",
    }
    assert all(metric.meaning for metric in declared)


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
