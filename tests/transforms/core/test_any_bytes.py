"""Any bytes at all end as calls or dead letters, unchanged, and whatever is accepted can be stored and read again."""

from __future__ import annotations

import collections
import json
import os
import re
from collections.abc import Sequence
from random import Random
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from schemas.tables import ACCOUNTS, CONTACTS, DEAD_LETTERS, EVENTS, IDENTITY_CALLS, MEMBERSHIPS, DeadLetter
from tests.histories import odd_line
from tests.transforms.core.calls import second
from tests.transforms.core.hostile import hostile
from transforms.core import account_rows, call_rows, contacts
from transforms.core.connections import AccountMapping, Connection, Connections
from transforms.core.dead_letters import Reason, Refused, Stage
from transforms.core.facts import learned
from transforms.core.reader import Call, Disabled, Reader, ReadOutcome, Received

BLOCKS, INPUTS_PER_BLOCK = int(os.environ.get("HOSTILE_BLOCKS", "5")), 5500
"""Of hostile payloads; `make fuzz` has a hundred thousand."""

CONNECTIONS = Connections(
    connections=(
        Connection("site", ("u", "7"), AccountMapping("identify_traits", fallback="email_domain")),
        Connection("rest", account_mapping=AccountMapping("group", fallback="email_domain")),
    )
)
READER = Reader.of(CONNECTIONS)
BETWEEN_ITEMS = re.compile(rb"[ \t\r\n]*,[ \t\r\n]*")
NO_ITEMS = re.compile(rb"\[[ \t\r\n]*\]")


def check(payload: bytes) -> Sequence[ReadOutcome]:
    """Every promise about a payload: read once with the time it was published, once without. Of senders' secrets, which
    are the one thing that is changed, other tests tell."""
    payload = re.sub(rb"(?i)write", b"other", payload)
    outcomes: Sequence[ReadOutcome] = ()
    for published_at in (None, second(0)):
        outcomes = list(READER.read(Received(payload, {"k": "v"}, published_at)))
        check_bytes(payload, [outcome_bytes(outcome) for outcome in outcomes])
        for outcome in outcomes:
            if isinstance(outcome, Call):
                check_call(outcome)
            elif isinstance(outcome, DeadLetter):
                assert DEAD_LETTERS.misfit(outcome) is None
                assert Reason(outcome.reason)
                assert outcome.detail
    return outcomes


def outcome_bytes(outcome: ReadOutcome) -> bytes:
    assert not isinstance(outcome, Disabled), "nothing is configured that could disable it"
    return outcome.message if isinstance(outcome, Call) else outcome.payload


def check_bytes(payload: bytes, parts: list[bytes]) -> None:
    """The parts are the payload itself, or in their order every item of an array in it, nothing left out."""
    if parts == [payload]:
        return
    if not parts:
        assert NO_ITEMS.search(payload)
        return
    for start in (match.end() for match in re.finditer(rb"\[[ \t\r\n]*", payload)):
        at = start
        for part in parts:
            if at != start:
                between = BETWEEN_ITEMS.match(payload, at)
                at = between.end() if between else len(payload)
            if not payload.startswith(part, at):
                break
            at += len(part)
        else:
            if payload[at:].lstrip(b" \t\r\n").startswith(b"]"):
                return
    pytest.fail(f"{payload!r} did not come apart into its items: {parts!r}")


def check_call(call: Call) -> None:
    event = call_rows.event(call)
    if event is not None:
        misfit = EVENTS.misfit(event)
        assert misfit is None or "number is infinity" in misfit, misfit
    if not call_rows.is_identity_call(call):
        return
    try:
        logged = call_rows.identity_call(call)
    except Refused:
        return
    assert IDENTITY_CALLS.misfit(logged) is None
    facts = learned(call, CONNECTIONS)
    for person, known in facts.persons:
        rows = contacts.rows(person, {person: known})
        assert rows.contact is None or CONTACTS.misfit(rows.contact) is None
        assert all(MEMBERSHIPS.misfit(row) is None for row in rows.memberships)
    if facts.account is not None:
        assert ACCOUNTS.misfit(account_rows.row(*facts.account)) is None

    (again,) = READER.read(Received(logged.payload.encode(), connection=logged.connection), Stage.HISTORY)
    assert isinstance(again, Call)
    assert learned(again, CONNECTIONS) == facts
    assert again.message.decode() == logged.payload
    assert again.given == {}


OTHERS = {Reason.TOO_LARGE.value, Reason.UNKNOWN_CONNECTION.value, Reason.OUT_OF_PARTITION_RANGE.value}
"""Reasons for which no such payload is refused: the last is a warehouse's."""


@pytest.mark.parametrize("block", range(BLOCKS))
def test_hostile_payloads(block: int) -> None:
    rng = Random(f"hostile {block}")
    counts: collections.Counter[str] = collections.Counter()
    for _ in range(INPUTS_PER_BLOCK):
        payload = hostile(rng)
        try:
            outcomes = check(payload)
        except Exception as error:
            raise AssertionError(f"{payload!r}") from error
        counts.update(
            outcome.type if isinstance(outcome, Call) else outcome.reason
            for outcome in outcomes
            if not isinstance(outcome, Disabled)
        )
    assert counts.keys() >= {"page", "track", "identify", "group", "alias", "delete"}
    assert counts.keys() >= {reason.value for reason in Reason} - OTHERS


@pytest.mark.parametrize("seed", range(2))
def test_odd_lines_of_histories(seed: int) -> None:
    rng = Random(seed)
    for _ in range(1000):
        check(odd_line(rng))


SEPARATORS = st.sampled_from([b"", b"", b" ", b"\n", b"\r\t"])
SCALARS = st.sampled_from(
    [b"null", b"true", b"0", b"1.5", b"1e400", b"1" * 5000, b'"u"', b'"\\ud800"', b'"\xc3\xa9"', b'"\xff"', b"NaN"]
) | st.text(max_size=5).map(lambda text: json.dumps(text).encode())
NAMES = st.sampled_from(
    ["type", "userId", "user_id", "anonymousId", "timestamp", "event", "groupId", "traits", "context", "batch"]
) | st.text(max_size=3)


def arrays(items: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    return st.builds(lambda items, space: b"[%b]" % (space + b",").join(items), st.lists(items, max_size=4), SEPARATORS)


def objects(values: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    fields = st.builds(
        lambda name, space, value: json.dumps(name).encode() + b":" + space + value, NAMES, SEPARATORS, values
    )
    return st.lists(fields, max_size=6).map(lambda fields: b"{%b}" % b",".join(fields))


DOCUMENTS = st.recursive(SCALARS, lambda inner: arrays(inner) | objects(inner), max_leaves=25)
CALL = b'{"type":"%b","event":"E","groupId":"g","userId":"u","previousId":"p","timestamp":0,%b}'
TYPES = st.sampled_from([b"page", b"screen", b"track", b"identify", b"group", b"alias", b"delete"])
CALLS = st.builds(
    lambda type_, part, value: CALL % (type_, b'"%b":%b' % (part, value)),
    TYPES,
    st.sampled_from([b"traits", b"properties", b"context", b"integrations", b"batch", b"messageId", b"x"]),
    DOCUMENTS,
)


@settings(deadline=None)
@given(st.binary(max_size=60))
@example(b"")
@example(b"\xef\xbb\xbf{}")
@example(b"\0")
def test_any_bytes(payload: bytes) -> None:
    check(payload)


@settings(deadline=None, max_examples=300)
@given(
    DOCUMENTS
    | CALLS
    | arrays(CALLS)
    | st.builds(lambda batch: b'{"batch":%b,"context":{"a":[]}}' % batch, arrays(CALLS))
)
def test_any_document(payload: bytes) -> None:
    check(payload)


@settings(deadline=None, max_examples=300)
@given(st.randoms(use_true_random=False))
def test_any_hostile_payload(rng: Any) -> None:
    check(hostile(rng))
