"""Which message ids the table `events` holds.

DuckDB's own index of them would take 50 to 100 bytes of memory for each, half of the time of an insert and half of the
file. Here a message id takes some 18 bytes: the first 16 of its SHA-256, of which nobody can make two that are equal.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence, Set
from itertools import compress
from typing import Any, Final, TypeAlias, TypeVar

import duckdb
import numpy as np
import pyarrow as pa

from pipeline.warehouses.duckdb.sql import new_cursor, scalar
from schemas.tables import EVENTS

_DIGEST_BYTES: Final = 16
_DIGEST: Final = f"unhex(left(sha256(message_id), {2 * _DIGEST_BYTES})) AS digest"
_LOOKS: Final = 30
"""So many batches are looked up by a scan of the table: that takes as long as to read all of it once."""
_READ_ROWS: Final = 100_000
_RECENT: Final = 1 << 15
_RECENT_SHARE: Final = 64
"""Digests wait until they are so many, and more than one in so many of all: to sort them in moves the others. While
they wait, each takes some 90 bytes."""
_PIECE: Final = 1 << 10
"""So many are sorted in at once: what is moved for them is in memory twice."""

K = TypeVar("K")
Digests: TypeAlias = "np.ndarray[Any, np.dtype[np.bytes_]]"


def first_rows(keys: Sequence[K]) -> dict[K, int]:
    """The first row that has each key, of the keys of all rows."""
    return dict(zip(reversed(keys), reversed(range(len(keys))), strict=True))


class MessageIds:
    """The message ids of the events in a file that nothing else writes meanwhile."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection
        self._looks = 0
        self._held: DigestSet | None = None

    def new(self, cursor: duckdb.DuckDBPyConnection, uncommitted: Set[bytes]) -> dict[bytes, int]:
        """The message ids of a cursor's `batch` that neither the table nor `uncommitted` holds: the digest of each, and
        the first row that has it."""
        digests = cursor.execute(f"SELECT {_DIGEST} FROM batch").to_arrow_table()["digest"].to_pylist()
        first = first_rows(digests)
        for digest in (*uncommitted, *self._stored(cursor, first)):
            first.pop(digest, None)
        return first

    def add(self, digests: Iterable[bytes]) -> None:
        """Takes in message ids that the table holds from now on."""
        if self._held is not None:
            self._held.add(digests)

    def forget(self) -> None:
        """Has the table read again, since a write failed: what it has left there is not known."""
        self._held = None

    def _stored(self, cursor: duckdb.DuckDBPyConnection, digests: Collection[bytes]) -> Collection[bytes]:
        """Those of the digests, which are of the cursor's `batch`, that the table holds."""
        if self._held is None:
            rows = int(scalar(cursor, f"SELECT count(*) FROM {EVENTS.name}"))
            if rows and self._looks < _LOOKS:
                self._looks += 1
                query = f"SELECT {_DIGEST} FROM batch SEMI JOIN {EVENTS.name} USING (message_id)"
                return cursor.execute(query).to_arrow_table()["digest"].to_pylist()
            self._held = DigestSet(self._read(rows))
        return self._held.among([*digests])

    def _read(self, rows: int) -> Digests:
        """The digests of the table's rows, of which there are so many."""
        digests = np.empty(rows, f"S{_DIGEST_BYTES}")
        cursor = new_cursor(self._connection).execute(f"SELECT {_DIGEST} FROM {EVENTS.name}")
        start = 0
        for batch in cursor.to_arrow_reader(_READ_ROWS):
            _, data = batch["digest"].cast(pa.binary(_DIGEST_BYTES)).buffers()
            digests[start : start + len(batch)] = np.frombuffer(data, digests.dtype)
            start += len(batch)
        return digests


class DigestSet:
    """Digests of 16 bytes, each once; in sorted order, but for the recent ones."""

    def __init__(self, digests: Digests) -> None:
        self._sorted = digests
        self._sorted.sort()
        self._recent: set[bytes] = set()

    def among(self, digests: list[bytes]) -> set[bytes]:
        """Those of these digests that are in the set."""
        among = self._recent.intersection(digests)
        if len(self._sorted):
            sought = self._array(digests)
            nearest = self._sorted.take(np.searchsorted(self._sorted, sought), mode="clip")
            among.update(compress(digests, nearest == sought))
        return among

    def add(self, digests: Iterable[bytes]) -> None:
        """Adds digests that are not in the set."""
        self._recent.update(digests)
        if len(self._recent) >= max(_RECENT, len(self._sorted) // _RECENT_SHARE):
            self._sort_in(np.sort(self._array(self._recent)))
            self._recent.clear()

    def _sort_in(self, new: Digests) -> None:
        """Moves the sorted ones apart, from the end, and puts new ones between."""
        places = np.searchsorted(self._sorted, new)
        end = len(self._sorted)
        self._sorted.resize(end + len(new), refcheck=False)
        for first in reversed(range(0, len(new), _PIECE)):
            piece = slice(first, min(first + _PIECE, len(new)))
            start = places[first]
            moved = np.insert(self._sorted[start:end], places[piece] - start, new[piece])
            self._sorted[start + piece.start : end + piece.stop] = moved
            end = start

    def _array(self, digests: Iterable[bytes]) -> Digests:
        return np.frombuffer(b"".join(digests), self._sorted.dtype)
