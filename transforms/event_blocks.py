"""Events that go through a job together, in columns, and may each be looked at by itself."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import Final, overload

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from schemas.tables import Event
from transforms import ordinary_events
from transforms.core import call_rows
from transforms.core.reader import Call, Reader
from transforms.core.rows import Append
from transforms.ordinary_events import Message, OrdinaryEvents, payload, received

_FEW: Final = 64
"""To make columns of fewer messages, some hundred calls of Arrow, takes longer than to read them one by one."""


class EventBlock(msgspec.Struct, frozen=True, gc=False):
    """Events that cross the graph together: `columns` are the rows of the ordinary ones, `messages` what they were read
    from, and `others` are the other events. Of events with one message id the first counts. So where an ordinary event
    and another have one, the events are in the order of their messages, and `order` has the place of each in the
    ordinary ones with the others behind them. Else it is None, and that is how they stand."""

    reader: Reader
    columns: pa.Table
    messages: list[Message]
    others: list[Append]
    order: list[int] | None

    def __len__(self) -> int:
        return len(self.messages) + len(self.others)

    @property
    def size(self) -> int:
        """Bytes of the events, about."""
        return sum(len(payload(message)) for message in self.messages) + sum(append.size for append in self.others)

    def append(self, index: int) -> Append:
        """One of the events. An ordinary one is read again."""
        place = index if self.order is None else self.order[index]
        if place >= len(self.messages):
            return self.others[place - len(self.messages)]
        (call,) = self.reader.read(received(self.messages[place]))
        assert isinstance(call, Call)
        event, _ = call_rows.rows(call)
        assert event is not None
        return event


class EventBlocks(Sequence[Append]):
    """The events of several blocks, one by one: few are ever asked for."""

    def __init__(self, blocks: Sequence[EventBlock]) -> None:
        self._blocks = blocks
        self._ends = [*accumulate(map(len, blocks))]

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    @overload
    def __getitem__(self, index: int) -> Append: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Append]: ...
    def __getitem__(self, index: int | slice) -> Append | Sequence[Append]:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        number = bisect_right(self._ends, index)
        block = self._blocks[number]
        return block.append(index - self._ends[number] + len(block))


class Unread(msgspec.Struct, frozen=True, gc=False):
    """Messages of a block, and the ordinary events among them. The others are read by `Reader`, one by one."""

    reader: Reader
    messages: Sequence[Message]
    ordinary: OrdinaryEvents

    @classmethod
    def of(cls, reader: Reader, messages: Sequence[Message]) -> Unread:
        """Where the messages are few, columns cost more than they save."""
        return cls(reader, messages, ordinary_events.read(reader, messages if len(messages) >= _FEW else ()))

    def others(self) -> list[int]:
        """The indexes of the messages that are no ordinary events."""
        return sorted(set(range(len(self.messages))).difference(self.ordinary.indexes))

    def block(self, start: int, end: int, others: list[tuple[int, Append]]) -> EventBlock:
        """The events of the messages from `start` up to `end`; `others` are those that are not ordinary, each with the
        index of its message, in order."""
        indexes = self.ordinary.indexes
        first, last = bisect_left(indexes, start), bisect_left(indexes, end)
        columns = self.ordinary.rows.slice(first, last - first)
        inner = indexes[first:last]
        order = None
        if _have_one_id(columns, others):
            places = [*inner, *(index for index, _ in others)]
            order = sorted(range(len(places)), key=places.__getitem__)
        return EventBlock(
            self.reader, columns, [self.messages[i] for i in inner], [append for _, append in others], order
        )


def _have_one_id(columns: pa.Table, others: list[tuple[int, Append]]) -> bool:
    """Whether a row has the message id of one of the other events."""
    if not others:
        return False
    ids = [append.row.message_id for _, append in others if isinstance(append.row, Event)]
    return bool(pc.any(pc.is_in(columns["message_id"], value_set=pa.array(ids, pa.string()))).as_py())
