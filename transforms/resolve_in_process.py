"""ResolveInProcess: all steps with keys, one after another, where a job has its steps in its own process.

It does what `ResolveIdentities` and `FoldAccounts` do. But to hand a message from one step to the next takes a runner
longer than the step takes for it: here no message that a step sends leaves the process, and the runner groups once.

    parcels ─► Gather ─► ┌ Person ─► Depth ─► Chains ─► Household ─► Contact    Account ┐ ─► rows
                         └───────────── one stage after another, key by key ────────────┘

The state of an unbounded job stays in the process as well (`transforms.process_state`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

import apache_beam as beam
import msgspec
from apache_beam.pvalue import PCollection, TaggedOutput
from apache_beam.transforms.userstate import BagStateSpec

from transforms import chains_journal, metrics, windows
from transforms.coders import PackedCoder, StructCoder
from transforms.core.facts import AccountKnown, Known
from transforms.core.identity import chains
from transforms.core.identity.protocol import ProtocolMessage
from transforms.core.identity.stages import stages
from transforms.core.keyed_stage import KeyedStage
from transforms.core.rows import Upsert
from transforms.fold_accounts import ACCOUNT
from transforms.keyed_step import Observe, advanced
from transforms.parcels import Mailbox, Packing, Parcel
from transforms.process_state import ProcessState
from transforms.resolve_identities import count_limits, observing

PERSONS: Final = "Person"
ACCOUNTS: Final = ACCOUNT.name
"""The stages that facts go to."""
_TABLES: Final = tuple(dict.fromkeys(table for stage in (*stages(), ACCOUNT) for table in stage.writes))


class ResolveInProcess(beam.PTransform):
    """`(ONE_KEY, Parcel)` → for each keyed table the `Upsert`s of the rows that change. `window` is that in which the
    parcels come, None in a bounded job, which has one window and no state."""

    def __init__(self, window: windows.Arrival | None) -> None:
        super().__init__()
        self.window = window
        self.fn = _BoundedFn() if window is None else _StatefulFn()

    def expand(self, parcels: PCollection[tuple[str, Parcel]]) -> dict[str, PCollection[Upsert]]:
        gathered = parcels | "Gather" >> beam.GroupByKey()
        if self.window is not None:
            gathered = gathered | "Global" >> windows.everything()
        types: Any = dict.fromkeys(_TABLES, Upsert)
        outputs = gathered | "Steps" >> beam.ParDo(self.fn).with_output_types(Any, **types).with_outputs(*_TABLES)
        rows = {table: outputs[table] for table in _TABLES}
        return rows | {"contacts": rows["contacts"] | "Limits" >> count_limits()}


class _BoundedFn(beam.DoFn):
    def setup(self) -> None:
        self.stages = (*stages(), ACCOUNT)
        of_facts = {PERSONS: Packing(Known), ACCOUNTS: Packing(AccountKnown)}
        self.packings = dict.fromkeys((stage.name for stage in self.stages), Packing(ProtocolMessage)) | of_facts
        self.observe: dict[str, Observe] = {stage.name: observing(stage) for stage in self.stages}

    def process(self, gathered: tuple[str, Iterable[Parcel]]) -> Iterator[TaggedOutput]:
        mailboxes = {name: Mailbox(packing) for name, packing in self.packings.items()}
        for parcel in gathered[1]:
            mailboxes[parcel.stage].put(parcel)
        for stage in self.stages:
            observe = self.observe[stage.name]
            keys = 0
            for key, inbox in mailboxes[stage.name].inboxes():
                keys += 1
                after, outbox = self.run(stage, key, inbox)
                observe(after)
                for field, names in stage.sends.items():
                    for message in getattr(outbox, field):
                        for name in names:
                            mailboxes[name].add(message)
                for table in stage.writes:
                    for upsert in getattr(outbox, table):
                        yield TaggedOutput(table, upsert)
            if keys:
                self.ran(keys)

    def run(self, stage: KeyedStage, key: str, inbox: list[Any]) -> tuple[Any, msgspec.Struct]:
        """Runs a step for a key; gives the state after it, and the outbox."""
        return stage.step(key, None, inbox)

    def ran(self, keys: int) -> None:
        """A step has run for so many keys."""


class _StatefulFn(_BoundedFn):
    """The same in each window, with the states of all keys."""

    def __init__(self) -> None:
        super().__init__()
        self.kept = ProcessState()

    def setup(self) -> None:
        super().setup()
        self.cells = {stage.name: BagStateSpec(stage.name, StructCoder(stage.state)) for stage in self.stages}
        self.crowds = {stage.name: BagStateSpec(f"{stage.name}Crowd", PackedCoder()) for stage in self.stages}

    def run(self, stage: KeyedStage, key: str, inbox: list[Any]) -> tuple[Any, msgspec.Struct]:
        with self.kept.lock:
            if stage.step is chains.step:
                return chains_journal.advanced(lambda spec: self.kept.bag(spec, key), inbox)
            cell, crowd = (self.kept.bag(specs[stage.name], key) for specs in (self.cells, self.crowds))
            return advanced(stage.step, key, inbox, cell, crowd, stage.needs_crowd)

    def ran(self, keys: int) -> None:
        metrics.observe(metrics.WINDOW_KEYS, keys)
