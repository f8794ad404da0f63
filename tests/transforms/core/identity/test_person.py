"""An id by itself: its person writes its rows, until the first edge, when its household takes them over."""

from __future__ import annotations

from itertools import permutations
from random import Random

import pytest

from tests.transforms.core.identity.network import Network
from transforms.core.accounts import Way
from transforms.core.facts import Known
from transforms.core.identity import household, person
from transforms.core.identity.person import PersonState
from transforms.core.identity.protocol import Hop, Label, Member
from transforms.core.rows import Upsert
from transforms.core.stamps import Stamp

FIRST = Hop(1, False)


def at(number: int) -> Stamp:
    return number, f"m{number}"


def identified(number: int, account: str = "acme") -> Known:
    """The facts of an identify that names an account."""
    span = (at(number), at(number))
    return Known(seen=span, connections={"c": at(number)}, accounts={account: {Way.IDENTIFY_TRAITS: span}})


NAMED = Known(named=True)


def keys(upserts: list[Upsert]) -> list[tuple[tuple[str, ...], tuple[int, ...], bool]]:
    """Key and version of each, and whether it is a row."""
    return [(upsert.key, upsert.version, upsert.row is not None) for upsert in upserts]


def test_it_writes_its_rows_and_sends_nothing() -> None:
    state, outbox = person.step("u", None, [identified(1)])
    assert keys(outbox.contacts) == [(("u",), (0, 0, 1), True)]
    assert keys(outbox.memberships) == [(("u", "acme"), (0, 0, 1), True)]
    assert not outbox.members
    state, outbox = person.step("u", state, [identified(2)])
    assert keys(outbox.contacts) == [(("u",), (0, 0, 2), True)]
    assert not outbox.members


def test_what_is_known_already_writes_nothing() -> None:
    state, _ = person.step("u", None, [identified(1)])
    assert person.step("u", state, [identified(1)]) == (state, person.PersonOutbox())


def test_a_delete_takes_its_rows_back() -> None:
    state, _ = person.step("u", None, [identified(1)])
    _, outbox = person.step("u", state, [Known(deleted=at(2))])
    assert keys(outbox.contacts) == [(("u",), (0, 0, 2), False)]
    assert keys(outbox.memberships) == [(("u", "acme"), (0, 0, 2), False)]


EDGES: list[tuple[str, Known, list[tuple[str, Member]]]] = [
    ("it is named: it is at home", NAMED, [("u", Member("u", (0, 1), identified(1), identified(1)))]),
    (
        "it is a leaf: it is with its user",
        Known(out={"v": at(2)}),
        [("u", Member("u", (1, 1), None, identified(1))), ("v", Member("u", (1, 1), identified(1)))],
    ),
    (
        "it is a chain id: it is with its user, and others come by way of it",
        Known(out={"v": at(2)}, named=True),
        [
            ("u", Member("u", (1, 1), None, identified(1))),
            ("v", Member("u", (1, 1), identified(1), is_chain=True)),
        ],
    ),
]


@pytest.mark.parametrize(("what", "edge", "expected"), EDGES, ids=[case[0] for case in EDGES])
def test_the_first_edge_leaves_its_rows_to_its_household(
    what: str, edge: Known, expected: list[tuple[str, Member]]
) -> None:
    state, _ = person.step("u", None, [identified(1)])
    state, outbox = person.step("u", state, [edge])
    assert outbox.members == expected
    assert not outbox.contacts + outbox.memberships
    _, outbox = person.step("u", state, [identified(2)])
    assert all(message.handed_over is None for _, message in outbox.members if isinstance(message, Member))


def test_an_id_that_an_older_program_left_to_its_household_goes_on_there() -> None:
    _, outbox = person.step("u", PersonState(identified(1), (0, 1)), [Known(deleted=at(2))])
    assert not outbox.contacts
    assert [(key, message.version) for key, message in outbox.members if isinstance(message, Member)] == [("u", (1, 2))]


def test_the_household_writes_anew_what_stays_and_takes_back_what_does_not() -> None:
    now = identified(2, "other")
    _, outbox = household.step(FIRST, "u", None, [Member("u", (0, 1), now, identified(1))])
    assert keys(outbox.contacts) == [(("u",), (0, 1), True)]
    assert keys(outbox.memberships) == [(("u", "acme"), (0, 1), False), (("u", "other"), (0, 1), True)]


def test_the_household_takes_the_rows_back_of_one_who_has_left() -> None:
    _, outbox = household.step(FIRST, "u", None, [Member("u", (1, 1), None, identified(1))])
    assert keys(outbox.contacts) == [(("u",), (0, 1), False)]


def test_a_household_that_has_a_label_takes_them_back_as_well() -> None:
    state, _ = household.step(FIRST, "u", None, [Label(1, "w")])
    _, outbox = household.step(FIRST, "u", state, [Member("u", (0, 1), identified(1), identified(1))])
    assert keys(outbox.contacts) == [(("u",), (0, 2), False)]
    assert [key for key, _ in outbox.members] == ["w"]


def test_they_are_taken_over_however_late_the_person_says_so() -> None:
    """Of three messages from the person, the one that leaves its rows may come last."""
    first = Member("u", (0, 1), identified(1), identified(1))
    then = Member("u", (0, 2), Known(deleted=at(3)))
    others = Member("x", (1, 1), Known())
    for order in permutations((first, then, others)):
        network = Network(Random(7))
        network.send("Person", "u", identified(1))
        network.drain()
        state = None
        for message in order:
            state, rows = household.step(FIRST, "u", state, [message])
            network.write("contacts", rows.contacts)
            network.write("memberships", rows.memberships)
        assert not network.table("contacts"), order
        assert not network.table("memberships"), order
