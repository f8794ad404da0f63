"""When facts are gathered: windows over arrival. They decide when a row is written, never what it holds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import apache_beam as beam
from apache_beam.pvalue import PCollection
from apache_beam.transforms.trigger import AccumulationMode, AfterCount, AfterWatermark
from apache_beam.transforms.window import FixedWindows, GlobalWindows, TimestampedValue
from apache_beam.utils.timestamp import Duration

RETENTION_S: Final = 60 * 86400
"""Longer than Pub/Sub keeps a message (31 days at most): nothing is ever later."""


@dataclass(frozen=True)
class Arrival:
    """Windows of `seconds`. A window is kept for `lateness` seconds after its end, and so is what a runner notes of
    each of its keys; what comes for it later than that is lost."""

    seconds: float
    lateness: float = RETENTION_S


def arrival(window: Arrival) -> beam.WindowInto:
    """Fixed windows that fire once when the watermark passes, and at once for everything that comes late."""
    return beam.WindowInto(
        FixedWindows(window.seconds),
        trigger=AfterWatermark(late=AfterCount(1)),
        accumulation_mode=AccumulationMode.DISCARDING,
        allowed_lateness=Duration(seconds=window.lateness),
    )


def everything() -> beam.WindowInto:
    """The one window that a key's state lives in."""
    return beam.WindowInto(GlobalWindows())


_END_OF_HISTORY_S: Final = 0
"""History has the minimum timestamp, and what is made of it those of the windows thereabouts, 290,000 years ago; live
messages have those of today. Any time between the two separates them: the epoch."""
END_OF_TIME_S: Final = 253_370_764_800
"""The year 9999: the watermark passes it when a streaming job is drained."""


class AfterHistory(beam.PTransform):
    """PCollections → `element`, once, when all that the history gives is through them: in a bounded job, at its end.

    That moment is the watermark's. History holds it at the minimum timestamp until it is read, each window that gathers
    its facts holds it until it has fired, and so does every row until its bundle has written it. So a mark at the epoch
    comes through a grouping when, and only when, all of that is done. It is one element, grouped once: what is live
    meets no second one, nor does an update of the job on Dataflow, which makes no new one. A bounded job gathers in the
    one window of all time, and so the mark waits for the end of that. With `at_s`, another time than the epoch, in
    seconds, an unbounded job's mark waits until the watermark has passed that.
    """

    def __init__(self, element: Any, *, bounded: bool, at_s: float = _END_OF_HISTORY_S) -> None:
        super().__init__()
        self.element = element
        self.bounded = bounded
        self.at_s = at_s

    def expand(self, pcollections: PCollection | tuple[PCollection, ...]) -> PCollection:
        others = (pcollections,) if isinstance(pcollections, PCollection) else pcollections
        element = others[0].pipeline | "Element" >> beam.Create([self.element])
        mark = element | "Mark" >> beam.Map(_mark, self.at_s).with_output_types(_Mark)
        held = others | "Others" >> beam.Flatten() | "Hold" >> beam.FlatMap(_nothing).with_output_types(_Mark)
        return (
            (mark, held)
            | "Both" >> beam.Flatten()
            | "Window" >> (everything() if self.bounded else beam.WindowInto(FixedWindows(1)))
            | "Wait" >> beam.GroupByKey()
            | "Global" >> everything()
            | "Marks" >> beam.FlatMapTuple(_elements)
        )


_Mark = tuple[str, Any]


def _mark(element: Any, at_s: float) -> TimestampedValue:
    return TimestampedValue(("", element), at_s)


def _nothing(_: Any) -> Iterator[_Mark]:
    """Lets nothing through but the watermark."""
    return iter(())


def _elements(_: str, elements: Iterable[Any]) -> Iterable[Any]:
    return elements
