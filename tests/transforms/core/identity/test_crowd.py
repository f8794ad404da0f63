"""The members of a heavy contact that stay packed, and what looks at them all the same."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from schemas.tables import Contact
from transforms.core.facts import Known
from transforms.core.identity import contact, crowd, household
from transforms.core.identity.contact import ContactState
from transforms.core.identity.household import HouseholdState
from transforms.core.identity.protocol import Hop, Label, Member

FIRST = Hop(1, False)

IDENTIFIED = Known(seen=((1, "m"), (1, "m")))
BARE = Known()
USER = Member("user", (0, 1), IDENTIFIED)


def arrivals(first: int, count: int) -> list[Member]:
    return [Member(f"device-{n:06}", (0, 1), BARE) for n in range(first, first + count)]


def home(count: int) -> HouseholdState:
    """The household of a user with so many bare ids."""
    state, _ = household.step(FIRST, "user", None, [USER, *arrivals(0, count)])
    return state


def refuse(*_: object) -> None:
    raise AssertionError("the crowd was unpacked")


@pytest.mark.parametrize(
    ("what", "inbox", "written"),
    [
        ("another bare id", arrivals(900_000, 1), 1),
        ("a bare id before all others", [Member("a", (0, 1), BARE)], 1),
        ("an id with facts", [Member("b", (0, 1), IDENTIFIED)], 1),
        ("facts of an id in the crowd", [Member("device-004000", (0, 2), IDENTIFIED)], 1),
        ("news of the user", [Member("user", (0, 2), IDENTIFIED)], 0),
    ],
)
def test_arrivals_leave_the_crowd_packed(
    what: str, inbox: Sequence[Member], written: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = home(5_000)
    assert state.crowd, what
    monkeypatch.setattr(crowd, "_decode", refuse)
    _, outbox = household.step(FIRST, "user", state, inbox)
    assert len(outbox.identities) == written


def test_a_state_holds_at_most_two_thousand_unpacked() -> None:
    state = home(100_000)
    assert len(state.members) <= crowd.KEPT + crowd.ROOM
    assert household.size(state) == 100_001
    assert len(crowd.unpacked(state.members, state.crowd)) == 100_001


def test_previous_ids_are_the_first_whatever_is_packed() -> None:
    state = home(5_000)
    _, outbox = household.step(FIRST, "user", state, [Member("a", (0, 1), BARE), Member("b", (0, 1), BARE)])
    (upsert,) = outbox.contacts
    assert isinstance(upsert.row, Contact)
    assert upsert.row.previous_ids == ("a", "b", *(member.id for member in arrivals(0, 998)))


def test_a_label_passes_the_crowd_on_too() -> None:
    state = home(5_000)
    state, outbox = household.step(FIRST, "user", state, [Label(1, "new")])
    assert len(outbox.members) == 5_001
    assert state.crowd
    merged, rows = contact.step("new", None, [message for _, message in outbox.members if isinstance(message, Member)])
    assert merged.crowd
    assert contact.size(merged) == 5_001
    assert {upsert.row.external_id for upsert in rows.identities if upsert.row} == {"new"}  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("what", "message", "expected"),
    [
        ("a departure", Member("device-004000", (1, 2), None), ((1, 2), None)),
        ("a departure from before the arrival", Member("device-004000", (0, 0), None), ((0, 1), BARE)),
        ("a repeated arrival", Member("device-004000", (0, 1), BARE), ((0, 1), BARE)),
        ("an older arrival", Member("device-004000", (0, 0), BARE), ((0, 1), BARE)),
        ("facts", Member("device-004000", (0, 2), IDENTIFIED), ((0, 2), IDENTIFIED)),
    ],
)
def test_the_newest_message_about_a_member_of_the_crowd_counts(
    what: str, message: Member, expected: tuple[tuple[int, ...], Known | None]
) -> None:
    state, _ = household.step(FIRST, "user", home(5_000), [message])
    assert crowd.unpacked(state.members, state.crowd)["device-004000"] == expected, what


def test_a_late_departure_does_not_take_a_member_away_that_an_older_arrival_hides() -> None:
    came_back = Member("device-004000", (2, 2), BARE)
    state, _ = household.step(FIRST, "user", None, [USER, *arrivals(0, 4_000), came_back, *arrivals(4_001, 1_000)])
    assert "device-004000" not in state.members
    state, _ = household.step(FIRST, "user", state, [Member("device-004000", (0, 0), BARE)])
    state, _ = household.step(FIRST, "user", state, [Member("device-004000", (1, 1), None)])
    assert crowd.unpacked(state.members, state.crowd)["device-004000"] == ((2, 2), BARE)


def test_the_contact_keeps_a_crowd_as_the_household_does(monkeypatch: pytest.MonkeyPatch) -> None:
    members = [Member(message.id, (0, 1, 1), message.facts) for message in (USER, *arrivals(0, 5_000))]
    state, _ = contact.step("label", None, members)
    with monkeypatch.context() as patched:
        patched.setattr(crowd, "_decode", refuse)
        state, outbox = contact.step("label", state, [Member("device-900000", (0, 1, 1), BARE)])
    assert isinstance(state, ContactState)
    state, outbox = contact.step("label", state, [Member("device-000000", (1, 2, -1), None)])
    (upsert,) = outbox.contacts
    assert isinstance(upsert.row, Contact)
    assert upsert.row.previous_ids[0] == "device-000001"
