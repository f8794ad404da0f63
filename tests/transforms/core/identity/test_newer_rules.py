"""A job that is updated to other rules, in memory: what it meets is written anew, whatever the old rules wrote."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from random import Random
from typing import Any

import msgspec
import pytest

from judge import Config, replay
from schemas.tables import Contact, Identity
from tests.histories import CONFIGS, Message, deal, history, line
from tests.product_rows import connections, facts
from tests.transforms.core.identity.network import Network
from tests.transforms.core.identity.test_network import identity_tables, judged
from transforms.core import account_rows, contacts
from transforms.core.accounts import Way
from transforms.core.contacts import ContactRows
from transforms.core.facts import AccountKnown, Known
from transforms.core.identity import chains, contact, depth, household, person
from transforms.core.identity.protocol import UNSENT, Edge, Hop, Member

FIRST = Hop(1, False)

HISTORIES = 60
STAGES = (person, depth, chains, household, contact, account_rows)


@contextmanager
def rules(version: int, *altered: tuple[object, str, Any]) -> Iterator[None]:
    """Has all stages work by the rules of a version, some of which are altered."""
    with pytest.MonkeyPatch.context() as patch:
        for stage in STAGES:
            patch.setattr(stage, "RULES_VERSION", version)
        for target, name, value in altered:
            patch.setattr(target, name, value)
        yield


_rows = contacts.rows
_resolve = chains.resolve


def _renamed(external_id: str, members: Mapping[str, Known]) -> ContactRows:
    """A column is filled otherwise, and every contact with facts has a row, identified or not."""
    rows = _rows(external_id, members)
    if all(known == Known() for known in members.values()):
        return rows
    old = Contact(external_id, name="by the old rules")
    return ContactRows(memberships=rows.memberships, identified=rows.identified, fold=lambda: old)


def _without(external_id: str, members: Mapping[str, Known]) -> ContactRows:
    return ContactRows()


def _deletes_ignored(external_id: str, members: Mapping[str, Known]) -> ContactRows:
    """Rows stay that the true rules take back."""
    return _rows(external_id, {id: msgspec.structs.replace(known, deleted=None) for id, known in members.items()})


def _latest_edge(known: Known) -> str:
    """An id lives with the user of its latest edge."""
    return max((stamp, user) for user, stamp in known.out.items())[1]


def _reversed(edges: Iterable[Edge]) -> dict[str, str]:
    """Chains replays each edge the other way round."""
    return _resolve([Edge(edge.stamp, edge.user, edge.previous) for edge in edges])


def _other_label(id: str, label: str) -> Identity:
    return Identity(id, f"{label} by the old rules")


FOLDS: dict[str, tuple[object, str, Callable[..., Any]]] = {
    "other contacts": (contacts, "rows", _renamed),
    "no rows": (contacts, "rows", _without),
    "deletes are ignored": (contacts, "rows", _deletes_ignored),
}
RULES = {
    **FOLDS,
    "another home": (person, "_earliest", _latest_edge),
    "other labels": (chains, "resolve", _reversed),
    "other identities": (contact, "Identity", _other_label),
}


def send(network: Network, messages: Iterable[Message], config: Config) -> None:
    product = connections(config)
    for message in messages:
        for learned in facts(message, product):
            for id, known in learned.persons:
                network.send("Person", id, known)


@pytest.mark.parametrize("versions", [(0, 1), (1, 2), (2, 1)], ids=["unversioned", "update", "rollback"])
@pytest.mark.parametrize("rule", RULES)
def test_when_the_log_is_read_again_the_tables_equal_the_replay(rule: str, versions: tuple[int, int]) -> None:
    """Messages of the old program may be on their way at the update, and new ones come while the log is read."""
    old, new = versions
    for seed in range(HISTORIES):
        rng = Random(seed)
        config = rng.choice(list(CONFIGS.values()))
        messages = history(rng, rng.randint(1, 25))
        before, after = deal(rng, messages, 2)
        network = Network(rng)
        with rules(old, RULES[rule]):
            for message in before:
                send(network, [message], config)
                while rng.random() < 0.7 and network.step():
                    pass
            if rng.random() < 0.5:
                network.drain()
        with rules(new):
            for message in rng.sample([*before, *after], len(before) + len(after)):
                send(network, [message], config)
                while rng.random() < 0.7 and network.step():
                    pass
            network.drain()
        assert identity_tables(network) == judged(replay(map(line, messages), config)), f"seed {seed}"


@pytest.mark.parametrize("rule", RULES)
def test_the_old_rules_give_other_tables(rule: str) -> None:
    """Otherwise the tests here would prove nothing."""
    different = 0
    for seed in range(HISTORIES):
        rng = Random(seed)
        messages = history(rng, 25)
        network = Network(rng)
        with rules(1, RULES[rule]):
            send(network, messages, CONFIGS["mixed"])
            network.drain()
        different += identity_tables(network) != judged(replay(map(line, messages), CONFIGS["mixed"]))
    assert different > HISTORIES / 10


@pytest.mark.parametrize("rule", FOLDS)
def test_a_contact_that_any_message_meets_is_right_without_the_log(rule: str) -> None:
    for seed in range(HISTORIES):
        rng = Random(seed)
        messages = history(rng, rng.randint(1, 25))
        network = Network(rng)
        with rules(1, RULES[rule]):
            send(network, messages, CONFIGS["mixed"])
            network.drain()
        ids = sorted({id for message in messages for id in _ids(message)})
        met = rng.sample(ids, min(2, len(ids)))
        with rules(2):
            for id in met:
                network.send("Person", id, Known())
            network.drain()
        tables, expected = identity_tables(network), judged(replay(map(line, messages), CONFIGS["mixed"]))
        for id in met:
            label = expected["identities"].get(id, id)
            assert tables["contacts"].get(label) == expected["contacts"].get(label), f"seed {seed}"
            assert _of(label, tables["memberships"]) == _of(label, expected["memberships"]), f"seed {seed}"


def _ids(message: Message) -> set[str]:
    product = connections(CONFIGS["mixed"])
    return {id for learned in facts(message, product) for id, _ in learned.persons}


def _of(label: str, memberships: Mapping[Any, Any]) -> dict[Any, Any]:
    return {key: row for key, row in memberships.items() if key[0] == label}


def test_state_of_the_same_rules_is_not_written_anew() -> None:
    network = Network(Random(1), repeat=0)
    messages = history(Random(1), 40)
    send(network, messages, CONFIGS["mixed"])
    network.drain()
    rows = dict(network.rows)
    send(network, messages, CONFIGS["mixed"])
    network.drain()
    assert network.rows == rows


def test_the_crowd_of_a_heavy_contact_is_written_anew() -> None:
    devices = [f"device-{number:05}" for number in range(5_000)]
    span = ((1, "m"), (1, "m"))
    with rules(1, RULES["other identities"]):
        arrivals = [Member(id, (1, 1), Known()) for id in devices]
        state, _ = household.step(FIRST, "u", None, [Member("u", (0, 1), Known(seen=span)), *arrivals])
    assert state.crowd
    with rules(2):
        state, outbox = household.step(FIRST, "u", state, [])
    assert state.crowd
    assert {upsert.key[0]: upsert.row for upsert in outbox.identities} == {
        "u": None,
        **{id: Identity(id, "u") for id in devices},
    }


def test_an_account_that_is_met_is_written_anew() -> None:
    stamp = (1, "m")
    known = AccountKnown(name=(stamp, "Acme"), seen={Way.GROUP: (stamp, stamp)})
    with rules(1, (account_rows, "_domain", lambda _: "old.example")):
        state, old = account_rows.step("acme", None, [known])
    with rules(2):
        state, new = account_rows.step("acme", state, [AccountKnown()])
        assert account_rows.step("acme", state, [known]) == (state, account_rows.AccountOutbox())
    (before,), (after,) = old.accounts, new.accounts
    assert after.version > before.version
    assert after.row == account_rows.row("acme", known) != before.row


def test_a_leaf_departs_from_every_home_that_other_rules_may_have_chosen() -> None:
    with rules(1):
        state, _ = person.step("device", None, [Known(out={"ann": (1, "m1"), "bob": (2, "m2")})])
    with rules(2):
        _, outbox = person.step("device", state, [])
    assert [(key, message.facts) for key, message in outbox.members if isinstance(message, Member)] == [
        ("bob", None),
        ("device", None),
        ("ann", Known()),
    ]
    assert all(message.version > state.version > UNSENT for _, message in outbox.members)  # type: ignore[attr-defined]


@pytest.mark.parametrize("sent_under", [1, 2], ids=["before the update", "after it"])
def test_a_household_takes_back_what_a_person_wrote_by_other_rules(sent_under: int) -> None:
    """Nobody was identified here, so the true rules give no contact; the household has no state yet."""
    span = ((1, "m"), (1, "m"))
    network = Network(Random(1))
    with rules(1, RULES["other contacts"]):
        state, written = person.step("phone", None, [Known(accounts={"acme": {Way.GROUP: span}})])
    network.write("contacts", written.contacts)
    assert network.table("contacts")
    with rules(sent_under):
        _, sent = person.step("phone", state, [Known(out={"ann": (2, "m2")})])
    with rules(2):
        for key, message in sent.members:
            network.send("Household1", key, message)
        network.drain()
    assert not network.table("contacts")
