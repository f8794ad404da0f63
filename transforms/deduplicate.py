"""Deduplicate: each event once, for a warehouse that does not enforce keys.

What crosses the shuffle is an event's row and message, packed so that the JSON which the row shares with its message
goes once. A bounded job groups by a digest of the `message_id`. A job without end keeps digests in cells, each a key of
many events (`transforms.core.memory`): a key for each message would want a timer for each, to be forgotten by, and a
day of messages is hundreds of millions of them. Cells have no timer: what is old goes when the next event comes. They
are in the one window of all time, for which a runner sets no timer either.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, Final

import apache_beam as beam
from apache_beam.pvalue import PCollection
from apache_beam.transforms.userstate import BagStateSpec

from schemas.tables import EVENTS, Event
from transforms import metrics, windows
from transforms.coders import StructCoder
from transforms.core.memory import Memory, place, remembered
from transforms.core.packed_event import PackedEvent, pack, unpack
from transforms.core.rows import Append

_DIGEST_BYTES: Final = 16
_MEMORY = BagStateSpec("memory", StructCoder(Memory))
"""A bag of one or none, as in `KeyedStep`."""


class Deduplicate(beam.PTransform):
    """`Append` of events → the same, one for each `message_id`; which one is undefined.

    `remember` is for how many seconds at least an event is remembered after it was read, by the times at which later
    ones were published or, in a file, received; None is for a bounded job, which remembers all.
    """

    def __init__(self, remember: float | None, clock: windows.Clock = time.time) -> None:
        super().__init__()
        self.remember = remember
        self.clock = clock

    def expand(self, events: PCollection[Append]) -> PCollection[Append]:
        if self.remember is None:
            keyed = events | "Key" >> beam.Map(_by_digest).with_output_types(tuple[bytes, PackedEvent])
            return keyed | "Gather" >> beam.GroupByKey() | "First" >> beam.ParDo(_FirstFn()).with_output_types(Append)
        keyed = events | "Key" >> beam.Map(_by_cell).with_output_types(tuple[int, PackedEvent])
        return keyed | "Unseen" >> beam.ParDo(_UnseenFn(self.remember, self.clock)).with_output_types(Append)


def _by_digest(append: Append) -> tuple[bytes, PackedEvent]:
    digest = hashlib.blake2b(_event(append).message_id.encode(), digest_size=_DIGEST_BYTES).digest()
    return digest, pack(append)


def _by_cell(append: Append) -> tuple[int, PackedEvent]:
    cell, _ = place(_event(append).message_id)
    return cell, pack(append)


def _event(append: Append) -> Event:
    row = append.row
    assert isinstance(row, Event)
    return row


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
    """Events that their cell does not remember."""

    def __init__(self, remember: float, clock: windows.Clock) -> None:
        super().__init__()
        self.remember_us = int(remember * 1_000_000)
        self.clock = clock

    def process(
        self,
        keyed: tuple[int, PackedEvent],
        cell: Any = beam.DoFn.StateParam(_MEMORY),  # noqa: B008
    ) -> Iterator[Append]:
        append = unpack(keyed[1])
        event = _event(append)
        before = next(iter(cell.read()), None)
        after = remembered(
            before or Memory(),
            place(event.message_id)[1],
            published_at=append.published_at or event.received_at,  # a file tells no publication
            now=int(self.clock() * 1_000_000),
            remember_us=self.remember_us,
        )
        if after is None:
            self.drop(1)
            return
        if before is not None:
            cell.clear()
        cell.add(after)
        yield append
