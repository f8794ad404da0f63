"""MapAccounts: identity calls to facts about persons and accounts."""

from __future__ import annotations

from collections.abc import Sequence

import apache_beam as beam
from apache_beam.pvalue import PCollection, TaggedOutput

from transforms import metrics
from transforms.core.connections import Connections
from transforms.core.facts import AccountKnown, Known, learned
from transforms.core.reader import Call


class MapAccounts(beam.PTransform):
    """`Call` → on `PERSONS` `(id, Known)`, the facts that the call gives of each id that it names; on `ACCOUNTS`
    `(account_id, AccountKnown)`, those of the account that it names by its connection's method."""

    PERSONS = "persons"
    ACCOUNTS = "accounts"

    def __init__(self, connections: Connections) -> None:
        super().__init__()
        self.connections = connections

    def expand(self, calls: PCollection[Call]) -> dict[str, PCollection]:
        learn = beam.ParDo(_MapAccountsFn(self.connections)).with_output_types(
            tuple[str, Known], **{self.ACCOUNTS: tuple[str, AccountKnown]}
        )
        outputs = calls | "Learn" >> learn.with_outputs(self.ACCOUNTS, main=self.PERSONS)
        return {name: outputs[name] for name in (self.PERSONS, self.ACCOUNTS)}


class _MapAccountsFn(metrics.CountingFn):
    def __init__(self, connections: Connections) -> None:
        super().__init__()
        self.connections = connections

    def process(self, call: Call) -> Sequence[tuple[str, Known] | TaggedOutput]:
        facts = learned(call, self.connections)
        if facts.without_effect:
            self.tally[metrics.GROUPS_WITHOUT_EFFECT.name] += 1
        if facts.account is None:
            return facts.persons
        return (*facts.persons, TaggedOutput(MapAccounts.ACCOUNTS, facts.account))
