"""Rows into a stream of BigQuery's, each exactly once, by a worker whose work may be done twice and thrown away.

A stream takes an append at an offset once. So what stands at an offset must be settled before it is appended: rows are
gathered in one bag of state, the bag is *sealed*, and a later bundle, which only runs once the seal is committed,
appends the sealed rows in their order. A bundle that is run again, at the same time or after its own append, finds the
offset occupied, and what is there are its own rows.

For one stream and offset the row never changes. Where it would have to, because BigQuery refuses a row, or where it is
unclear how much of the seal is written, the stream is finalized: it then says how many rows it holds, and nobody can
append to it any more. What is left goes to a new stream.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final, NamedTuple, Protocol

import msgspec
from msgspec.structs import replace

from pipeline.warehouses.bigquery.answers import RequestTooLarge, RowsRefused, StreamUnusable

_LOGGER: Final = logging.getLogger(__name__)
_NONE: Final[Mapping[int, str]] = MappingProxyType({})


class Position(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Where a shard is: its state beside two bags of rows.

    The next row is appended to `stream`, None before there is one, at `offset`. Rows that come go into the bag `open`;
    `waiting` says whether any did since it was opened. `sealed` says whether the other bag is sealed; the first
    `settled` of its rows are written.
    """

    stream: str | None = None
    offset: int = 0
    open: int = 0
    waiting: bool = False
    sealed: bool = False
    settled: int = 0

    def having_received(self) -> Position:
        """With a row in the open bag."""
        return self if self.waiting else replace(self, waiting=True)

    def having_stream(self, stream: str) -> Position:
        """With a new stream."""
        return replace(self, stream=stream, offset=0)

    def having_sealed(self) -> Position:
        """With the open bag sealed, and the other, which is empty, open."""
        return replace(self, open=1 - self.open, waiting=False, sealed=True, settled=0)

    def having_emptied(self) -> Position:
        """With all sealed rows settled, and their bag empty."""
        return replace(self, sealed=False, settled=0)

    def having_written(self, rows: int) -> Position:
        """With so many more of the sealed rows in the stream."""
        return replace(self, offset=self.offset + rows, settled=self.settled + rows)

    def having_left(self, settled: int) -> Position:
        """Without a stream, and with so many of the sealed rows settled."""
        return replace(self, stream=None, offset=0, settled=settled)


class Streams(Protocol):
    """What BigQuery does. Each call may raise WriteFailed, after which the bundle fails."""

    def create(self) -> str:
        """Makes a stream; returns its name."""

    def fit(self, rows: Sequence[bytes]) -> int:
        """How many of these rows, from the first, go into one request: one at least."""

    def append(self, stream: str, offset: int, rows: Sequence[bytes]) -> None:
        """Appends these rows. Raises RowsRefused, where BigQuery cannot hold some of them, StreamUnusable and
        RequestTooLarge; no row is written then, unless it was before."""

    def finalize(self, stream: str) -> int | None:
        """Lets nobody append to the stream any more; returns how many rows it holds, None where it is gone."""


class Flushed(NamedTuple):
    """What became of the sealed rows, by index: those in `written` are in the table; those in `refused` are not, for a
    reason. Others are to be appended from the new position on."""

    position: Position
    written: range
    refused: Mapping[int, str] = _NONE


def flush(position: Position, rows: Sequence[bytes], streams: Streams, unfit: Mapping[int, str] = _NONE) -> Flushed:
    """Appends sealed rows. `rows` are all of the sealed bag, in an order that never changes; `unfit` are those that no
    table can hold, whose bytes do not matter.

    The position must be committed: a bundle that has sealed the bag or changed the stream does not append.
    """
    start = position.settled
    if position.stream is None:
        return Flushed(position.having_stream(streams.create()), range(start, start))
    if unfit:
        return _left(position, start, len(rows), unfit, streams)
    while position.settled < len(rows):
        rest = rows[position.settled :]
        part = rest[: streams.fit(rest)]
        try:
            streams.append(position.stream, position.offset, part)
        except RowsRefused as error:
            refused = {position.settled + index: words for index, words in error.rows.items()}
            return _left(position, start, len(rows), refused, streams)
        except StreamUnusable as error:
            _LOGGER.info("%s at offset %d: %s", position.stream, position.offset, error)
            return _left(position, start, len(rows), _NONE, streams)
        except RequestTooLarge as error:
            if len(part) > 1:
                continue  # fewer fit by now
            refused = {position.settled: f"the row of {len(part[0])} bytes: {error.words}"}
            return _left(position, start, len(rows), refused, streams)
        position = position.having_written(len(part))
    return Flushed(position, range(start, position.settled))


def _left(position: Position, start: int, count: int, refused: Mapping[int, str], streams: Streams) -> Flushed:
    """Finalizes the stream, and takes from it which rows are written."""
    assert position.stream is not None
    held = streams.finalize(position.stream)
    settled = position.settled
    if held is None:
        _LOGGER.warning(
            "%s is gone: what was appended to it a moment ago, if anything, is appended again", position.stream
        )
    elif held < position.offset:
        _LOGGER.error("%s holds %d rows, though BigQuery has accepted %d", position.stream, held, position.offset)
    else:
        settled = min(settled + held - position.offset, count)
    left = {index: why for index, why in refused.items() if index >= settled}
    return Flushed(position.having_left(settled), range(start, settled), left)
