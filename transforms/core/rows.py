"""What the stages hand to a warehouse."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from schemas.tables import Row


class Append(msgspec.Struct, frozen=True, gc=False):
    """A row to be written once. `outcome` is the first outcome of the call that it stands for, None for a row beside
    another; `message` and `attributes` are what a dead letter keeps where the warehouse cannot store the row."""

    row: Row
    outcome: str | None = None
    message: bytes = b""
    attributes: Mapping[str, str] = {}


class Upsert(msgspec.Struct, frozen=True, gc=False):
    """The state of one key of a keyed table at a version: the row, or None for a key that has none. Versions of a key
    are compared number by number; the greatest stands."""

    key: tuple[str, ...]
    version: tuple[int, ...]
    row: Row | None
