"""Dead letters read again from a DuckDB file, and their rows written there: a letter leaves in the transaction that
writes all it has become."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import apache_beam as beam
from apache_beam.pvalue import PBegin, PCollection, TaggedOutput
from apache_beam.utils.windowed_value import WindowedValue

from pipeline.warehouses.base import LOGGED, REMOVED, JobRun
from pipeline.warehouses.clock import now_us
from pipeline.warehouses.duckdb.arrow import misfits, row_batch
from pipeline.warehouses.duckdb.database import Database, Inserted, RowsRefusedError
from pipeline.warehouses.duckdb.sink import count
from schemas.tables import DEAD_LETTERS, EVENTS, IDENTITY_CALLS, DeadLetter, Table
from transforms import metrics
from transforms.core.dead_letters import Reason
from transforms.core.reader import Call
from transforms.core.redelivery import Redelivered
from transforms.core.rows import Append
from transforms.windows import in_global_window

_BATCH_LETTERS: Final = 1_000
_BATCH_BYTES: Final = 16_000_000

_Batches = dict[tuple[str, str | None], tuple[Table, list[Append]]]
"""Rows by the table and the outcome that they count for."""


class SelectDeadLetters(beam.PTransform):
    """PBegin → `DeadLetter`: those of these reasons, or of all, that the table holds."""

    def __init__(self, file: str, reasons: tuple[str, ...] | None) -> None:
        super().__init__()
        self.file, self.reasons = file, reasons

    def expand(self, begin: PBegin) -> PCollection:
        reasons = begin | "Reasons" >> beam.Create([self.reasons])
        return reasons | "Letters" >> beam.FlatMap(_dead_letters, self.file)


def _dead_letters(reasons: tuple[str, ...] | None, file: str) -> Iterator[Any]:
    return Database.of(file).dead_letters(reasons)


class InsertRedelivered(beam.PTransform):
    """`Redelivered` → on `LOGGED` the `Call` of each entry that the log holds as it is; on `REMOVED` numbers of dead
    letters: those that are not refused again as they were."""

    def __init__(self, file: str, job: JobRun) -> None:
        super().__init__()
        self.file, self.job = file, job

    def expand(self, redelivered: PCollection[Redelivered]) -> dict[str, PCollection]:
        replace = beam.ParDo(_InsertRedeliveredFn(self.file, self.job)).with_output_types(Call, **{REMOVED: int})
        outputs = redelivered | "Replace" >> replace.with_outputs(REMOVED, main=LOGGED)
        return {name: outputs[name] for name in (LOGGED, REMOVED)}


class _InsertRedeliveredFn(metrics.CountingFn):
    def __init__(self, file: str, job: JobRun) -> None:
        super().__init__()
        self.file, self.job = file, job

    def setup(self) -> None:
        self.database = Database.of(self.file)

    def start_bundle(self) -> None:
        self.gathered: list[Redelivered] = []
        self.bytes = 0
        self.removed = 0

    def process(self, redelivered: Redelivered) -> Sequence[Call]:
        self.gathered.append(redelivered)
        self.bytes += sum(len(append.message) + len(append.inherited or "") for append in _appends(redelivered))
        if len(self.gathered) < _BATCH_LETTERS and self.bytes < _BATCH_BYTES:
            return ()
        return self._flush()

    def finish_bundle(self) -> Iterator[WindowedValue | TaggedOutput]:
        for call in self._flush():
            yield in_global_window(call)
        yield TaggedOutput(REMOVED, in_global_window(self.removed))
        super().finish_bundle()

    def _flush(self) -> list[Call]:
        gathered, self.gathered, self.bytes = self.gathered, [], 0
        refused = self._misfits(gathered)
        return self._replace([self._without(letter, refused) for letter in gathered] if refused else gathered)

    def _misfits(self, redelivered: Sequence[Redelivered]) -> dict[int, str]:
        """The rows that no warehouse can hold, by their identity, and why."""
        events = [append for letter in redelivered for append in letter.events]
        calls = [append for letter in redelivered for append in _logged(letter)]
        refused: dict[int, str] = {}
        for table, appends in ((EVENTS, events), (IDENTITY_CALLS, calls)):
            if appends:
                problems = misfits(table, appends, self._batch(table, appends))
                refused |= {id(appends[index]): why for index, why in problems.items()}
        return refused

    def _without(self, redelivered: Redelivered, refused: dict[int, str]) -> Redelivered:
        """The same, with dead letters in place of the rows that are refused, by their identity."""
        rows = [append for append in (*redelivered.events, *_logged(redelivered)) if id(append) in refused]
        if not rows:
            return redelivered
        letters = [append.refused(refused[id(append)]) for append in rows]
        self.tally.refused(Reason.INVALID_FIELD.value, sum(append.outcome is not None for append in rows))
        return Redelivered(
            redelivered.dead_letter_id,
            [append for append in redelivered.events if id(append) not in refused],
            [entry for entry in redelivered.identity_calls if id(entry.append) not in refused],
            [*redelivered.dead_letters, *letters],
        )

    def _replace(self, redelivered: list[Redelivered]) -> list[Call]:
        """Writes these in one transaction. What DuckDB refuses is searched for by halves, so that it costs the others
        nothing."""
        if not redelivered:
            return []
        batches, removed = _plan(redelivered)
        inserted = [(table, self._batch(table, appends)) for table, appends in batches.values()]
        try:
            new_rows = self.database.run(self.database.replace, inserted, removed).result()
        except RowsRefusedError:
            if len(redelivered) == 1:
                return self._replace([self._without(redelivered[0], self._refused(redelivered[0]))])
            half = len(redelivered) // 2
            return self._replace(redelivered[:half]) + self._replace(redelivered[half:])
        self.removed += len(removed)
        conflicting: set[int] = set()
        for ((_, outcome), (table, appends)), (_, batch), new in zip(batches.items(), inserted, new_rows, strict=True):
            indexes: frozenset[int] = frozenset()
            if table == IDENTITY_CALLS and len(new) < len(appends):
                indexes = self.database.run(self.database.conflicting, batch, {}, new).result()
            conflicting.update(id(appends[index]) for index in indexes)
            count(self.tally, table, outcome, len(appends), Inserted(written=len(new), refused={}, conflicting=indexes))
        entries = (entry for letter in redelivered for entry in letter.identity_calls)
        return [entry.call for entry in entries if id(entry.append) not in conflicting]

    def _refused(self, redelivered: Redelivered) -> dict[int, str]:
        """The rows that DuckDB refuses, by their identity. Raises RowsRefusedError where it takes each alone."""
        refused: dict[int, str] = {}
        for table, appends in ((EVENTS, redelivered.events), (IDENTITY_CALLS, _logged(redelivered))):
            for append in appends:
                why = self.database.run(self.database.refusal, table, self._batch(table, [append])).result()
                if why is not None:
                    refused[id(append)] = why
        if not refused:
            raise RowsRefusedError(f"the rows of the dead letter {redelivered.dead_letter_id} do not fit together")
        return refused

    def _batch(self, table: Table, appends: Sequence[Append]) -> Any:
        return row_batch(table, [append.row for append in appends], self.job.written_at(now_us()))


def _plan(redelivered: Iterable[Redelivered]) -> tuple[_Batches, list[str]]:
    """(the rows to insert, the ids of the dead letters to remove): a letter that is refused as it was stays."""
    batches: _Batches = {}
    refused: set[str] = set()
    for letter in redelivered:
        parts = ((EVENTS, letter.events), (IDENTITY_CALLS, _logged(letter)), (DEAD_LETTERS, letter.dead_letters))
        for table, appends in parts:
            for append in appends:
                batches.setdefault((table.name, append.outcome), (table, []))[1].append(append)
                if isinstance(append.row, DeadLetter):
                    refused.add(append.row.dead_letter_id)
    return batches, [letter.dead_letter_id for letter in redelivered if letter.dead_letter_id not in refused]


def _logged(redelivered: Redelivered) -> list[Append]:
    return [entry.append for entry in redelivered.identity_calls]


def _appends(redelivered: Redelivered) -> list[Append]:
    return [*redelivered.events, *_logged(redelivered), *redelivered.dead_letters]
