"""The one envelope for everything that could not be read or stored (`docs/semantics.md`, section 1)."""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Mapping

import msgspec
from msgspec import Raw

from schemas.segment import KEPT_OF_TOO_LARGE_BYTES
from schemas.tables import DeadLetter, Timestamp
from transforms.core import secrets


class Stage(str, enum.Enum):
    """Where a message was refused."""

    PARSE = "parse"
    WRITE = "write"
    HISTORY = "history"


class Reason(str, enum.Enum):
    """Why a message was refused; of several reasons the first in this order."""

    TOO_LARGE = "too_large"
    INVALID_JSON = "invalid_json"
    UNSUPPORTED_TYPE = "unsupported_type"
    UNKNOWN_CONNECTION = "unknown_connection"
    INVALID_FIELD = "invalid_field"
    MISSING_ID = "missing_id"
    MISSING_FIELD = "missing_field"
    OUT_OF_PARTITION_RANGE = "out_of_partition_range"
    """Only a warehouse gives it, for a row of a day that it takes from no stream: the rules have accepted the call."""


RETRYABLE = frozenset({Reason.UNKNOWN_CONNECTION, Reason.OUT_OF_PARTITION_RANGE})
"""What another connections file, or a bounded job, may accept."""


CUT_FROM = "; cut from "
"""In the detail of a dead letter that the warehouse could not hold whole: before the length that the message had."""


class Refused(Exception):
    """A message, or one item of a batch, that the rules refuse."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail


def dead_letter(
    stage: Stage,
    refused: Refused,
    payload: bytes,
    attributes: Mapping[str, str],
    *,
    message_id: str | None = None,
    connection: str | None = None,
    published_at: Timestamp | None = None,
    inherited: str | None = None,
) -> DeadLetter:
    """The row for a refused message: its bytes unchanged but for its sender's secret (the first megabyte of one that is
    too large), all that reading it again needs besides, and an id that a redelivery has again."""
    payload = secrets.redacted(payload)
    kept = payload[:KEPT_OF_TOO_LARGE_BYTES] if refused.reason is Reason.TOO_LARGE else payload
    kept_attributes = {name: attributes[name] for name in sorted(attributes) if not secrets.is_write_key(name)}
    digest = hashlib.sha256(f"{stage.value}\n{refused.reason.value}\n".encode())
    digest.update(kept)
    return DeadLetter(
        dead_letter_id=digest.hexdigest(),
        stage=stage.value,
        reason=refused.reason.value,
        detail=refused.detail,
        payload=kept,
        attributes=Raw(msgspec.json.encode(kept_attributes)),
        message_id=message_id,
        connection=connection,
        retryable=refused.reason in RETRYABLE,
        published_at=published_at,
        inherited=inherited,
    )
