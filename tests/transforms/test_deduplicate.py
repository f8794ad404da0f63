"""Each event passes once: in a bounded job, and in one without end for as long as it is remembered."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.testing.test_stream import TestStream
from apache_beam.testing.util import assert_that, equal_to
from apache_beam.transforms.userstate import get_dofn_specs
from apache_beam.transforms.window import TimestampedValue
from msgspec import Raw

from pipeline.prism import started
from schemas.tables import Event, Timestamp
from tests import prism
from transforms import metrics
from transforms.core import memory
from transforms.core.rows import Append
from transforms.deduplicate import _MEMORY, Deduplicate, _UnseenFn

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


NOW_S = [0.0]
"""What the workers' clock shows, in this process."""


def clock() -> float:
    return NOW_S[0]


class _ReadFn(beam.DoFn):
    """Gives events, each when the clock has come to the second at which it is read."""

    def process(self, timed: tuple[float, Append]) -> Iterator[Append]:
        NOW_S[0], event = timed
        yield event


def passes(timed: Iterable[tuple[float, Append]], *names: str) -> None:
    """Checks that of these events, (when it is read, the event), those of these names pass."""
    stream = TestStream()
    for seconds, read in timed:
        stream = stream.add_elements([TimestampedValue((seconds, read), seconds)])
    options = PipelineOptions(["--runner=BundleBasedDirectRunner", "--streaming"])
    with beam.Pipeline(options=options) as pipeline:
        events = pipeline | stream.advance_watermark_to_infinity() | beam.ParDo(_ReadFn()).with_output_types(Append)
        once = events | "Deduplicate" >> Deduplicate(DAY_S, clock)
        assert_that(once | beam.Map(lambda append: append.row.message_id), equal_to(list(names)))


def test_an_event_is_remembered_for_a_time_after_it_was_read() -> None:
    """For a quarter more at most: periods of that length are forgotten at once."""
    again = [(0.0, "a"), (0.0, "b"), (0.0, "a"), (DAY_S, "a"), (1.3 * DAY_S, "b"), (1.3 * DAY_S, "b")]
    passes([(seconds, event(name, seconds)) for seconds, name in again], "a", "b", "b")


def test_the_memory_is_shared_by_the_events_of_a_cell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "CELLS", 1)
    passes([(0.0, event(name)) for name in "abcabcd"], "a", "b", "c", "d")


def test_a_state_has_no_timer() -> None:
    assert get_dofn_specs(_UnseenFn(DAY_S, clock)) == ({_MEMORY}, set())
