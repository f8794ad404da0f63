"""Deduplicate: each event once, for a warehouse that does not enforce keys.

What crosses the shuffle is an event's row and message, packed so that the JSON which the row shares with its message
goes once; its key is a digest of the `message_id`. A job without end keeps of an event no more than that digest, and
only for a time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, Final

import apache_beam as beam
from apache_beam.coders import BooleanCoder
from apache_beam.pvalue import PCollection
from apache_beam.transforms.timeutil import TimeDomain
from apache_beam.transforms.userstate import ReadModifyWriteStateSpec, TimerSpec, on_timer
from apache_beam.utils.timestamp import Duration, Timestamp

from schemas.tables import EVENTS, Event
from transforms import metrics
from transforms.core.packed_event import PackedEvent, pack, unpack
from transforms.core.rows import Append

_DIGEST_BYTES: Final = 16
_SEEN = ReadModifyWriteStateSpec("seen", BooleanCoder())
_FORGET = TimerSpec("forget", TimeDomain.WATERMARK)


class Deduplicate(beam.PTransform):
    """`Append` of events → the same, one for each `message_id`; which one is undefined.

    `remember` is for how many seconds an event is remembered, after it was published or, in a file, received; None is
    for a bounded job, which remembers all.
    """

    def __init__(self, remember: float | None) -> None:
        super().__init__()
        self.remember = remember

    def expand(self, events: PCollection[Append]) -> PCollection[Append]:
        keyed = events | "Key" >> beam.Map(_keyed).with_output_types(tuple[bytes, PackedEvent])
        if self.remember is None:
            return keyed | "Gather" >> beam.GroupByKey() | "First" >> beam.ParDo(_FirstFn())
        return keyed | "Unseen" >> beam.ParDo(_UnseenFn(self.remember))


def _keyed(append: Append) -> tuple[bytes, PackedEvent]:
    row = append.row
    assert isinstance(row, Event)
    return hashlib.blake2b(row.message_id.encode(), digest_size=_DIGEST_BYTES).digest(), pack(append)


class _DroppingFn(metrics.CountingFn):
    """Counts what it drops as duplicates."""

    def drop(self, events: int) -> None:
        if events:
            self.tally[metrics.REPEATED.of(EVENTS.name)] += events
            self.tally[metrics.OUTCOMES.of("duplicate")] += events


class _FirstFn(_DroppingFn):
    """The first of a key's events, in a bounded job."""

    def process(self, gathered: tuple[bytes, Iterable[PackedEvent]]) -> Iterator[Append]:
        _, events = gathered
        rest = iter(events)
        yield from map(unpack, islice(rest, 1))
        self.drop(sum(1 for _ in rest))


class _UnseenFn(_DroppingFn):
    """Events whose key was not seen yet."""

    def __init__(self, remember: float) -> None:
        super().__init__()
        self.remember = Duration(seconds=remember)

    def process(
        self,
        keyed: tuple[bytes, PackedEvent],
        timestamp: Any = beam.DoFn.TimestampParam,
        seen: Any = beam.DoFn.StateParam(_SEEN),  # noqa: B008
        forget: Any = beam.DoFn.TimerParam(_FORGET),  # noqa: B008
    ) -> Iterator[Append]:
        if seen.read():
            self.drop(1)
            return
        seen.write(True)
        append = unpack(keyed[1])
        row = append.row
        assert isinstance(row, Event)
        forget.set(max(timestamp, Timestamp(micros=row.received_at)) + self.remember)  # a file tells no publish time
        yield append

    @on_timer(_FORGET)
    def forget(self, seen: Any = beam.DoFn.StateParam(_SEEN)) -> None:  # noqa: B008
        seen.clear()
