"""FoldAccounts in a bounded job: one row for each account, whatever the order."""

from __future__ import annotations

from functools import reduce
from random import Random

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.testing.test_pipeline import TestPipeline
from apache_beam.testing.util import assert_that, equal_to

from tests.histories import line
from tests.transforms.core.calls import GROUP, IDENTIFY, accepted, call, second
from transforms.core import account_rows
from transforms.core.accounts import Way
from transforms.core.connections import DEFAULT
from transforms.core.facts import AccountKnown, learn_account
from transforms.fold_accounts import PARTS, FoldAccounts, JoinParts
from transforms.map_accounts import MapAccounts, MapAccountsInParcels
from transforms.resolve_in_process import ResolveInProcess
from transforms.windows import Arrival, everything

MESSAGES = [
    call(1, GROUP, groupId="a", traits={"name": "A", "plan": "free"}),
    call(2, GROUP, groupId="a", traits={"plan": "pro"}),
    call(3, IDENTIFY, context={"groupId": "a"}),
    call(4, IDENTIFY, traits={"email": "ann@b.io"}),
    call(5, IDENTIFY),
]


@pytest.mark.parametrize("in_process", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_rows_whatever_the_order_and_the_repetitions(seed: int, in_process: bool) -> None:
    messages = [line(message) for message in MESSAGES + MESSAGES[:3]]
    Random(seed).shuffle(messages)
    with TestPipeline(runner="FnApiRunner") as pipeline:
        calls = pipeline | beam.Create(messages) | beam.Map(lambda payload: accepted(payload))
        if in_process:
            upserts = calls | MapAccountsInParcels(DEFAULT, None) | ResolveInProcess(None)
        else:
            upserts = (calls | MapAccounts(DEFAULT))[MapAccounts.ACCOUNTS] | FoldAccounts(None)
        rows = upserts["accounts"] | "Row" >> beam.Map(
            lambda upsert: (
                upsert.key,
                upsert.row.name,
                upsert.row.plan,
                upsert.row.account_source,
                upsert.row.last_named_at,
            )
        )
        assert_that(
            rows,
            equal_to(
                [
                    (("a",), "A", "pro", "group", second(3)),
                    (("b.io",), "b.io", None, "email_domain", second(4)),
                ]
            ),
        )


def named(number: int) -> AccountKnown:
    stamp = (number, f"m{number}")
    traits = {f"trait{number % 7}": (stamp, b"%d" % number)}
    return AccountKnown(traits, (stamp, "Acme"), {Way.GROUP: (stamp, stamp)}, {"c": stamp})


def test_many_calls_of_one_account_wait_under_several_keys_and_give_one_row() -> None:
    facts = [("acme", named(n)) for n in range(400)]
    whole = reduce(learn_account, (known for _, known in facts), AccountKnown())
    with TestPipeline(options=PipelineOptions(streaming=True), runner="FnApiRunner") as pipeline:
        window = Arrival(60)
        accounts = pipeline | beam.Create(facts).with_output_types(tuple[str, AccountKnown])
        parts = accounts | "Parts" >> JoinParts(window)
        joined = parts | "Global" >> everything() | "Id" >> beam.Keys()
        assert_that(joined, equal_to(["acme"] * PARTS), "Parts are few")
        rows = (accounts | FoldAccounts(window))["accounts"] | beam.Map(lambda upsert: (upsert.version, upsert.row))
        assert_that(rows, equal_to([((1,), account_rows.row("acme", whole))]), "One row")
