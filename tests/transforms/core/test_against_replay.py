"""The rules alone, without Beam: whatever the order in which facts are joined, they come to the replay's tables."""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from random import Random
from typing import TypeVar

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from judge import Config, Tables, replay, resolve
from schemas.tables import EVENTS, DeadLetter
from tests.histories import (
    CLOSED_CONFIG,
    CONFIGS,
    INTEGRATION_CONFIG,
    WHOLE,
    Alphabet,
    configs,
    histories,
    history,
    line,
    odd_line,
    odd_lines,
)
from tests.product_rows import connections, plain
from tests.warehouse import comparable
from transforms.core import account_rows, call_rows, contacts
from transforms.core.connections import Connections
from transforms.core.dead_letters import Refused, Stage
from transforms.core.facts import AccountKnown, Known, Learned, learn, learn_account, learned
from transforms.core.reader import Call, Reader, Received

BLOCKS, BLOCK_SIZE = int(os.environ.get("REPLAY_BLOCKS", "2")), 500
"""Of histories, and of rubbish; `make fuzz` has more."""
FEW_IDS = Alphabet(ids=("p0", "p1", "p5@initech.com"), seconds=2)
SHARED_IDS = Alphabet(shared_message_ids=0.2)

K = TypeVar("K", bound=Hashable)
F = TypeVar("F", Known, AccountKnown)


def tables(lines: Iterable[bytes], config: Config, rng: Random) -> Tables:
    """What the product's rules make of the lines: facts are joined in an order and a grouping of chance, some of them
    twice. Who is who is asked of the judge, since the stages that find it out have tests of their own."""
    configured = connections(config)
    reader = Reader.of(configured)
    made = Tables()
    facts: list[Learned] = []
    dead_letters: set[tuple[str, bytes]] = set()
    for received in lines:
        for outcome in reader.read(Received(received)):
            if isinstance(outcome, Call):
                try:
                    facts += identity_call(outcome, reader, configured, made)
                except Refused as refused:
                    dead_letters.add((refused.reason.value, outcome.message))
                    continue
                event = call_rows.event(outcome)
                if event is not None and EVENTS.misfit(event):
                    dead_letters.add(("invalid_field", outcome.message))
                elif event is not None:
                    made.events.setdefault(event.message_id, plain(event))
            elif isinstance(outcome, DeadLetter):
                dead_letters.add((outcome.reason, outcome.payload))
    made.dead_letters = sorted(dead_letters)

    persons = joined([person for learned in facts for person in learned.persons], learn, Known, rng)
    accounts = joined([learned.account for learned in facts if learned.account], learn_account, AccountKnown, rng)
    labels = resolve((stamp, id_, user) for id_, known in persons.items() for user, stamp in known.out.items())
    made.identities = {id_: label for id_, label in labels.items() if id_ != label}
    members: dict[str, dict[str, Known]] = {}
    for id_, known in persons.items():
        members.setdefault(labels.get(id_, id_), {})[id_] = known
    for label, known_of in members.items():
        rows = contacts.rows(label, known_of)
        if rows.contact is not None:
            made.contacts[label] = plain(rows.contact)
        for membership in rows.memberships:
            made.memberships[label, membership.account_id] = plain(membership)
    made.accounts = {account_id: plain(account_rows.row(account_id, known)) for account_id, known in accounts.items()}
    return made


def identity_call(call: Call, reader: Reader, configured: Connections, made: Tables) -> list[Learned]:
    """Logs an identity call and returns its facts, which must be those of what the log gives back."""
    if not call_rows.is_identity_call(call):
        return []
    logged = call_rows.identity_call(call)
    made.identity_calls[logged.message_id] = plain(logged, "written_at", "payload", "promoted")
    (again,) = reader.read(Received(logged.payload.encode(), connection=logged.connection), Stage.HISTORY)
    assert isinstance(again, Call), again
    facts = learned(call, configured)
    assert learned(again, configured) == facts
    return [facts]


def joined(facts: Sequence[tuple[K, F]], join: Callable[[F, F], F], empty: type[F], rng: Random) -> Mapping[K, F]:
    """All that is known by key. Facts go through the encoding in which they would cross a shuffle."""
    decoder = msgspec.msgpack.Decoder(empty)
    groups: dict[K, list[F]] = {}
    for key, fact in rng.sample([*facts, *facts], k=2 * len(facts)):
        group = groups.setdefault(key, [])
        if not group or rng.random() < 0.3:
            group.append(empty())
        join(rng.choice(group), decoder.decode(msgspec.msgpack.encode(fact)))
    known: dict[K, F] = {}
    for key, group in groups.items():
        known[key] = empty()
        for part in group:
            join(known[key], decoder.decode(msgspec.msgpack.encode(part)))
    return known


def check(lines: list[bytes], config: Config, rng: Random, *, but: tuple[str, ...] = (), what: str = "") -> None:
    """What differs from the replay, in which every call counts, also one with another's message_id: which of those the
    log takes, the warehouse decides."""
    replayed = replay(lines, config, keyed_log=False)
    expected, made = comparable(replayed), comparable(tables(lines, config, rng))
    for name in expected.keys() - but:
        assert made[name] == expected[name], f"{name} {what}"


@pytest.mark.parametrize("block", range(BLOCKS))
def test_random_histories_equal_the_replay(block: int) -> None:
    for seed in range(block * BLOCK_SIZE, (block + 1) * BLOCK_SIZE):
        rng = Random(seed)
        config = rng.choice(list(CONFIGS.values()))
        messages = history(rng, rng.randint(1, 25), rng.choice((WHOLE, FEW_IDS)))
        check(list(map(line, messages)), config, rng, what=f"of seed {seed}")


@pytest.mark.parametrize("block", range(BLOCKS))
def test_random_rubbish_equals_the_replay(block: int) -> None:
    for seed in range(block * BLOCK_SIZE, (block + 1) * BLOCK_SIZE):
        rng = Random(seed)
        config = rng.choice((*CONFIGS.values(), INTEGRATION_CONFIG, CLOSED_CONFIG))
        check([odd_line(rng) for _ in range(rng.randint(1, 12))], config, rng, what=f"of seed {seed}")


def test_facts_of_messages_that_share_an_id_all_count() -> None:
    for seed in range(200):
        rng = Random(seed)
        lines = [line(message) for message in history(rng, 20, SHARED_IDS)]
        check(lines, CONFIGS["mixed"], rng, but=("events", "identity_calls"), what=f"of seed {seed}")


@settings(max_examples=200, deadline=None)
@given(histories(), configs(), st.randoms(use_true_random=False))
def test_any_history_equals_the_replay(messages: list[dict[str, object]], config: Config, rng: Random) -> None:
    check(list(map(line, messages)), config, rng)


@settings(max_examples=200, deadline=None)
@given(odd_lines(), configs(), st.randoms(use_true_random=False))
def test_any_rubbish_equals_the_replay(lines: list[bytes], config: Config, rng: Random) -> None:
    check(lines, config, rng)
