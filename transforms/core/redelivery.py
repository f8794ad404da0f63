"""Reading dead letters again: as what they were received, and what they have become (`docs/dead-letters.md`)."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import Final

import msgspec

from schemas.segment import KEPT_OF_TOO_LARGE_BYTES
from schemas.tables import DeadLetter
from transforms.core.dead_letters import CUT_FROM, Reason, Stage
from transforms.core.reader import Received
from transforms.core.rows import Append, LogEntry

_attributes: Final = msgspec.json.Decoder(dict[str, str]).decode


class Unreadable(str, enum.Enum):
    """Why a dead letter cannot be read again as a message."""

    CUT = "cut"
    """It holds only the beginning of a message."""
    KEYED_ROW = "keyed_row"
    """It holds a row of contacts, accounts, identities or memberships, which `--rebuild` makes anew."""


class UnreadableError(Exception):
    """A dead letter does not have a whole message."""

    def __init__(self, cause: Unreadable) -> None:
        super().__init__(cause)
        self.cause = cause


class Redelivered(msgspec.Struct, frozen=True, gc=False):
    """What a dead letter has become: rows, and dead letters where it is refused again."""

    dead_letter_id: str
    events: Sequence[Append]
    identity_calls: Sequence[LogEntry]
    dead_letters: Sequence[Append]


def received(letter: DeadLetter) -> Received:
    """The message, or the item of a batch, as it was received. The connection and the message id that it was read
    with stand, the connection unless it was refused for that. Raises UnreadableError."""
    if letter.stage == Stage.WRITE.value and letter.message_id is None:  # every call that is written has one
        raise UnreadableError(Unreadable.KEYED_ROW)
    if len(letter.payload) == KEPT_OF_TOO_LARGE_BYTES and (
        letter.reason == Reason.TOO_LARGE.value or CUT_FROM in letter.detail
    ):
        raise UnreadableError(Unreadable.CUT)
    decided_anew = letter.reason == Reason.UNKNOWN_CONNECTION.value
    return Received(
        letter.payload,
        _attributes(letter.attributes),
        letter.published_at,
        inherited=letter.inherited,
        dead_letter_id=letter.dead_letter_id,
        earlier_connection=None if decided_anew else letter.connection,
        earlier_message_id=letter.message_id,
    )
