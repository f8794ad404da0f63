"""FoldAccounts in a bounded job: one row for each account, whatever the order."""

from __future__ import annotations

from random import Random

import apache_beam as beam
import pytest
from apache_beam.testing.test_pipeline import TestPipeline
from apache_beam.testing.util import assert_that, equal_to

from tests.histories import line
from tests.transforms.core.calls import GROUP, IDENTIFY, accepted, call, second
from transforms.core.connections import DEFAULT
from transforms.fold_accounts import FoldAccounts
from transforms.map_accounts import MapAccounts

MESSAGES = [
    call(1, GROUP, groupId="a", traits={"name": "A", "plan": "free"}),
    call(2, GROUP, groupId="a", traits={"plan": "pro"}),
    call(3, IDENTIFY, context={"groupId": "a"}),
    call(4, IDENTIFY, traits={"email": "ann@b.io"}),
    call(5, IDENTIFY),
]


@pytest.mark.parametrize("seed", range(3))
def test_rows_whatever_the_order_and_the_repetitions(seed: int) -> None:
    messages = [line(message) for message in MESSAGES + MESSAGES[:3]]
    Random(seed).shuffle(messages)
    with TestPipeline(runner="FnApiRunner") as pipeline:
        calls = pipeline | beam.Create(messages) | beam.Map(lambda payload: accepted(payload))
        accounts = (calls | MapAccounts(DEFAULT))[MapAccounts.ACCOUNTS]
        rows = (accounts | FoldAccounts(None))["accounts"] | "Row" >> beam.Map(
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
