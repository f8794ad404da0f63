"""Parcels: every message once, with the others of its shard."""

from __future__ import annotations

import pickle
from typing import Any

import msgspec
import pytest
from apache_beam.coders import registry
from hypothesis import given
from hypothesis import strategies as st

from transforms import parcels
from transforms.core.accounts import Way
from transforms.core.facts import AccountKnown, Known
from transforms.core.identity.protocol import Deep, Label, Member, Pointer, ProtocolMessage, Token
from transforms.parcels import SHARDS, Mailbox, Packing, Parcel, in_parcels, shard_of

STAMP = (1, "m")


@pytest.mark.parametrize(
    ("type", "messages"),
    [
        (Known, [("a", Known(seen=(STAMP, STAMP))), ("a", Known())]),
        (AccountKnown, [("acme", AccountKnown({}, (STAMP, "Acme"), {Way.GROUP: (STAMP, STAMP)}))]),
        (
            ProtocolMessage,
            [
                ("a", Member("u", (1, 2), Known(named=True))),
                ("b", Label(3, None)),
                ("", Deep("u", 1, 2, True, {"v": STAMP})),
                ("é", Pointer(1, "v", {"v": STAMP})),
                ("\x00", Token("1:u", (1, 2), None)),
            ],
        ),
    ],
)
def test_messages_come_back_from_a_parcel_and_its_coder(
    type: type[msgspec.Struct], messages: list[tuple[str, Any]]
) -> None:
    coder = pickle.loads(pickle.dumps(registry.get_coder(Parcel)))
    mailbox = Mailbox(Packing(type))
    for parcel in in_parcels("A stage", messages, Packing(type)):
        assert parcel.stage == "A stage"
        mailbox.put(coder.decode(coder.encode(parcel)))
    inboxes: dict[str, list[Any]] = {}
    for key, message in messages:
        inboxes.setdefault(key, []).append(message)
    assert dict(mailbox.inboxes()) == inboxes


@given(st.lists(st.tuples(st.text(max_size=3), st.booleans())), st.integers(1, 4))
def test_a_mailbox_gives_every_message_once_with_those_of_its_key(sent: list[tuple[str, bool]], most: int) -> None:
    """Those that come in parcels and those that come by themselves, in whatever number."""
    messages = [(key, Label(number, None)) for number, (key, _) in enumerate(sent)]
    packing = Packing(ProtocolMessage)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parcels, "MOST_MESSAGES", most)
        patch.setattr(parcels, "MOST_UNPACKED", most)
        mailbox = Mailbox(packing)
        for message, (_, is_alone) in zip(messages, sent, strict=True):
            if is_alone:
                mailbox.add(message)
        together = [message for message, (_, is_alone) in zip(messages, sent, strict=True) if not is_alone]
        packed = list(in_parcels("A stage", together, packing))
    for parcel in packed:
        assert 0 < len(packing.unpack(parcel.packed)) <= most
        assert {shard_of(key) for key, _ in packing.unpack(parcel.packed)} == {parcel.shard}
        mailbox.put(parcel)
    given = list(mailbox.inboxes())
    assert len(given) == len(dict(given)), "a key comes once"
    came = [(key, message) for key, inbox in given for message in inbox]
    assert sorted(came, key=_number) == messages
    assert not list(mailbox.inboxes()), "it is empty then"


def _number(message: tuple[str, Label]) -> int:
    return message[1].version


def test_a_mailbox_packs_what_is_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parcels, "MOST_UNPACKED", 10)
    mailbox = Mailbox(Packing(ProtocolMessage))
    for number in range(10 * SHARDS):
        mailbox.add((f"u{number}", Label(number, None)))
    unpacked = mailbox._unpacked
    assert sum(len(unpacked.take(shard)) for shard in unpacked.shards()) < 10 * SHARDS
    assert mailbox._packed


def test_keys_are_in_all_shards() -> None:
    assert {shard_of(f"user-{number}") for number in range(10_000)} == set(range(SHARDS))
