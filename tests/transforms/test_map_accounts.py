"""MapAccounts: calls to facts of ids, and of accounts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import apache_beam as beam
import msgspec
import pytest
from apache_beam.pvalue import TaggedOutput
from apache_beam.testing.test_pipeline import TestPipeline
from apache_beam.testing.util import assert_that, equal_to
from apache_beam.utils.timestamp import MIN_TIMESTAMP, Timestamp
from apache_beam.utils.windowed_value import WindowedValue

from tests.histories import Message, line
from tests.transforms.core.calls import ALIAS, DELETE, GROUP, IDENTIFY, TRACK, accepted, by
from transforms import map_accounts, metrics
from transforms.core.connections import AccountMapping, Connections
from transforms.core.facts import AccountKnown, Known, learn, learn_account, learned
from transforms.core.reader import Call
from transforms.map_accounts import MapAccounts, MapAccountsInParcels, _JoinedFactsFn, _ParcelsFn
from transforms.parcels import ONE_KEY, Packing, Parcel
from transforms.resolve_in_process import ACCOUNTS, PERSONS
from transforms.windows import Arrival

BY_GROUP = by(AccountMapping("group", fallback="email_domain"))
BY_TRAITS = by(AccountMapping("identify_traits"))
ENGAGE = {"personas": {"computation_class": "trait", "computation_key": "k"}}


@pytest.mark.parametrize(
    ("what", "connections", "messages", "persons", "accounts", "counted"),
    [
        ("nothing", BY_GROUP, [], [], [], {}),
        (
            "by group calls",
            BY_GROUP,
            [
                {**IDENTIFY, "anonymousId": "a", "traits": {"email": "ann@b.io"}},
                GROUP,
                ALIAS,
                DELETE,
                {**TRACK, "context": ENGAGE, "properties": {"k": 1}},
            ],
            ["u", "a", "u", "a", "u", "u", "u"],
            ["b.io", "acme"],
            {},
        ),
        (
            "by traits",
            BY_TRAITS,
            [{**IDENTIFY, "traits": {"company": {"id": 7}}}, GROUP, {**GROUP, "userId": "v"}],
            ["u"],
            ["7"],
            {metrics.GROUPS_WITHOUT_EFFECT.name: 2},
        ),
    ],
)
def test_facts_by_the_id_that_they_are_about(
    what: str,
    connections: Connections,
    messages: list[Message],
    persons: list[str],
    accounts: list[str],
    counted: dict[str, int],
) -> None:
    pipeline = TestPipeline(runner="FnApiRunner")
    calls = (
        pipeline
        | beam.Create([line(message) for message in messages])
        | beam.Map(lambda payload: accepted(payload, connections))
    )
    facts = calls | MapAccounts(connections)
    assert_that(facts[MapAccounts.PERSONS] | "Person" >> beam.Keys(), equal_to(persons), "Persons")
    assert_that(facts[MapAccounts.ACCOUNTS] | "Account" >> beam.Keys(), equal_to(accounts), "Accounts")
    joined = calls | "Joined" >> MapAccounts(connections, joined=True)
    distinct = joined[MapAccounts.PERSONS] | "Joined person" >> beam.Keys() | beam.Distinct()
    assert_that(distinct, equal_to(sorted(set(persons))), "Joined persons")
    result = pipeline.run()
    assert metrics.counts(result.metrics()) == {name: 2 * count for name, count in counted.items()}


@pytest.mark.parametrize("most", [1, 3, 20_000])
def test_joined_facts_come_to_the_same_and_are_fewer(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(map_accounts, "_MOST_JOINED", most)
    messages: list[Message] = [
        {
            **IDENTIFY,
            "messageId": f"m{number}",
            "anonymousId": "a",
            "traits": {"email": "ann@b.io", f"t{number}": number},
        }
        for number in range(20)
    ]
    messages += [{**GROUP, "messageId": f"g{number}", "traits": {"plan": number}} for number in range(5)]
    calls = [accepted(line(message), BY_GROUP) for message in messages]
    apart = [learned(call, BY_GROUP) for call in calls]
    persons, accounts = put_out(_JoinedFactsFn(BY_GROUP), calls)
    in_parcels = in_stages(put_out(_ParcelsFn(BY_GROUP), calls)[0])
    assert in_parcels == {PERSONS: by_id(persons), ACCOUNTS: by_id(accounts)}
    assert folded(persons, Known, learn) == folded([fact for facts in apart for fact in facts.persons], Known, learn)
    named = [facts.account for facts in apart if facts.account is not None]
    assert folded(accounts, AccountKnown, learn_account) == folded(named, AccountKnown, learn_account)
    if most == 20_000:
        assert [id for id, _ in persons] == ["u", "a"]
        assert [id for id, _ in accounts] == ["b.io", "acme"]


def put_out(fn: _JoinedFactsFn, calls: list[Call]) -> tuple[list[Any], list[Any]]:
    """What one bundle of these calls gives: of persons, and of accounts."""
    fn.setup()
    fn.start_bundle()
    outputs = [output for call in calls for output in fn.process(call)]
    outputs += fn.finish_bundle()
    accounts = [output.value.value for output in outputs if isinstance(output, TaggedOutput)]
    return [output.value for output in outputs if isinstance(output, WindowedValue)], accounts


def in_stages(parcels: list[tuple[str, Parcel]]) -> dict[str, list[Any]]:
    """The messages of parcels, by the stages that they go to and then by their keys."""
    packings = {PERSONS: Packing(Known), ACCOUNTS: Packing(AccountKnown)}
    messages: dict[str, list[Any]] = {stage: [] for stage in packings}
    for key, parcel in parcels:
        assert key == ONE_KEY
        messages[parcel.stage] += packings[parcel.stage].unpack(parcel.packed)
    return {stage: by_id(some) for stage, some in messages.items()}


def by_id(messages: list[tuple[str, Any]]) -> list[Any]:
    return sorted(messages, key=lambda message: (message[0], msgspec.json.encode(message[1])))


def test_in_an_unbounded_job_facts_are_joined_within_a_window_and_come_in_it() -> None:
    seconds = [1, 2, 59.999999, 60, 61, 119, -1, -60, -61, float(MIN_TIMESTAMP)]
    fn: Any = MapAccountsInParcels(BY_GROUP, Arrival(60)).fn
    fn.setup()
    fn.start_bundle()
    outputs: list[WindowedValue] = []
    expected: dict[int, set[str]] = {}
    for number in range(200):
        at = Timestamp(seconds[number % len(seconds)])
        message: Message = {**IDENTIFY, "userId": f"u{number % 15}", "messageId": f"m{number}"}
        outputs += fn.process(accepted(line(message), BY_GROUP), timestamp=at)
        expected.setdefault(at.micros // 60_000_000, set()).add(f"u{number % 15}")
    outputs += fn.finish_bundle()
    came: dict[int, list[str]] = {}
    for output in outputs:
        window = output.timestamp.micros // 60_000_000
        came.setdefault(window, []).extend(id for id, _ in in_stages([output.value])[PERSONS])
    assert {window: sorted(ids) for window, ids in came.items()} == {
        window: sorted(ids) for window, ids in expected.items()
    }


def folded(facts: list[tuple[str, Any]], struct: Any, join: Callable[[Any, Any], Any]) -> dict[str, Any]:
    """All that is known of each id."""
    known: dict[str, Any] = {}
    for id, more in facts:
        known[id] = join(known.get(id, struct()), more)
    return known
