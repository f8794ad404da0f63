"""MapAccounts: identity calls to facts about persons and accounts."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import apache_beam as beam
from apache_beam.pvalue import PCollection, TaggedOutput
from apache_beam.utils.timestamp import MIN_TIMESTAMP, Duration, Timestamp
from apache_beam.utils.windowed_value import WindowedValue

from transforms import metrics, windows
from transforms.core.connections import Connections
from transforms.core.facts import AccountKnown, Known, Learned, learn, learn_account, learned
from transforms.core.reader import Call
from transforms.parcels import ONE_KEY, Packing, Parcel, in_parcels
from transforms.resolve_in_process import ACCOUNTS, PERSONS
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


class MapAccountsInParcels(beam.PTransform):
    """`Call` → `(ONE_KEY, Parcel)`: the facts that `MapAccounts` gives, each to its stage of `ResolveInProcess`.

    Those of one id or account are joined as long as a bundle lasts. The parcels come in the windows in which they are
    gathered; `window` is None in a bounded job, which has one.
    """

    def __init__(self, connections: Connections, window: windows.Arrival | None) -> None:
        super().__init__()
        self.window = window
        self.fn: beam.DoFn
        if window is None:
            self.fn = _ParcelsFn(connections)
        else:
            self.fn = _WindowedParcelsFn(connections, Duration.of(window.seconds).micros)

    def expand(self, calls: PCollection[Call]) -> PCollection[tuple[str, Parcel]]:
        parcels = calls | "Learn" >> beam.ParDo(self.fn).with_output_types(tuple[str, Parcel])
        return parcels if self.window is None else parcels | "Window" >> windows.arrival(self.window)


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


class _Joined:
    """The facts of many calls: one of each id and account."""

    def __init__(self) -> None:
        self.persons: dict[str, Known] = {}
        self.accounts: dict[str, AccountKnown] = {}

    def add(self, facts: Learned) -> bool:
        """Joins the facts of a call to those that are there; returns whether they are many now."""
        for id, known in facts.persons:
            before = self.persons.get(id)
            self.persons[id] = known if before is None else learn(before, known)
        if facts.account is not None:
            account_id, of_account = facts.account
            before_account = self.accounts.get(account_id)
            joined = of_account if before_account is None else learn_account(before_account, of_account)
            self.accounts[account_id] = joined
        return len(self.persons) + len(self.accounts) >= _MOST_JOINED


class _JoinedFactsFn(_LearningFn):
    """Joins facts, and puts them out when there are many, or the bundle ends. Windows do not matter: a bounded job has
    one."""

    def start_bundle(self) -> None:
        self.joined = _Joined()

    def process(self, call: Call) -> Iterable[Any]:
        return tuple(self._all()) if self.joined.add(self.learned(call)) else ()

    def finish_bundle(self) -> Iterator[Any]:
        yield from self._all()
        super().finish_bundle()

    def _all(self) -> Iterator[Any]:
        joined, self.joined = self.joined, _Joined()
        return self.elements(joined)

    def elements(self, joined: _Joined) -> Iterator[Any]:
        """Facts as they are put out."""
        for person in joined.persons.items():
            yield in_global_window(person)
        for account in joined.accounts.items():
            yield TaggedOutput(MapAccounts.ACCOUNTS, in_global_window(account))


class _ParcelsFn(_JoinedFactsFn):
    """The same in parcels."""

    def setup(self) -> None:
        self.packings = Packing(Known), Packing(AccountKnown)

    def elements(self, joined: _Joined, at: Timestamp = MIN_TIMESTAMP) -> Iterator[WindowedValue]:
        of_persons, of_accounts = self.packings
        for parcel in itertools.chain(
            in_parcels(PERSONS, joined.persons.items(), of_persons),
            in_parcels(ACCOUNTS, joined.accounts.items(), of_accounts),
        ):
            yield in_global_window((ONE_KEY, parcel), at)


class _WindowedParcelsFn(_ParcelsFn):
    """The same in an unbounded job: joins the facts of calls that are in one window. Their parcels have the time of the
    first of them, and so are in that window as well."""

    def __init__(self, connections: Connections, window_micros: int) -> None:
        super().__init__(connections)
        self.window_micros = window_micros

    def start_bundle(self) -> None:
        self.by_window: dict[int, tuple[_Joined, Timestamp]] = {}

    def process(self, call: Call, timestamp: Any = beam.DoFn.TimestampParam) -> Iterable[Any]:
        window = timestamp.micros // self.window_micros
        gathered = self.by_window.get(window)
        if gathered is None:
            gathered = self.by_window[window] = _Joined(), timestamp
        joined, at = gathered
        if not joined.add(self.learned(call)):
            return ()
        del self.by_window[window]
        return tuple(self.elements(joined, at))

    def _all(self) -> Iterator[Any]:
        for joined, at in self.by_window.values():
            yield from self.elements(joined, at)
