"""ResolveIdentities: what is known of ids to the rows of contacts, identities and memberships."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

import apache_beam as beam
from apache_beam.pvalue import PCollection

from schemas.tables import Contact
from transforms import metrics
from transforms.chains_journal import chains_fn
from transforms.core.contacts import MAX_PREVIOUS_IDS
from transforms.core.facts import Known, learn
from transforms.core.identity import chains, contact, depth, household, person
from transforms.core.identity.stages import TABLES, stages
from transforms.core.keyed_stage import KeyedStage
from transforms.core.rows import Upsert
from transforms.keyed_step import JoinFn, KeyedStep, Observe, overlook
from transforms.windows import Arrival

_SIZES: Final[Mapping[Callable[..., int], metrics.Distribution]] = {
    person.size: metrics.EDGES,
    depth.size: metrics.TOKENS,
    chains.size: metrics.CHAIN_EDGES,
    household.size: metrics.RESIDENTS,
    contact.size: metrics.MEMBERS,
}
"""Where the sizes of a stage's states are observed."""


class ResolveIdentities(beam.PTransform):
    """`(id, Known)` → for `contacts`, `identities` and `memberships` an `Upsert` for each row that changes: the stages
    of `transforms.core.identity`, fed forward; `window` and `page_bytes` as in `KeyedStep`."""

    def __init__(self, window: Arrival | None, page_bytes: int | None = None) -> None:
        super().__init__()
        self.window = window
        self.page_bytes = page_bytes

    def expand(self, known: PCollection[tuple[str, Known]]) -> dict[str, PCollection[Upsert]]:
        messages: dict[str, list[PCollection]] = defaultdict(list, Person=[known])
        rows: dict[str, list[PCollection]] = {table: [] for table in TABLES}
        for stage in stages():
            inbox = _together(messages[stage.name], f"{stage.name}Messages")
            outputs = inbox | stage.name >> self._step(stage)
            for field, names in stage.sends.items():
                for name in names:
                    messages[name].append(outputs[field])
            for table in stage.writes:
                rows[table].append(outputs[table])
        tables = {table: _together(some, table.title()) for table, some in rows.items()}
        return tables | {"contacts": tables["contacts"] | "Limits" >> count_limits()}

    def _step(self, stage: KeyedStage) -> KeyedStep:
        return KeyedStep(
            stage.step,
            stage.state,
            stage.outbox,
            window=self.window,
            page_bytes=self.page_bytes,
            gather=JoinFn(Known, learn) if stage.step is person.step else None,
            observe=observing(stage),
            needs_crowd=stage.needs_crowd,
            stateful=chains_fn if stage.step is chains.step else None,
        )


def observing(stage: KeyedStage) -> Observe:
    """What adds the size of a state to the stage's distribution, where it is measured."""
    return overlook if stage.size is None else partial(_observe, stage.size, _SIZES[stage.size])


def _observe(size: Callable[[Any], int], sizes: metrics.Distribution, state: Any) -> None:
    metrics.observe(sizes, size(state))


def _together(pcollections: list[PCollection], label: str) -> PCollection:
    return pcollections[0] if len(pcollections) == 1 else tuple(pcollections) | label >> beam.Flatten()


def count_limits() -> beam.PTransform:
    """`Upsert`s of contacts → the same; counts those that have reached a limit of their row."""
    return beam.ParDo(_LimitsFn()).with_output_types(Upsert)


class _LimitsFn(metrics.CountingFn):
    def process(self, upsert: Upsert) -> tuple[Upsert]:
        if isinstance(upsert.row, Contact) and len(upsert.row.previous_ids) == MAX_PREVIOUS_IDS:
            self.tally[metrics.LONG_PREVIOUS_IDS.name] += 1
        return (upsert,)
