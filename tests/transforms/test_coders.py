"""How facts cross a shuffle: everything comes back, and an encoding outlives the code that wrote it."""

from __future__ import annotations

import pickle
from typing import Any

import msgspec
import pytest
from apache_beam.coders import registry
from hypothesis import given

from tests.transforms.core.known import ACCOUNT_KNOWN, KNOWN
from transforms.coders import StructCoder
from transforms.core.accounts import Way
from transforms.core.facts import AccountKnown, Known
from transforms.core.identity.messages import Edge, Label, Member, Message

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
        Label(3, "v"),
        Edge(STAMP, "u", "v"),
    ],
)
def test_what_the_identity_stages_say_comes_back(message: Message) -> None:
    coder = StructCoder(Message)
    assert coder.decode(coder.encode(message)) == message


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


@pytest.mark.parametrize(("struct", "written"), WRITTEN, ids=["Known", "AccountKnown"])
def test_the_encoding_is_a_contract(struct: msgspec.Struct, written: list[Any]) -> None:
    coder = StructCoder(type(struct))
    assert msgspec.msgpack.decode(coder.encode(struct)) == written
    assert coder.decode(msgspec.msgpack.encode(written)) == struct
    assert coder.decode(msgspec.msgpack.encode([*written, "of a later version"])) == struct
    for length in range(len(written)):
        older = coder.decode(msgspec.msgpack.encode(written[:length]))
        assert msgspec.msgpack.decode(coder.encode(older))[:length] == written[:length]


@pytest.mark.parametrize("struct", [Known, AccountKnown, Message])
def test_a_coder_is_found_by_its_type_travels_and_is_a_value(struct: type[msgspec.Struct]) -> None:
    coder = registry.get_coder(struct)
    assert coder == StructCoder(struct)
    assert pickle.loads(pickle.dumps(coder)) == coder
    assert hash(coder) == hash(StructCoder(struct))
    assert coder != StructCoder(Label)
    assert coder.to_type_hint() is struct
    assert not coder.is_deterministic()
