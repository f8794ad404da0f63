"""An event comes back from a shuffle as it was, and the JSON that it shares with its message goes once."""

from __future__ import annotations

import msgspec
import pytest
from msgspec import Raw

from schemas.tables import Event, Timestamp
from transforms.coders import StructCoder
from transforms.core.packed_event import PackedEvent, pack, unpack
from transforms.core.rows import Append

NOON = Timestamp(1_700_000_000_000_000)


def append(message: bytes, properties: bytes, integrations: bytes | None = None, **given: object) -> Append:
    row = Event(
        "é",
        "Action",
        "Order Completed",
        NOON,
        NOON,
        None,
        None,
        "anonymous",
        None,
        "web",
        Raw(properties),
        Raw(b"{}"),
        None if integrations is None else Raw(integrations),
    )
    return Append(msgspec.structs.replace(row, **given), "event", message, {"k": "v"})


LARGE = b'{"a":"%s"}' % (b"x" * 10_000)


@pytest.mark.parametrize(
    ("what", "given"),
    [
        ("JSON of the message", append(b'{"properties":{"a":1},"context":{}}', b'{"a":1}')),
        ("JSON that was inherited", append(b'{"properties":{"a":1}}', b'{"a":1}', b'{"All":true}')),
        ("the same JSON twice", append(b'{"context":{},"properties":{}}', b"{}", b"{}")),
        ("a name that looks like bytes", append(b"{}", b"{}", name="[1, 2]")),
        ("times and ids", append(b"{}", b"{}", sent_at=NOON, user_id="ann", group_id="acme")),
    ],
)
def test_an_event_comes_back(what: str, given: Append) -> None:
    coder = StructCoder(PackedEvent)
    assert unpack(coder.decode(coder.encode(pack(given)))) == given, what
    assert unpack(pack(given)) == given, what


def test_json_of_the_message_goes_once() -> None:
    encoded = StructCoder(PackedEvent).encode(pack(append(b'{"properties":%s}' % LARGE, LARGE)))
    assert len(encoded) < len(LARGE) + 200
