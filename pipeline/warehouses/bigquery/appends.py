"""Writes batches of rows: each row is written, or BigQuery has refused it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

import grpc
from tenacity import RetryCallState, Retrying, retry_if_exception, stop_before_delay, wait_random_exponential

from pipeline.warehouses.bigquery.answers import (
    AppendError,
    NotYetKnown,
    RequestTooLarge,
    RowsRefused,
    RowsSuspected,
    Transient,
)
from pipeline.warehouses.bigquery.append_stream import AppendStream, InFlight
from pipeline.warehouses.bigquery.sifting import NoneAcceptedError, sift
from transforms import metrics

T = TypeVar("T")

_LOGGER: Final = logging.getLogger(__name__)
_PERMISSION: Final = "writing needs bigquery.tables.updateData, which the role roles/bigquery.dataEditor has"


class WriteFailed(Exception):
    """Why rows could not be written, and what to do, in one line. The runner tries the bundle again."""


@dataclass(frozen=True)
class SentRows:
    """Rows that were sent, and may not be written yet."""

    rows: Sequence[bytes]
    sent: InFlight


class Appender:
    """Writes batches through a connection, for one thread at a time; counts into `tally`. `rewritten` gives a row that
    is refused other bytes of the same meaning, if there are any."""

    def __init__(
        self, connection: AppendStream, tally: metrics.Tally, rewritten: Callable[[bytes], bytes] = lambda row: row
    ) -> None:
        delivery = connection.delivery
        self._connection = connection
        self._tally = tally
        self._rewritten = rewritten
        self._retrying = Retrying(
            retry=retry_if_exception(self._may_pass),
            wait=wait_random_exponential(multiplier=delivery.first_pause_s, max=delivery.longest_pause_s),
            stop=stop_before_delay(delivery.outage_s),
            before_sleep=self._note_retry,
            reraise=True,
        )

    def send(self, rows: Sequence[bytes]) -> SentRows:
        """Sends a batch, and does not wait for it to be written."""
        return SentRows(rows, self._send(rows))

    def settle(self, batch: SentRows) -> Mapping[int, str]:
        """Waits until every row of a batch is written, but for those that BigQuery refuses: their indexes, and its
        words. Raises WriteFailed where the trouble lies elsewhere, or does not pass in time."""
        rows = list(batch.rows)
        refused: dict[int, str] = {}
        sent: InFlight | None = batch.sent
        parts: list[list[int]] = [list(range(len(rows)))]
        try:
            while parts:
                part = parts.pop()
                parts += [left for left in self._settle(rows, part, sent, refused) if left]
                sent = None
        except (AppendError, NoneAcceptedError) as error:
            raise self.failed(error) from error
        return refused

    def append_at(self, rows: Sequence[bytes], offset: int | None, *, alone: bool = False) -> None:
        """Writes rows at this offset of the stream, or at its end. Raises AppendError where they are not written, or
        not known to be."""

        def append() -> None:
            self._connection.wait(self._send(rows, offset, alone=alone))

        self.retried(append)

    def retried(self, call: Callable[[], T]) -> T:
        """Makes a call until it raises nothing that passes. Raises AppendError."""
        return self._retrying(call)

    def failed(self, error: AppendError | NoneAcceptedError) -> WriteFailed:
        """Why rows could not be written, for whoever reads the log."""
        return WriteFailed(f"{_dotted(self._connection.table)}: {error}; {self._remedy(error)}")

    def _settle(
        self, rows: list[bytes], part: list[int], sent: InFlight | None, refused: dict[int, str]
    ) -> Sequence[list[int]]:
        """Waits for the answer to a part of the rows; returns the parts that are to be sent again. Adds to `refused`,
        and rewrites rows. Raises AppendError and NoneAcceptedError."""
        try:
            self._deliver([rows[index] for index in part], sent)
        except RowsRefused as error:
            bad = {part[index]: words for index, words in error.rows.items()}
            rewritten = self._rewrite(rows, bad)
            refused |= {index: words for index, words in bad.items() if index not in rewritten}
            return [[index for index in part if index not in refused]]
        except RowsSuspected:
            if self._rewrite(rows, part):
                return [part]
            refused |= self._sift(rows, part)
        except RequestTooLarge as error:
            if len(part) == 1:
                refused[part[0]] = f"the row of {len(rows[part[0]])} bytes: {error.words}"
                return []
            self._connection.shrink(sum(len(rows[index]) for index in part))
            half = len(part) // 2
            return [part[:half], part[half:]]
        return []

    def _rewrite(self, rows: list[bytes], indexes: Iterable[int]) -> set[int]:
        """Rewrites rows; returns which have changed. What was rewritten stays as it is from then on."""
        changed = set()
        for index in indexes:
            rewritten = self._rewritten(rows[index])
            if rewritten != rows[index]:
                rows[index] = rewritten
                changed.add(index)
        return changed

    def _sift(self, rows: Sequence[bytes], part: Sequence[int]) -> Mapping[int, str]:
        """Writes the rows of a part that are not refused alone; returns BigQuery's words for those that are. Raises
        AppendError and NoneAcceptedError."""

        def ask(indexes: Sequence[int]) -> AppendError | None:
            try:
                self._deliver([rows[part[index]] for index in indexes], None, alone=True)
            except (RowsRefused, RowsSuspected, RequestTooLarge) as error:
                self._connection.refused_alone += len(indexes) == 1
                return error
            return None

        sifted = sift(len(part), ask, lambda: self._connection.accepts_rows)
        return {part[index]: words_of(error) for index, error in sifted.items()}

    def _deliver(self, rows: Sequence[bytes], sent: InFlight | None, *, alone: bool = False) -> None:
        """Waits for the answer to rows that were sent, and sends them until there is one that will not change."""

        def deliver() -> None:
            nonlocal sent
            append, sent = sent or self._send(rows, alone=alone), None
            self._connection.wait(append)

        self._retrying(deliver)

    def _send(self, rows: Sequence[bytes], offset: int | None = None, *, alone: bool = False) -> InFlight:
        append = self._connection.send(rows, offset, alone=alone)
        table = self._connection.table.rpartition("/")[2]
        self._tally[metrics.APPENDS.of(table)] += 1
        if append.opened_stream:
            self._tally[metrics.STREAMS.of(table)] += 1
        metrics.observe(metrics.APPEND_BYTES, append.size)
        metrics.observe(metrics.IN_FLIGHT, self._connection.in_flight_bytes)
        return append

    def _may_pass(self, error: BaseException) -> bool:
        if isinstance(error, NotYetKnown):
            return time.monotonic() - self._connection.made_at < self._connection.delivery.news_s
        return isinstance(error, Transient)

    def _note_retry(self, state: RetryCallState) -> None:
        error = state.outcome and state.outcome.exception()
        if isinstance(error, AppendError):
            self._tally[metrics.APPEND_RETRIES.of(error.code.name)] += 1
        level = logging.WARNING if state.attempt_number > 1 else logging.INFO
        _LOGGER.log(level, "%s: %s; trying again", _dotted(self._connection.table), error)

    def _remedy(self, error: AppendError | NoneAcceptedError) -> str:
        if isinstance(error, NoneAcceptedError):
            return "no row is accepted, so this may concern all: python -m schemas create says how the table differs"
        if isinstance(error, Transient):
            return f"this did not pass in {self._connection.delivery.outage_s:g} s"
        if isinstance(error, NotYetKnown):
            missing = "python -m schemas create makes the tables and columns that are missing"
            return f"{_PERMISSION}; {missing}" if error.code is grpc.StatusCode.PERMISSION_DENIED else missing
        if error.code is grpc.StatusCode.PERMISSION_DENIED:
            return _PERMISSION
        return "trying again would not help"


def words_of(refusal: AppendError) -> str:
    """BigQuery's words on a row that was refused alone."""
    return refusal.rows.get(0, refusal.words) if isinstance(refusal, RowsRefused) else refusal.words


def _dotted(table: str) -> str:
    """`project.dataset.table` of a resource name."""
    return ".".join(table.split("/")[1::2])
