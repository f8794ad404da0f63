"""Streams of a table that this program creates, and appends to at exact offsets.

https://cloud.google.com/bigquery/docs/write-api-streaming#exactly-once
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import accumulate, takewhile
from typing import Final, TypeVar

from google.api_core.exceptions import GoogleAPICallError
from google.cloud.bigquery_storage_v1.types import BatchCommitWriteStreamsRequest, StorageError, WriteStream

from pipeline.warehouses.bigquery.answers import (
    AppendError,
    NotYetKnown,
    RequestTooLarge,
    RowsRefused,
    RowsSuspected,
    StreamUnusable,
    failure,
)
from pipeline.warehouses.bigquery.append_stream import ROW_OVERHEAD_BYTES, AppendStream, Delivery
from pipeline.warehouses.bigquery.appends import Appender, WriteFailed, words_of
from pipeline.warehouses.bigquery.dataset import Dataset
from pipeline.warehouses.bigquery.protobuf import RowEncoder
from pipeline.warehouses.bigquery.sifting import NoneAcceptedError, sift
from schemas.tables import Table
from transforms import metrics

_COMMITTED: Final = StorageError.StorageErrorCode.STREAM_ALREADY_COMMITTED

T = TypeVar("T")


class CreatedStreams:
    """Streams of one table, by connections that the process shares, for one thread at a time. What is known of the
    table, such as whether it accepts rows, is shared as well."""

    def __init__(
        self, dataset: Dataset, table: Table, encoder: RowEncoder, delivery: Delivery, tally: metrics.Tally
    ) -> None:
        self._path = dataset.path(table)
        self._encoder = encoder
        self._delivery = delivery
        self._tally = tally
        self._table = AppendStream.of(self._path, encoder.descriptor, delivery)
        self._calls = Appender(self._table, tally)

    def create(self) -> str:
        """Makes a stream whose rows are in the table at once; returns its name. Raises WriteFailed."""
        return self._create(WriteStream.Type.COMMITTED)

    def fit(self, rows: Sequence[bytes]) -> int:
        """How many of these rows, from the first, go into one request: one at least."""
        most = min(self._delivery.batch_bytes, self._table.largest_request)
        sizes = accumulate(len(row) + ROW_OVERHEAD_BYTES for row in rows)
        return max(1, sum(1 for _ in takewhile(lambda size: size <= most, sizes)))

    def append(self, stream: str, offset: int, rows: Sequence[bytes]) -> None:
        """Appends rows at this offset. Raises RowsRefused, StreamUnusable and RequestTooLarge, and no row is written
        then, unless it was before; WriteFailed where the trouble lies elsewhere, or does not pass in time."""
        appender = Appender(self._connection(stream), self._tally)
        sent = list(rows)
        try:
            while not self._is_appended(appender, offset, sent):
                pass
        except RequestTooLarge:
            self._table.shrink(sum(map(len, sent)))
            raise
        except (RowsRefused, StreamUnusable):
            raise
        except (AppendError, NoneAcceptedError) as error:
            raise appender.failed(error) from error

    def finalize(self, stream: str) -> int | None:
        """Lets nobody append to the stream any more; returns how many rows it holds, None where it does not tell.
        Raises WriteFailed."""
        client, timeout = self._table.client, self._delivery.answer_s

        def finalized() -> int | None:
            try:
                return client.finalize_write_stream(name=stream, retry=None, timeout=timeout).row_count
            except GoogleAPICallError as error:
                problem = failure(error)
                if isinstance(problem, (StreamUnusable, NotYetKnown)):
                    return None
                raise problem from None

        held = self._called(finalized)
        AppendStream.drop(self._path, self._delivery, stream)
        return held

    def create_pending(self) -> str:
        """Makes a stream whose rows are in the table once it is committed; returns its name. Raises WriteFailed."""
        return self._create(WriteStream.Type.PENDING)

    def commit(self, streams: Sequence[str]) -> None:
        """Commits finalized streams, all of them at once; one that is committed stays so. Raises WriteFailed."""
        request = BatchCommitWriteStreamsRequest(parent=self._path, write_streams=streams)
        client, timeout = self._table.client, self._delivery.answer_s

        def committed() -> Sequence[StorageError]:
            try:
                answer = client.batch_commit_write_streams(request=request, retry=None, timeout=timeout)
            except GoogleAPICallError as error:
                raise failure(error) from None
            return list(answer.stream_errors)

        errors = self._called(committed)
        done = {error.entity for error in errors if error.code == _COMMITTED}
        if other := next((error for error in errors if error.entity not in done), None):
            problem = f"the stream {other.entity} cannot be committed: {other.error_message}"
            raise WriteFailed(f"{problem}; the rows of this job's events are not in the table: run it again")
        if done and len(done) < len(streams):  # nothing of a call with an error was committed
            self.commit([stream for stream in streams if stream not in done])

    def _is_appended(self, appender: Appender, offset: int, rows: list[bytes]) -> bool:
        """Whether the rows are written; they are not where some, which BigQuery refused, were rewritten. Raises
        AppendError and NoneAcceptedError."""
        try:
            appender.append_at(rows, offset)
        except RowsRefused as error:
            rewritten = self._rewrite(rows, error.rows)
            if left := {index: words for index, words in error.rows.items() if index not in rewritten}:
                raise RowsRefused(error.code, error.words, left) from None
            return False
        except RowsSuspected as error:
            if self._rewrite(rows, range(len(rows))):
                return False
            if refused := self._sift(rows):
                raise RowsRefused(error.code, error.words, refused) from None
            raise StreamUnusable(error.code, error.words) from None  # another stream takes these rows
        self._table.note_accepted()
        return True

    def _rewrite(self, rows: list[bytes], indexes: Iterable[int]) -> set[int]:
        """Gives rows other bytes of the same meaning; returns which have changed."""
        before = {index: rows[index] for index in indexes}
        for index, row in before.items():
            rows[index] = self._encoder.rewritten(row)
        return {index for index, row in before.items() if rows[index] != row}

    def _sift(self, rows: Sequence[bytes]) -> Mapping[int, str]:
        """The rows that are refused alone, by index, and BigQuery's words. They are tried on a stream that is never
        committed, so that nothing of them comes into the table. Raises AppendError and NoneAcceptedError."""
        trial = Appender(self._connection(self.create_pending()), self._tally)

        def ask(indexes: Sequence[int]) -> AppendError | None:
            try:
                trial.append_at([rows[index] for index in indexes], None, alone=True)
            except (RowsRefused, RowsSuspected, RequestTooLarge) as error:
                self._table.refused_alone += len(indexes) == 1
                return error
            return None

        refused = sift(len(rows), ask, lambda: self._table.accepts_rows)
        return {index: words_of(error) for index, error in refused.items()}

    def _create(self, type_: int) -> str:
        client, timeout = self._table.client, self._delivery.answer_s

        def created() -> str:
            asked = WriteStream(type_=type_)
            try:
                return client.create_write_stream(
                    parent=self._path, write_stream=asked, retry=None, timeout=timeout
                ).name
            except GoogleAPICallError as error:
                raise failure(error) from None

        return self._called(created)

    def _called(self, call: Callable[[], T]) -> T:
        """Makes a call about a stream until it raises nothing that passes. Raises WriteFailed."""
        try:
            return self._calls.retried(call)
        except AppendError as error:
            raise self._calls.failed(error) from error

    def _connection(self, stream: str) -> AppendStream:
        return AppendStream.of(self._path, self._encoder.descriptor, self._delivery, stream)
