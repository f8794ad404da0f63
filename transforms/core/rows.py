"""What the stages hand to a warehouse."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import msgspec

from schemas.segment import MAX_MESSAGE_BYTES
from schemas.tables import Row, Timestamp
from transforms.core.dead_letters import Reason, Refused, Stage, dead_letter
from transforms.core.reader import Call


class Append(msgspec.Struct, frozen=True, gc=False):
    """A row to be written once, of about `size` bytes. `outcome` is the first outcome of the call that it stands for,
    None for a row beside another; the other fields are what a dead letter keeps where the warehouse cannot store the
    row."""

    row: Row
    outcome: str | None = None
    message: bytes = b""
    attributes: Mapping[str, str] = {}
    published_at: Timestamp | None = None
    inherited: str | None = None
    size: int = 0

    def refused(self, why: str, reason: Reason = Reason.INVALID_FIELD) -> Append:
        """The dead letter of a row that the warehouse cannot store."""
        letter = dead_letter(
            Stage.WRITE,
            Refused(reason, why),
            self.message,
            self.attributes,
            message_id=getattr(self.row, "message_id", None),
            connection=getattr(self.row, "connection", None),
            published_at=self.published_at,
            inherited=self.inherited,
        )
        return Append(letter)


class LogEntry(msgspec.Struct, frozen=True, gc=False):
    """A call on its way into the log, and its row there. Its facts count once, and only if, the log holds the row."""

    call: Call
    append: Append


class Upsert(msgspec.Struct, frozen=True, gc=False):
    """The state of one key of a keyed table at a version: the row, or None for a key that has none. Versions of a key
    are compared number by number; the greatest stands."""

    key: tuple[str, ...]
    version: tuple[int, ...]
    row: Row | None

    def refused(self, table: str, why: str) -> Append:
        """The dead letter of a row that the warehouse cannot store: it holds the row as JSON."""
        payload = msgspec.json.encode({"table": table, "key": self.key, "version": self.version, "row": self.row})
        detail = f"{table} {self.key}: {why}"
        if len(payload) <= MAX_MESSAGE_BYTES:
            return Append(dead_letter(Stage.WRITE, Refused(Reason.INVALID_FIELD, detail), payload, {}))
        detail = f"{len(payload)} bytes, SHA-256 {hashlib.sha256(payload).hexdigest()}; {detail}"
        return Append(dead_letter(Stage.WRITE, Refused(Reason.TOO_LARGE, detail), payload, {}))
