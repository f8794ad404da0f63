"""Rows and upserts for tests of the warehouses, in which little is said."""

from __future__ import annotations

from typing import Any, Final

from msgspec import Raw

from schemas.tables import Event, Identity, IdentityCall, Timestamp
from transforms.core.rows import Upsert

NOON: Final = Timestamp(1_700_000_000_000_000)


def event(message_id: str, properties: bytes = b"{}", *, name: str = "", received_at: int = NOON) -> Event:
    at = Timestamp(received_at)
    return Event(message_id, "Page", name, NOON, at, None, "ann", None, None, "web", Raw(properties), Raw(b"{}"), None)


def call(
    message_id: str, type_: str = "identify", *, connection: str = "web", payload: str | None = None, **ids: str
) -> IdentityCall:
    """A call in the log; without a payload, one that names it and is not ASCII."""
    none: dict[str, Any] = dict.fromkeys(("user_id", "anonymous_id", "previous_id", "group_id"))
    return IdentityCall(
        message_id=message_id,
        type=type_,
        timestamp=NOON,
        received_at=NOON,
        connection=connection,
        traits=Raw(b"{}"),
        properties=None,
        context=Raw(b"{}"),
        payload=f'{{"é": "{message_id}"}}' if payload is None else payload,
        **{**none, **ids},
    )


def label(id_: str, version: int, external_id: str | None) -> Upsert:
    """The row of `identities` of an id, or its tombstone."""
    return Upsert((id_,), (version,), None if external_id is None else Identity(id_, external_id))
