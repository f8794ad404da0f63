"""MapAccounts: calls to facts of ids, and of accounts."""

from __future__ import annotations

import apache_beam as beam
import pytest
from apache_beam.testing.test_pipeline import TestPipeline
from apache_beam.testing.util import assert_that, equal_to

from tests.histories import Message, line
from tests.transforms.core.calls import ALIAS, DELETE, GROUP, IDENTIFY, TRACK, accepted, by
from transforms import metrics
from transforms.core.connections import AccountMapping, Connections
from transforms.map_accounts import MapAccounts

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
    result = pipeline.run()
    assert metrics.counts(result.metrics()) == counted
