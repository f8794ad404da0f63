"""How facts cross a shuffle: everything comes back, and an encoding outlives the code that wrote it."""

from __future__ import annotations

import pickle
from typing import Any

import msgspec
import pyarrow as pa
import pytest
from apache_beam.coders import Coder, registry
from apache_beam.io.restriction_trackers import OffsetRange
from apache_beam.pvalue import TaggedOutput
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from pipeline.warehouses import JobRun
from schemas.tables import (
    Account,
    Audience,
    Contact,
    DeadLetter,
    Event,
    Identity,
    IdentityCall,
    Membership,
    Row,
    Timestamp,
)
from tests.histories import Message, histories, line, odd_lines
from tests.transforms.core.calls import IDENTIFY, PAGE, read_all
from tests.transforms.core.known import ACCOUNT_KNOWN, KNOWN
from transforms.call_blocks import CallBlock, IdentityBlock
from transforms.classify import Classify
from transforms.coders import (
    VERSION,
    AppendCoder,
    BlockCoder,
    DeadLetterCoder,
    LogEntryCoder,
    OffsetRangeCoder,
    PackedCoder,
    StructCoder,
    UnknownVersionError,
    UpsertCoder,
)
from transforms.core.accounts import Way
from transforms.core.connections import DEFAULT
from transforms.core.facts import AccountKnown, Known
from transforms.core.identity.protocol import Deep, Label, Member, Pointer, ProtocolMessage, Token
from transforms.core.memory import Memory
from transforms.core.reader import Call, OversizedMessage, Reader, Received
from transforms.core.rows import Append, LogEntry, Upsert

STAMP = (1, "m")


@given(KNOWN)
def test_what_is_known_of_an_id_comes_back(known: Known) -> None:
    coder = StructCoder(Known)
    assert coder.decode(coder.encode(known)) == known
    assert registry.get_coder(tuple[str, Known]).decode(registry.get_coder(tuple[str, Known]).encode(("u", known))) == (
        "u",
        known,
    )


@given(ACCOUNT_KNOWN)
def test_what_is_known_of_an_account_comes_back(known: AccountKnown) -> None:
    coder = StructCoder(AccountKnown)
    assert coder.decode(coder.encode(known)) == known


@pytest.mark.parametrize(
    "message",
    [
        Member("u", (1, 2, 3), Known(named=True)),
        Member("u", (1, 2), None),
        Member("u", (1, 2), Known(), is_chain=True),
        Label(3, "v"),
        Label(4, None),
        Pointer(1, "v", {"v": STAMP, "w": STAMP}),
        Token("1:u", (1, 2), False),
        Token("1:u", (1, 2, -1), None),
        Deep("u", 1, 2, True, {"v": STAMP}),
    ],
)
def test_a_message_between_identity_stages_comes_back(message: ProtocolMessage) -> None:
    coder = StructCoder(ProtocolMessage)
    assert coder.decode(coder.encode(message)) == message


@given(histories(max_size=5), odd_lines(max_size=5), st.sampled_from([None, Timestamp(5)]))
def test_an_entry_of_the_log_comes_back(
    messages: list[Message], lines: list[bytes], published_at: Timestamp | None
) -> None:
    coder = registry.get_coder(LogEntry)
    assert isinstance(coder, LogEntryCoder)
    classify = Classify().fn
    for each in (*map(line, messages), *lines):
        for call in read_all(each, published_at=published_at, attributes={"k": "v"}):
            for row in classify.process(call) if isinstance(call, Call) else ():
                if isinstance(row, TaggedOutput) and row.tag == Classify.IDENTITY_CALLS:
                    assert coder.decode(coder.encode(row.value)) == row.value


WRITTEN: list[tuple[msgspec.Struct, list[Any]]] = [
    (
        Known(
            traits={"a": (STAMP, b"1")},
            audiences={"k": (STAMP, None)},
            seen=(STAMP, STAMP),
            connections={"c": STAMP},
            accounts={"acme": {Way.FALLBACK_EMAIL_DOMAIN: (STAMP, STAMP)}},
            deleted=STAMP,
            out={"v": STAMP},
            named=True,
        ),
        [
            {"a": [[1, "m"], b"1"]},
            {"k": [[1, "m"], None]},
            [[1, "m"], [1, "m"]],
            {"c": [1, "m"]},
            {"acme": {"fallback:email_domain": [[1, "m"], [1, "m"]]}},
            [1, "m"],
            {"v": [1, "m"]},
            True,
        ],
    ),
    (
        AccountKnown(
            traits={"a": (STAMP, b"1")},
            name=(STAMP, "A"),
            seen={Way.GROUP: (STAMP, STAMP)},
            connections={"c": STAMP},
        ),
        [{"a": [[1, "m"], b"1"]}, [[1, "m"], "A"], {"group": [[1, "m"], [1, "m"]]}, {"c": [1, "m"]}],
    ),
]


MESSAGES: list[tuple[ProtocolMessage, list[Any]]] = [
    (
        Member("u", (1, 2, 3), Known(named=True)),
        ["member", "u", [1, 2, 3], [{}, {}, None, {}, {}, None, {}, True], None, False],
    ),
    (
        Member("u", (1, 2), None, Known(deleted=STAMP)),
        ["member", "u", [1, 2], None, [{}, {}, None, {}, {}, [1, "m"], {}, False], False],
    ),
    (Label(3, "v"), ["label", 3, "v"]),
    (Label(4, None), ["label", 4, None]),
    (Pointer(1, "v", {"v": STAMP}), ["pointer", 1, "v", {"v": [1, "m"]}]),
    (Token("1:u", (1, 2), True), ["token", "1:u", [1, 2], True]),
    (Token("1:u", (1, -1), None), ["token", "1:u", [1, -1], None]),
    (Deep("u", 1, 2, True, {"v": STAMP}), ["deep", "u", 1, 2, True, {"v": [1, "m"]}]),
]


@pytest.mark.parametrize(("message", "written"), MESSAGES)
def test_the_encoding_of_messages_is_a_contract(message: ProtocolMessage, written: list[Any]) -> None:
    coder = StructCoder(ProtocolMessage)
    assert fields(coder.encode(message)) == written
    assert coder.decode(encoded(written)) == message
    assert coder.decode(encoded([*written, "of a later program"])) == message


def test_a_member_of_the_first_program_is_read() -> None:
    assert StructCoder(ProtocolMessage).decode(encoded(["member", "u", [1, 2], None])) == Member("u", (1, 2), None)


@pytest.mark.parametrize(("struct", "written"), WRITTEN, ids=["Known", "AccountKnown"])
def test_the_encoding_is_a_contract(struct: msgspec.Struct, written: list[Any]) -> None:
    coder = StructCoder(type(struct))
    assert fields(coder.encode(struct)) == written
    assert coder.decode(encoded(written)) == struct
    assert coder.decode(encoded([*written, "of a later program"])) == struct
    for length in range(len(written)):
        older = coder.decode(encoded(written[:length]))
        assert fields(coder.encode(older))[:length] == written[:length]


def encoded(fields: list[Any]) -> bytes:
    return bytes([VERSION]) + msgspec.msgpack.encode(fields)


def fields(encoded: bytes) -> list[Any]:
    assert encoded[:1] == bytes([VERSION])
    decoded: list[Any] = msgspec.msgpack.decode(encoded[1:])
    return decoded


def test_an_encoding_of_another_version_is_refused_and_never_misread() -> None:
    coder = StructCoder(Known)
    written = bytes([VERSION + 1]) + coder.encode(Known(named=True))[1:]
    with pytest.raises(UnknownVersionError, match="a Known is in encoding 3, and this program reads encoding 2"):
        coder.decode(written)


@pytest.mark.parametrize("struct", [Known, AccountKnown, ProtocolMessage])
def test_a_coder_is_found_by_its_type_travels_and_is_a_value(struct: type[msgspec.Struct]) -> None:
    coder = registry.get_coder(struct)
    assert coder == StructCoder(struct)
    assert pickle.loads(pickle.dumps(coder)) == coder
    assert hash(coder) == hash(StructCoder(struct))
    assert coder != StructCoder(Label)
    assert coder.to_type_hint() is struct
    assert not coder.is_deterministic()


CONTACT = Contact(
    "ann",
    email="ann@acme.example",
    account_id="acme",
    account_source="group",
    traits=Raw(b'{"a": 1.0, "b":[9007199254740993]}'),
    audiences=(Audience("big_spenders", True, Timestamp(-1)),),
    previous_ids=("phone",),
    connections=("web",),
    first_identified_at=Timestamp(1),
    last_identified_at=Timestamp(2**62),
)
UPSERTS = [
    Upsert(("ann",), (0, 3), CONTACT),
    Upsert(("acme",), (7,), Account("acme", "Acme", account_source="group", traits=Raw(b"{}"))),
    Upsert(("phone",), (1, 2), Identity("phone", "ann")),
    Upsert(("phone",), (2, 2), None),
    Upsert(("ann", "acme"), (0, 3), Membership("ann", "acme", "group", Timestamp(1), Timestamp(2))),
]


@pytest.mark.parametrize("upsert", UPSERTS)
def test_a_row_on_its_way_to_the_warehouse_comes_back(upsert: Upsert) -> None:
    coder = registry.get_coder(Upsert)
    assert coder == UpsertCoder()
    assert coder.decode(coder.encode(upsert)) == upsert


def test_a_row_of_an_older_or_newer_program_is_read() -> None:
    sent = b'[["phone"],[1,2],"identities",{"id":"phone","external_id":"ann","column_of_later":1}]'
    assert UpsertCoder().decode(bytes([VERSION]) + sent) == Upsert(("phone",), (1, 2), Identity("phone", "ann"))
    with pytest.raises(UnknownVersionError):
        UpsertCoder().decode(bytes([VERSION + 1]) + sent)


DEAD_LETTER = DeadLetter(
    dead_letter_id="d1",
    stage="parse",
    reason="not_json",
    detail="",
    payload=b"\xff\x00",
    attributes=Raw(b'{"connection":"web"}'),
    published_at=Timestamp(7),
)
MESSAGE = b'{"messageId":"m1","properties":{"price":67.174118}}'
EVENT = Event(
    "m1",
    "Page",
    "",
    Timestamp(1),
    Timestamp(2),
    None,
    "ann",
    None,
    None,
    "web",
    Raw(b'{"price":67.174118}'),
    Raw(b'{"of":"the batch"}'),
    None,
)
IDENTITY_CALL = IdentityCall(
    message_id="m1",
    type="identify",
    timestamp=Timestamp(1),
    received_at=Timestamp(2),
    user_id="ann",
    anonymous_id=None,
    previous_id=None,
    group_id=None,
    connection="web",
    traits=Raw(b'{"a":1.0}'),
    properties=None,
    context=Raw(b"{}"),
    payload="{}",
)
KEPT = ("event", MESSAGE, {"connection": "web"}, Timestamp(9), '{"userId":"ann"}', 99)


@pytest.mark.parametrize("row", [EVENT, IDENTITY_CALL, DEAD_LETTER], ids=lambda row: type(row).__name__)
def test_a_row_to_be_appended_comes_back(row: Row) -> None:
    coder = registry.get_coder(Append)
    for append in (Append(row), Append(row, *KEPT)):
        assert coder.decode(coder.encode(append)) == append


def test_an_event_goes_with_the_json_of_its_message_once() -> None:
    encoded = AppendCoder().encode(Append(EVENT, *KEPT))
    assert encoded.count(b"67.174118") == encoded.count(b"the batch") == 1


ELEMENTS: list[tuple[Coder, object]] = [
    (DeadLetterCoder(), DEAD_LETTER),
    (OffsetRangeCoder(), OffsetRange(3, 1 << 62)),
    (PackedCoder(), b"\x02 as it was packed"),
    (StructCoder(JobRun), JobRun(3, Timestamp(1), None, bounded=False, rereads_log=True)),
    (StructCoder(Memory), Memory({-5: {b"a", b"b"}, 7: set()})),
    (StructCoder(Received), Received(b"{", {"a": "b"}, Timestamp(5), too_large=OversizedMessage(9, "ab"))),
]


@pytest.mark.parametrize(("coder", "element"), ELEMENTS, ids=[type(element).__name__ for _, element in ELEMENTS])
def test_an_element_comes_back_and_that_of_another_encoding_is_refused(coder: Coder, element: object) -> None:
    encoded = coder.encode(element)
    assert coder.decode(encoded) == element
    assert pickle.loads(pickle.dumps(coder)) == coder
    with pytest.raises(UnknownVersionError):
        coder.decode(bytes([VERSION + 1]) + encoded[1:])


def test_a_block_tells_its_size_and_comes_back() -> None:
    """A runner asks each of the first blocks for its size, and need not encode it for that."""
    calls = [call for message in (PAGE, IDENTIFY) for call in read_all(message) if isinstance(call, Call)]
    messages: list[bytes | Received] = [line(PAGE), line(IDENTIFY)]
    rows = CallBlock(Reader.of(DEFAULT), pa.table({"message_id": ["m" * 1_000, "n"]}), messages, [], None)
    block = IdentityBlock(rows, calls, "identity_call")
    coder = BlockCoder()
    for element in (rows, block):
        assert registry.get_coder(type(element)) == coder
        assert 1_001 <= coder.estimate_size(element) < 1_100
    assert not coder.is_deterministic()
    assert coder.decode(coder.encode(rows)).columns == rows.columns
    assert coder.decode(coder.encode(block)).calls == calls


@pytest.mark.parametrize("element", [DeadLetter, JobRun, Received, Append, Upsert], ids=lambda type: type.__name__)
def test_a_type_has_its_coder(element: type) -> None:
    coder = registry.get_coder(element)
    assert coder.to_type_hint() is element
    assert not coder.is_deterministic()


def test_a_dead_letter_of_an_older_or_newer_program_is_read() -> None:
    columns = msgspec.msgpack.decode(DeadLetterCoder().encode(DEAD_LETTER)[1:])
    columns["column_of_later"] = 1
    del columns["inherited"], columns["retryable"]
    assert DeadLetterCoder().decode(bytes([VERSION]) + msgspec.msgpack.encode(columns)) == DEAD_LETTER
