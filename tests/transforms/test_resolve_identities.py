"""ResolveIdentities in a bounded job: the rows of contacts, identities and memberships, whatever the order."""

from __future__ import annotations

from random import Random

import apache_beam as beam
import pytest
from apache_beam.testing.test_pipeline import TestPipeline
from apache_beam.testing.util import assert_that, equal_to

from tests.histories import line
from tests.transforms.core.calls import ALIAS, DELETE, GROUP, IDENTIFY, accepted, call
from transforms.core.connections import DEFAULT
from transforms.map_accounts import MapAccounts, MapAccountsInParcels
from transforms.resolve_identities import ResolveIdentities
from transforms.resolve_in_process import ResolveInProcess

MESSAGES = [
    call(1, IDENTIFY, userId="anon1", traits={"a": 1, "email": "ann@acme.com"}),
    call(2, ALIAS, previousId="anon1", userId="ann"),
    call(3, IDENTIFY, userId="ann", traits={"b": 2}),
    call(4, GROUP, userId="ann", groupId="g"),
    call(5, IDENTIFY, userId="bob"),
    call(6, GROUP, userId="carl", groupId="g"),
    call(7, IDENTIFY, userId="gone"),
    call(8, DELETE, userId="gone"),
]


@pytest.mark.parametrize("in_process", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_rows_whatever_the_order_and_the_repetitions(seed: int, in_process: bool) -> None:
    messages = [line(message) for message in MESSAGES + MESSAGES[:4]]
    Random(seed).shuffle(messages)
    with TestPipeline(runner="FnApiRunner") as pipeline:
        calls = pipeline | beam.Create(messages) | beam.Map(lambda payload: accepted(payload))
        if in_process:
            rows = calls | MapAccountsInParcels(DEFAULT, None) | ResolveInProcess(None)
        else:
            rows = (calls | MapAccounts(DEFAULT))[MapAccounts.PERSONS] | ResolveIdentities(None)
        contacts = rows["contacts"] | "Contact" >> beam.Map(
            lambda upsert: (upsert.key, bytes(upsert.row.traits), upsert.row.account_id, upsert.row.previous_ids)
        )
        identities = rows["identities"] | "Identity" >> beam.Map(lambda upsert: (upsert.key, upsert.row.external_id))
        memberships = rows["memberships"] | "Membership" >> beam.Map(
            lambda upsert: (upsert.key, upsert.row.account_source)
        )
        assert_that(
            contacts,
            equal_to(
                [
                    (("ann",), b'{"a":1,"b":2,"email":"ann@acme.com"}', "g", ("anon1",)),
                    (("bob",), b"{}", None, ()),
                ]
            ),
            "Contacts",
        )
        assert_that(identities, equal_to([(("anon1",), "ann")]), "Identities")
        assert_that(
            memberships,
            equal_to([(("ann", "acme.com"), "email_domain"), (("ann", "g"), "group"), (("carl", "g"), "group")]),
            "Memberships",
        )
