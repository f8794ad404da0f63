"""When facts are gathered: windows over arrival. They decide when a row is written, never what it holds.

What arrives long after it was published would be late by that time in a window over publication, and a runner would
have to keep what it notes of each key and window for as long. So where that can happen, `Arrive` stamps calls with the
time at which they arrive, and windows are kept for minutes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import apache_beam as beam
from apache_beam.pvalue import AsIter, PCollection
from apache_beam.transforms.trigger import AccumulationMode, AfterCount, AfterWatermark
from apache_beam.transforms.window import FixedWindows, GlobalWindow, GlobalWindows, TimestampedValue
from apache_beam.utils.timestamp import MIN_TIMESTAMP, Duration, Timestamp
from apache_beam.utils.windowed_value import PaneInfoTiming, WindowedValue

LATENESS_S: Final = 120.0
"""How late what was stamped on arrival may still be. The watermark follows the clock, so it has passed a stamp only
where the clocks of two machines differ, by milliseconds, or where a bundle takes longer than this between the stamp and
its end. Two windows of the default length: no key of a window is kept for longer."""
AHEAD_S: Final = 600.0
"""What arrives later after its publication than `LATENESS_S` gathers in windows ahead, in steps of this: see
`arrived_at`."""

Clock = Callable[[], float]
"""Gives seconds since the epoch."""

_GLOBAL: Final = (GlobalWindow(),)


@dataclass(frozen=True)
class Arrival:
    """Windows of `seconds`. A window is kept for `lateness` seconds after its end, and so is what a runner notes of
    each of its keys; what comes for it later than that is lost."""

    seconds: float
    lateness: float = LATENESS_S
    clock: Clock = time.time


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


def in_global_window(value: Any, timestamp: Timestamp = MIN_TIMESTAMP) -> WindowedValue:
    """A value as the end of a bundle gives it, which has no element whose time and window it could have."""
    return WindowedValue(value, timestamp, _GLOBAL)


def arrived_at(timestamp: Timestamp, now: Timestamp, recent_s: float = LATENESS_S) -> Timestamp:
    """When an element of that timestamp arrives; never before its timestamp, where it holds the watermark.

    What is from before the epoch is history, and stays there. What was published in the last `recent_s` seconds arrives
    now. Anything older is of a backlog, or comes again: it waits for ten minutes at least, where the watermark is not
    soon, however long its bundle takes. All of ten minutes then is one window, and not ten: a backlog of hours has its
    windows open all at once.
    """
    if timestamp < _END_OF_HISTORY_S:
        return timestamp
    if timestamp >= now - recent_s:
        return max(timestamp, now)
    return Timestamp((float(now) // AHEAD_S + 2) * AHEAD_S)


class Arrive(beam.PTransform):
    """Elements → the same, stamped with the time at which they arrive (`arrived_at`)."""

    def __init__(self, recent_s: float = LATENESS_S, clock: Clock = time.time) -> None:
        super().__init__()
        self.fn = _ArriveFn(recent_s, clock)

    def expand(self, elements: PCollection) -> PCollection:
        return elements | "Stamp" >> beam.ParDo(self.fn).with_output_types(elements.element_type)


class _ArriveFn(beam.DoFn):
    def __init__(self, recent_s: float, clock: Clock) -> None:
        self.recent_s = recent_s
        self.clock = clock

    def process(self, element: Any, timestamp: Any = beam.DoFn.TimestampParam) -> tuple[TimestampedValue]:
        return (TimestampedValue(element, arrived_at(timestamp, Timestamp(self.clock()), self.recent_s)),)


class LateArrivesNow(beam.PTransform):
    """What a grouping gives → the same; what came late for its window is stamped with now.

    A late element comes once more in the windows of the next step, and there later by what this step took: at the end
    of a row of steps it would be too late.
    """

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.fn = _LateFn(clock)

    def expand(self, gathered: PCollection) -> PCollection:
        return gathered | "Stamp" >> beam.ParDo(self.fn).with_output_types(gathered.element_type)


class _LateFn(beam.DoFn):
    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    def process(
        self, element: Any, timestamp: Any = beam.DoFn.TimestampParam, pane: Any = beam.DoFn.PaneInfoParam
    ) -> tuple[Any]:
        if pane.timing == PaneInfoTiming.LATE:
            return (TimestampedValue(element, max(timestamp, Timestamp(self.clock()))),)
        return (element,)


_END_OF_HISTORY_S: Final = 0
"""History has the minimum timestamp, and what is made of it those of the windows thereabouts, 290,000 years ago; live
messages have those of today. Any time between the two separates them: the epoch."""
END_OF_TIME_S: Final = 253_370_764_800
"""The year 9999: the watermark passes it when a streaming job is drained."""


class AfterHistory(beam.PTransform):
    """PCollections → `element`, once, when all that the history gives is through them: in a bounded job, at their end,
    for which a side input waits.

    In an unbounded job that moment is the watermark's. History holds it at the minimum timestamp until it is read, each
    window that gathers its facts holds it until it has fired, and so does every row until its bundle has written it. So
    a mark at the epoch comes through a grouping when, and only when, all of that is done. It is one element, grouped
    once: what is live meets no second one, nor does an update of the job on Dataflow, which makes no new one. With
    `at_s`, another time than the epoch, in seconds, it waits until the watermark has passed that.
    """

    def __init__(self, element: Any, *, bounded: bool, at_s: float = _END_OF_HISTORY_S) -> None:
        super().__init__()
        self.element = element
        self.bounded = bounded
        self.at_s = at_s

    def expand(self, pcollections: PCollection | tuple[PCollection, ...]) -> PCollection:
        others = (pcollections,) if isinstance(pcollections, PCollection) else pcollections
        kind: Any = type(self.element)
        marks: Any = tuple[str, kind]
        held = others | "Others" >> beam.Flatten() | "Hold" >> beam.FlatMap(_nothing).with_output_types(marks)
        if self.bounded:
            start = others[0].pipeline | "Start" >> beam.Impulse()
            return start | "Element" >> beam.Map(_after, self.element, AsIter(held)).with_output_types(kind)
        element = others[0].pipeline | "Element" >> beam.Create([self.element])
        mark = element | "Mark" >> beam.Map(_mark, self.at_s).with_output_types(marks)
        return (
            (mark, held)
            | "Both" >> beam.Flatten()
            | "Window" >> beam.WindowInto(FixedWindows(1))
            | "Wait" >> beam.GroupByKey()
            | "Global" >> everything()
            | "Marks" >> beam.FlatMapTuple(_elements).with_output_types(kind)
        )


def _after(_: bytes, element: Any, __: Iterable[Any]) -> Any:
    """The element, when the side input is complete."""
    return element


def _mark(element: Any, at_s: float) -> TimestampedValue:
    return TimestampedValue(("", element), at_s)


def _nothing(_: Any) -> Iterator[tuple[str, Any]]:
    """Lets nothing through but the watermark."""
    return iter(())


def _elements(_: str, elements: Iterable[Any]) -> Iterable[Any]:
    return elements
