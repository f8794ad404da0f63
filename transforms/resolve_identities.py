"""ResolveIdentities: what is known of ids to the rows of contacts, identities and memberships."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Final

import apache_beam as beam
from apache_beam.pvalue import PCollection

from schemas.tables import Contact
from transforms import metrics
from transforms.chains_journal import chains_fn
from transforms.core.contacts import MAX_PREVIOUS_IDS
from transforms.core.facts import Known, learn
from transforms.core.identity import chains, contact, depth, household, person
from transforms.core.identity.stages import TABLES, IdentityStage, stages
from transforms.core.rows import Upsert
from transforms.keyed_step import JoinFn, KeyedStep
from transforms.parcels import MessageParcel, OpenParcels, SendInParcels, Sharded
from transforms.shard_step import ShardStep
from transforms.windows import Arrival

SIZES: Final[Mapping[Callable[..., int], metrics.Distribution]] = {
    person.size: metrics.EDGES,
    depth.size: metrics.TOKENS,
    chains.size: metrics.CHAIN_EDGES,
    household.size: metrics.RESIDENTS,
    contact.size: metrics.MEMBERS,
}
"""What tells how large states of a stage are."""


class ResolveIdentities(beam.PTransform):
    """`(id, Known)` → for `contacts`, `identities` and `memberships` an `Upsert` for each row that changes, in one
    collection or several.

    The stages of `transforms.core.identity`, fed forward; `window` and `page_bytes` as in `KeyedStep`. With
    `in_process`, for a job that has its steps in this process, parcels come, `(shard, KnownParcel)`, and the stages are
    `ShardStep`s; only chains, which nearly nothing reaches, has its one key there, too. A table's rows then are a
    collection for each stage: to join them, the runner would encode and decode each row.
    """

    def __init__(self, window: Arrival | None, page_bytes: int | None = None, *, in_process: bool = False) -> None:
        super().__init__()
        self.window = window
        self.page_bytes = page_bytes
        self.in_process = in_process

    def expand(self, known: PCollection) -> dict[str, tuple[PCollection, ...]]:
        messages: dict[str, list[PCollection]] = defaultdict(list, Person=[known])
        rows: dict[str, list[PCollection]] = {table: [] for table in TABLES}
        for stage in stages():
            inbox = _together(messages[stage.name], f"{stage.name}Messages")
            step = self._sharded(stage) if self.in_process else self._keyed(stage)
            outputs = inbox | stage.name >> step
            for field, names in stage.sends.items():
                for name in names:
                    messages[name].append(outputs[field])
            for table in stage.writes:
                rows[table].append(outputs[table])
        if not self.in_process:
            rows = {table: [_together(some, table.title())] for table, some in rows.items()}
        rows["contacts"] = [
            contacts | f"Limits{number or ''}" >> beam.ParDo(_LimitsFn()).with_output_types(Upsert)
            for number, contacts in enumerate(rows["contacts"])
        ]
        return {table: tuple(some) for table, some in rows.items()}

    def _sharded(self, stage: IdentityStage) -> beam.PTransform:
        if stage.step is chains.step:
            return _OneKeyOfParcels(self._keyed(stage), self.window)
        return ShardStep(
            stage.step,
            stage.state,
            stage.outbox,
            window=self.window,
            size=stage.size,
            sizes=SIZES[stage.size],
            needs_crowd=stage.needs_crowd,
        )

    def _keyed(self, stage: IdentityStage) -> KeyedStep:
        return KeyedStep(
            stage.step,
            stage.state,
            stage.outbox,
            window=self.window,
            page_bytes=self.page_bytes,
            gather=JoinFn(Known, learn) if stage.step is person.step else None,
            size=stage.size,
            sizes=SIZES[stage.size],
            needs_crowd=stage.needs_crowd,
            stateful=chains_fn if stage.step is chains.step else None,
        )


class _OneKeyOfParcels(beam.PTransform):
    """`(shard, MessageParcel)` → what the step gives of their messages, in parcels as well."""

    def __init__(self, step: KeyedStep, window: Arrival | None) -> None:
        super().__init__()
        self.step = step
        self.window = window

    def expand(self, sharded: PCollection[Sharded]) -> dict[str, PCollection]:
        outputs = sharded | "Open" >> OpenParcels() | "Step" >> self.step
        send = SendInParcels(MessageParcel, self.window)
        return {name: messages | f"Send{name.title()}" >> send for name, messages in outputs.items()}


def _together(pcollections: list[PCollection], label: str) -> PCollection:
    return pcollections[0] if len(pcollections) == 1 else tuple(pcollections) | label >> beam.Flatten()


class _LimitsFn(metrics.CountingFn):
    """Counts the contacts that have reached a limit of their row."""

    def process(self, upsert: Upsert) -> tuple[Upsert]:
        if isinstance(upsert.row, Contact) and len(upsert.row.previous_ids) == MAX_PREVIOUS_IDS:
            self.tally[metrics.LONG_PREVIOUS_IDS.name] += 1
        return (upsert,)
