"""Each event passes once: in a bounded job, and in one without end for as long as it is remembered."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions
from apache_beam.testing.test_stream import TestStream
from apache_beam.testing.util import assert_that, equal_to
from apache_beam.transforms.window import TimestampedValue
from msgspec import Raw

from schemas.tables import Event, Timestamp
from tests import prism
from transforms import metrics
from transforms.core.rows import Append
from transforms.deduplicate import Deduplicate

NOON = Timestamp(1_700_000_000_000_000)
DAY_S = 86_400.0


def event(message_id: str) -> Append:
    message = b'{"messageId":"%s","properties":{"a":1}}' % message_id.encode()
    row = Event(
        message_id, "Page", "", NOON, NOON, None, "ann", None, None, "web", Raw(b'{"a":1}'), Raw(b'{"b":2}'), None
    )
    return Append(row, "event", message, {"k": "v"})


def passed(events: Iterable[Append], remember: float | None, options: Sequence[str]) -> Mapping[str, int]:
    """Runs events, and checks that each passes once, unchanged; returns what was counted."""
    events = list(events)
    pipeline = beam.Pipeline(options=PipelineOptions(options))
    once = pipeline | beam.Create(events, reshuffle=False) | "Deduplicate" >> Deduplicate(remember)
    assert_that(once, equal_to(list({append.message: append for append in events}.values())))
    result = pipeline.run()
    result.wait_until_finish()
    return metrics.counts(result.metrics())


@pytest.mark.parametrize("remember", [None, DAY_S])
def test_an_event_that_comes_again_is_dropped_and_counted(remember: float | None) -> None:
    counted = passed(map(event, "abacab"), remember, ["--runner=FnApiRunner"])
    assert counted["outcome-calls:duplicate"] == counted["repeated-rows:events"] == 3


def test_on_prism() -> None:
    passed(map(event, "abacab"), DAY_S, [*prism.options(), "--streaming"])


def at(seconds: float, *names: str) -> list[TimestampedValue]:
    return [TimestampedValue(event(name), seconds) for name in names]


def test_an_event_is_remembered_for_a_time_after_it_was_published() -> None:
    stream = (
        TestStream()
        .add_elements(at(0, "a", "b", "a"))
        .advance_watermark_to(DAY_S - 1)
        .add_elements(at(DAY_S - 1, "a"))
        .advance_watermark_to(DAY_S + 1)
        .add_elements(at(DAY_S + 1, "b"))
        .advance_watermark_to(DAY_S + 2)
        .add_elements(at(DAY_S + 1, "b"))
        .advance_watermark_to_infinity()
    )
    options = PipelineOptions(["--runner=DirectRunner"])
    options.view_as(StandardOptions).streaming = True
    with beam.Pipeline(options=options) as pipeline:
        once = pipeline | stream | "Deduplicate" >> Deduplicate(DAY_S)
        names = once | beam.Map(lambda append: append.row.message_id)
        assert_that(names, equal_to(["a", "b", "b"]))
