"""Each event passes once: in a bounded job, and in one without end for as long as it is remembered."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions
from apache_beam.testing.test_stream import TestStream
from apache_beam.testing.util import assert_that, equal_to
from apache_beam.transforms.window import TimestampedValue
from apache_beam.utils.timestamp import MIN_TIMESTAMP
from msgspec import Raw

from pipeline.prism import started
from schemas.tables import Event, Timestamp
from tests import prism
from transforms import metrics
from transforms.core.rows import Append
from transforms.deduplicate import Deduplicate

NOON = Timestamp(1_700_000_000_000_000)
DAY_S = 86_400.0


def event(message_id: str, received_s: float = 0) -> Append:
    received_at = Timestamp(int(received_s * 1_000_000))
    message = b'{"messageId":"%s","properties":{"a":1}}' % message_id.encode()
    row = Event(
        message_id,
        "Page",
        "",
        NOON,
        received_at,
        None,
        "ann",
        None,
        None,
        "web",
        Raw(b'{"a":1}'),
        Raw(b'{"b":2}'),
        None,
    )
    return Append(row, "event", message, {"k": "v"})


def passed(events: Iterable[Append], remember: float | None, options: PipelineOptions) -> Mapping[str, int]:
    """Runs events, and checks that each passes once, unchanged; returns what was counted."""
    events = list(events)
    pipeline = beam.Pipeline(options=options)
    once = pipeline | beam.Create(events, reshuffle=False) | "Deduplicate" >> Deduplicate(remember)
    assert_that(once, equal_to(list({append.message: append for append in events}.values())))
    result = pipeline.run()
    result.wait_until_finish()
    return metrics.counts(result.metrics())


@pytest.mark.parametrize("remember", [None, DAY_S])
def test_an_event_that_comes_again_is_dropped_and_counted(remember: float | None) -> None:
    counted = passed(map(event, "abacab"), remember, PipelineOptions(["--runner=FnApiRunner"]))
    assert counted["outcome-calls:duplicate"] == counted["repeated-rows:events"] == 3


def test_on_prism() -> None:
    options = PipelineOptions([*prism.options(), "--streaming"])
    with started(options):
        passed(map(event, "abacab"), DAY_S, options)


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
    passes(stream, "a", "b", "b")


def passes(stream: TestStream, *names: str) -> None:
    """Checks that events of these names pass, in whatever order."""
    options = PipelineOptions(["--runner=DirectRunner"])
    options.view_as(StandardOptions).streaming = True
    with beam.Pipeline(options=options) as pipeline:
        once = pipeline | stream | "Deduplicate" >> Deduplicate(DAY_S)
        assert_that(once | beam.Map(lambda append: append.row.message_id), equal_to(list(names)))


def test_an_event_of_a_file_is_remembered_from_when_it_was_received() -> None:
    stream = (
        TestStream()
        .add_elements([TimestampedValue(event("a", DAY_S), MIN_TIMESTAMP)])
        .advance_watermark_to(2 * DAY_S - 1)
        .add_elements(at(2 * DAY_S - 1, "a"))
        .advance_watermark_to(2 * DAY_S + 1)
        .add_elements(at(2 * DAY_S + 1, "a"))
        .advance_watermark_to_infinity()
    )
    passes(stream, "a", "a")
