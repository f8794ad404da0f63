"""Dead letters read again from BigQuery, and their rows written there.

Appends are in no transaction, so the order sees to it that nothing is lost: rows and new dead letters first; when all
are durable, the old letters are removed by their ids. A job that ends in between is run again: a row that comes again
is one in the views, and a letter that the table holds is not written again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, Final

import apache_beam as beam
import pyarrow as pa
from apache_beam.pvalue import AsIter, PBegin, PCollection, TaggedOutput
from apache_beam.utils.windowed_value import WindowedValue
from msgspec import Raw

from pipeline.warehouses import base
from pipeline.warehouses.base import JobRun
from pipeline.warehouses.bigquery import statements
from pipeline.warehouses.bigquery.any_day import WriteCalls, WriteEvents
from pipeline.warehouses.bigquery.dataset import Dataset
from pipeline.warehouses.bigquery.queries import plain, query
from pipeline.warehouses.bigquery.query_step import QueryFn
from pipeline.warehouses.bigquery.read_rows import ReadRows, ReadRowsFn
from pipeline.warehouses.bigquery.sink import AppendRows
from schemas.tables import DEAD_LETTERS, DeadLetter
from transforms import windows
from transforms.core.redelivery import Redelivered
from transforms.core.rows import Append
from transforms.deduplicate import Deduplicate
from transforms.windows import in_global_window

_IDS: Final = 5_000
"""So many ids go into one statement: half a megabyte."""
_IsRead = tuple[str, bool]
"""The id of a dead letter, and True where it was read, False where it is refused again."""


class ReadDeadLetters(beam.PTransform):
    """PBegin → `DeadLetter`: those of these reasons, or of all, that the table holds; of one that was written more than
    once the first."""

    def __init__(self, dataset: Dataset, reasons: tuple[str, ...] | None) -> None:
        super().__init__()
        self.dataset, self.reasons = dataset, reasons

    def expand(self, begin: PBegin) -> PCollection[DeadLetter]:
        return (
            begin
            | "Reasons" >> beam.Create([statements.dead_letters_of(self.reasons)])
            | "Rows" >> ReadRows(_ReadFn(self.dataset)).with_output_types(tuple[str, DeadLetter])
            | "Gather" >> beam.GroupByKey()
            | "First" >> beam.MapTuple(_first).with_output_types(DeadLetter)
        )


class _ReadFn(ReadRowsFn):
    """Gives `(dead_letter_id, DeadLetter)`."""

    def __init__(self, dataset: Dataset) -> None:
        super().__init__(dataset, DEAD_LETTERS, [column.name for column in DEAD_LETTERS.columns])

    def values(self, rows: pa.RecordBatch) -> Iterator[tuple[str, DeadLetter]]:
        for row in rows.to_pylist():
            letter = _letter(row)
            yield letter.dead_letter_id, letter


def _letter(row: Mapping[str, Any]) -> DeadLetter:
    values = {column.name: plain(column, row[column.name]) for column in DEAD_LETTERS.columns}
    return DeadLetter(**{**values, "attributes": Raw(row["attributes"].encode())})


def _first(_: str, letters: Iterable[DeadLetter]) -> DeadLetter:
    return min(letters, key=lambda letter: letter.failed_at or 0)


class ReplaceDeadLetters(beam.PTransform):
    """`Redelivered` → on `LOGGED` the `Call` of each entry that the log holds; on `REMOVED` the numbers of dead letters
    that are removed, once all rows are durable: those that are not refused again as they were."""

    def __init__(self, dataset: Dataset, job: JobRun) -> None:
        super().__init__()
        self.dataset, self.job = dataset, job

    def expand(self, redelivered: PCollection[Redelivered]) -> dict[str, PCollection]:
        parts = redelivered | "Part" >> beam.ParDo(_PartFn()).with_outputs(*_PartFn.OUTPUTS)
        unseen = parts[_PartFn.EVENTS] | "Deduplicate" >> Deduplicate(None)
        events = unseen | "Events" >> WriteEvents(self.dataset, self.job)
        logged = parts[_PartFn.IDENTITY_CALLS] | "IdentityCalls" >> WriteCalls(self.dataset, self.job)
        refused = (parts[_PartFn.DEAD_LETTERS], events, logged[base.DEAD_LETTERS]) | "Refused" >> beam.Flatten()
        letters = (
            refused
            | "KeyLetters" >> beam.Map(_keyed).with_output_types(tuple[str, Append])
            | "GatherLetters" >> beam.GroupByKey()
            | "OneLetter" >> beam.MapTuple(_any).with_output_types(Append)
            | "Missing" >> beam.ParDo(_MissingFn(self.dataset))
            | "DeadLetters" >> AppendRows(self.dataset, DEAD_LETTERS, self.job)
        )
        writes = (events, logged[base.LOGGED], logged[base.DEAD_LETTERS], letters)
        written = writes | "Written" >> windows.AfterHistory(self.job, bounded=True)
        kept = refused | "Kept" >> beam.Map(lambda append: (append.row.dead_letter_id, False)).with_output_types(
            _IsRead
        )
        read = parts[_PartFn.READ] | "Read" >> beam.Map(lambda id: (id, True)).with_output_types(_IsRead)
        removed = (
            (kept, read)
            | "Ids" >> beam.Flatten()
            | "GatherIds" >> beam.GroupByKey()
            | "NotKept" >> beam.FlatMapTuple(_not_kept).with_output_types(tuple[str, str])
            | "OneWorker" >> beam.GroupByKey()
            | "Remove" >> beam.ParDo(_RemoveFn(self.dataset), AsIter(written))
        )
        return {base.LOGGED: logged[base.LOGGED], base.REMOVED: removed}


class _PartFn(beam.DoFn):
    """Gives the parts of `Redelivered` each on its own output."""

    READ, EVENTS, IDENTITY_CALLS, DEAD_LETTERS = "read", "events", "identity_calls", "dead_letters"
    OUTPUTS: Final = (READ, EVENTS, IDENTITY_CALLS, DEAD_LETTERS)

    def process(self, redelivered: Redelivered) -> Iterator[TaggedOutput]:
        yield TaggedOutput(self.READ, redelivered.dead_letter_id)
        for append in redelivered.events:
            yield TaggedOutput(self.EVENTS, append)
        for entry in redelivered.identity_calls:
            yield TaggedOutput(self.IDENTITY_CALLS, entry)
        for append in redelivered.dead_letters:
            yield TaggedOutput(self.DEAD_LETTERS, append)


def _keyed(append: Append) -> tuple[str, Append]:
    letter = append.row
    assert isinstance(letter, DeadLetter)
    return letter.dead_letter_id, append


def _any(_: str, appends: Iterable[Append]) -> Append:
    return next(iter(appends))


def _not_kept(id: str, is_read: Iterable[bool]) -> Iterator[tuple[str, str]]:
    if all(is_read):
        yield "", id


class _MissingFn(QueryFn):
    """`Append` of dead letters → those that the table does not hold."""

    def start_bundle(self) -> None:
        self.gathered: dict[str, Append] = {}

    def process(self, append: Append) -> Iterator[Append]:
        id, _ = _keyed(append)
        self.gathered[id] = append
        if len(self.gathered) >= _IDS:
            yield from self._missing()

    def finish_bundle(self) -> Iterator[WindowedValue]:
        yield from map(in_global_window, self._missing())

    def _missing(self) -> list[Append]:
        gathered, self.gathered = self.gathered, {}
        if not gathered:
            return []
        statement = statements.dead_letter_ids(str(self.dataset))
        held = {row.dead_letter_id for row in query(self.client, statement, {"ids": list(gathered)})}
        return [append for id, append in gathered.items() if id not in held]


class _RemoveFn(QueryFn):
    """The ids of dead letters → how many were removed, in one statement after another: two at a time would collide."""

    def process(self, ids: tuple[str, Iterable[str]], _: Iterable[JobRun]) -> Iterator[int]:
        rest = iter(ids[1])
        while some := list(islice(rest, _IDS)):
            query(self.client, statements.remove_dead_letters(str(self.dataset)), {"ids": some})
            yield len(some)
