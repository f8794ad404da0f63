"""Calls that go through a job together, in columns, and may each be looked at by itself."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import Final, overload

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from transforms import ordinary_events, ordinary_identity_calls
from transforms.core import call_rows
from transforms.core.reader import Call, Reader
from transforms.core.rows import Append, LogEntry
from transforms.ordinary_calls import Message, decoded, received
from transforms.ordinary_events import OrdinaryEvents
from transforms.ordinary_identity_calls import OrdinaryIdentityCalls

_FEW: Final = 64
"""To make columns of fewer messages, some hundred calls of Arrow, takes longer than to read them one by one."""


class CallBlock(msgspec.Struct, frozen=True, gc=False):
    """Rows of calls that cross the graph together: `columns` are those of the ordinary ones, `messages` what they were
    read from, and `others` are the others. Of rows with one message id the first counts. So where an ordinary call and
    another have one, the rows are in the order of their messages, and `order` has the place of each in the ordinary
    ones with the others behind them. Else it is None, and that is how they stand."""

    reader: Reader
    columns: pa.Table
    messages: list[Message]
    others: list[Append]
    order: list[int] | None

    def __len__(self) -> int:
        return len(self.messages) + len(self.others)

    @property
    def size(self) -> int:
        """Bytes of the rows, about."""
        return int(self.columns.nbytes) + sum(append.size for append in self.others)

    def append(self, index: int) -> Append:
        """One of the rows. An ordinary call is read again."""
        place = index if self.order is None else self.order[index]
        if place >= len(self.messages):
            return self.others[place - len(self.messages)]
        (call,) = self.reader.read(received(self.messages[place]))
        assert isinstance(call, Call)
        event, entry = call_rows.rows(call)
        append = event if entry is None else entry.append
        assert append is not None
        return append


class IdentityBlock(msgspec.Struct, frozen=True, gc=False):
    """Rows of the log and their calls, in the same order. `outcome` is the first outcome of each call, as in
    `Append`."""

    rows: CallBlock
    calls: list[Call]
    outcome: str | None

    @property
    def size(self) -> int:
        """Bytes of the rows, about."""
        return self.rows.size


class CallBlocks(Sequence[Append]):
    """The rows of several blocks, one by one: few are ever asked for."""

    def __init__(self, blocks: Sequence[CallBlock]) -> None:
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
    """Messages of a block, and the ordinary calls among them. The others are read by `Reader`, one by one."""

    reader: Reader
    messages: Sequence[Message]
    events: OrdinaryEvents
    identity_calls: OrdinaryIdentityCalls

    @classmethod
    def of(cls, reader: Reader, messages: Sequence[Message]) -> Unread:
        """Where the messages are few, columns cost more than they save."""
        calls = decoded(messages) if len(messages) >= _FEW else []
        events = ordinary_events.read(reader, messages, calls)
        return cls(reader, messages, events, ordinary_identity_calls.read(reader, messages, calls))

    def others(self) -> list[int]:
        """The indexes of the messages that are no ordinary calls."""
        ordinary = {*self.events.indexes, *self.identity_calls.indexes}
        return [index for index in range(len(self.messages)) if index not in ordinary]

    def event_block(self, start: int, end: int, others: list[tuple[int, Append]]) -> CallBlock:
        """The events of the messages from `start` up to `end`; `others` are those that are not ordinary, each with the
        index of its message, in order."""
        return self._block(self.events.rows, self.events.indexes, start, end, others)

    def identity_block(self, start: int, end: int, others: list[tuple[int, LogEntry]]) -> IdentityBlock:
        """The same of their identity calls that are no events."""
        rows, calls, indexes = self.identity_calls
        appends = [(index, entry.append) for index, entry in others]
        block = self._block(rows, indexes, start, end, appends)
        calls = calls[bisect_left(indexes, start) : bisect_left(indexes, end)] + [entry.call for _, entry in others]
        if block.order is not None:
            calls = [*map(calls.__getitem__, block.order)]
        return IdentityBlock(block, calls, "identity_call")

    def engage_block(self, entries: list[LogEntry]) -> IdentityBlock:
        """The log's rows of Engage tracks, whose outcome is that of their events."""
        nothing = self.identity_calls.rows.slice(0, 0)
        block = CallBlock(self.reader, nothing, [], [entry.append for entry in entries], None)
        return IdentityBlock(block, [entry.call for entry in entries], None)

    def _block(
        self, rows: pa.Table, indexes: list[int], start: int, end: int, others: list[tuple[int, Append]]
    ) -> CallBlock:
        first, last = bisect_left(indexes, start), bisect_left(indexes, end)
        columns = rows.slice(first, last - first)
        inner = indexes[first:last]
        order = None
        if _have_one_id(columns, others):
            places = [*inner, *(index for index, _ in others)]
            order = sorted(range(len(places)), key=places.__getitem__)
        return CallBlock(
            self.reader, columns, [self.messages[i] for i in inner], [append for _, append in others], order
        )


def _have_one_id(columns: pa.Table, others: list[tuple[int, Append]]) -> bool:
    """Whether a row has the message id of one of the other calls."""
    if not others or not len(columns):
        return False
    ids = [getattr(append.row, "message_id", None) for _, append in others]
    return bool(pc.any(pc.is_in(columns["message_id"], value_set=pa.array(ids, pa.string()))).as_py())
