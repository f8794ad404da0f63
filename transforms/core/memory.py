"""Which events were read lately: digests of their message ids, in cells that hold some hundred at most."""

from __future__ import annotations

import hashlib
from typing import Final

import msgspec

CELLS: Final = 1 << 23
"""With 5,000 events a second, remembered for a day, a cell holds some 60 digests, 600 bytes, which one event reads and
writes: less than its own row. Fewer cells are read for more than that, and more cells cost each a key of the runner's;
so do single messages, of which there would be 432 million."""
_DIGEST_BYTES: Final = 8
"""With the cell's number 87 bits: of 500 million ids two are alike once in a billion days."""
_PERIODS: Final = 4
"""What was read in one such part of the time is forgotten at once: a quarter more is remembered than is asked for."""


class Memory(msgspec.Struct, array_like=True, gc=False):
    """The digests of a cell, by the start of the period in which they were read, in microseconds since the epoch."""

    digests: dict[int, set[bytes]] = {}


def place(message_id: str) -> tuple[int, bytes]:
    """(cell, digest) of a message id."""
    digest = hashlib.blake2b(message_id.encode(), digest_size=_DIGEST_BYTES + 4).digest()
    return int.from_bytes(digest[:4], "big") % CELLS, digest[4:]


def remembered(memory: Memory, digest: bytes, *, published_at: int, now: int, remember_us: int) -> Memory | None:
    """The memory with this digest, None where it has it already. Times are in microseconds.

    What is read now is kept until an event comes that was published `remember_us` later than now. So a job that is
    behind forgets nothing sooner, nor does a backlog in which old and new come together, and no clock of a sender can
    have anything forgotten: a publication in the future counts as now.
    """
    at = min(published_at, now)
    period = max(1, -(-remember_us // _PERIODS))
    kept = {start: digests for start, digests in memory.digests.items() if start + period + remember_us > at}
    if any(digest in digests for digests in kept.values()):
        return None
    start = now - now % period
    return Memory({**kept, start: {*kept.get(start, ()), digest}})
