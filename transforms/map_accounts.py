"""MapAccounts: identity calls to facts about persons and accounts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import apache_beam as beam
from apache_beam.pvalue import PCollection, TaggedOutput
from apache_beam.utils.windowed_value import WindowedValue

from transforms import metrics
from transforms.core.connections import Connections
from transforms.core.facts import AccountKnown, Known, Learned, learn, learn_account, learned
from transforms.core.reader import Call
from transforms.windows import in_global_window

_MOST_JOINED: Final = 20_000
"""So many ids and accounts a bundle has in memory."""


class MapAccounts(beam.PTransform):
    """`Call` → on `PERSONS` `(id, Known)`, the facts that the call gives of each id that it names; on `ACCOUNTS`
    `(account_id, AccountKnown)`, those of the account that it names by its connection's method.

    With `joined`, for a bounded job, those of one id or account are joined as long as a bundle lasts, so that many
    calls about it come to little more than one.
    """

    PERSONS = "persons"
    ACCOUNTS = "accounts"

    def __init__(self, connections: Connections, *, joined: bool = False) -> None:
        super().__init__()
        self.connections = connections
        self.joined = joined

    def expand(self, calls: PCollection[Call]) -> dict[str, PCollection]:
        fn = _JoinedFactsFn(self.connections) if self.joined else _MapAccountsFn(self.connections)
        learn = beam.ParDo(fn).with_output_types(tuple[str, Known], **{self.ACCOUNTS: tuple[str, AccountKnown]})
        outputs = calls | "Learn" >> learn.with_outputs(self.ACCOUNTS, main=self.PERSONS)
        return {name: outputs[name] for name in (self.PERSONS, self.ACCOUNTS)}


class _LearningFn(metrics.CountingFn):
    def __init__(self, connections: Connections) -> None:
        super().__init__()
        self.connections = connections

    def learned(self, call: Call) -> Learned:
        """The facts of a call; counts one without effect."""
        facts = learned(call, self.connections)
        if facts.without_effect:
            self.tally[metrics.GROUPS_WITHOUT_EFFECT.name] += 1
        return facts


class _MapAccountsFn(_LearningFn):
    def process(self, call: Call) -> Sequence[tuple[str, Known] | TaggedOutput]:
        facts = self.learned(call)
        if facts.account is None:
            return facts.persons
        return (*facts.persons, TaggedOutput(MapAccounts.ACCOUNTS, facts.account))


class _JoinedFactsFn(_LearningFn):
    """Joins facts, and puts them out when there are many, or the bundle ends. Windows do not matter: a bounded job has
    one."""

    def start_bundle(self) -> None:
        self.persons: dict[str, Known] = {}
        self.accounts: dict[str, AccountKnown] = {}

    def process(self, call: Call) -> Sequence[WindowedValue | TaggedOutput]:
        facts = self.learned(call)
        for id, known in facts.persons:
            before = self.persons.get(id)
            self.persons[id] = known if before is None else learn(before, known)
        if facts.account is not None:
            account_id, of_account = facts.account
            before_account = self.accounts.get(account_id)
            joined = of_account if before_account is None else learn_account(before_account, of_account)
            self.accounts[account_id] = joined
        if len(self.persons) + len(self.accounts) < _MOST_JOINED:
            return ()
        return tuple(self._joined())

    def finish_bundle(self) -> Iterator[Any]:
        yield from self._joined()
        super().finish_bundle()

    def _joined(self) -> Iterator[WindowedValue | TaggedOutput]:
        for person in self.persons.items():
            yield in_global_window(person)
        for account in self.accounts.items():
            yield TaggedOutput(MapAccounts.ACCOUNTS, in_global_window(account))
        self.persons, self.accounts = {}, {}
