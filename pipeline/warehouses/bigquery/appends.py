"""Writes batches of rows: each row is written, or BigQuery has refused it."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import grpc
from tenacity import RetryCallState, Retrying, retry_if_exception, stop_before_delay, wait_random_exponential

from pipeline.warehouses.bigquery.answers import AppendError, NotYetKnown, RequestTooLarge, RowsRefused, Transient
from pipeline.warehouses.bigquery.append_stream import AppendStream, InFlight
from transforms import metrics

_LOGGER: Final = logging.getLogger(__name__)


class WriteFailed(Exception):
    """Why rows could not be written, and what to do, in one line. The runner tries the bundle again."""


@dataclass(frozen=True)
class SentRows:
    """Rows that were sent, and may not be written yet."""

    rows: Sequence[bytes]
    sent: InFlight


class Appender:
    """Writes batches through a connection, for one thread at a time; counts into `tally`."""

    def __init__(self, connection: AppendStream, tally: metrics.Tally) -> None:
        delivery = connection.delivery
        self._connection = connection
        self._tally = tally
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
        refused: dict[int, str] = {}
        sent: InFlight | None = batch.sent
        parts = [list(range(len(batch.rows)))]
        while parts:
            part = parts.pop()
            try:
                self._deliver([batch.rows[index] for index in part], sent)
            except RowsRefused as error:
                bad = {part[index]: words for index, words in error.rows.items()}
                refused |= bad
                parts.append([index for index in part if index not in bad])
            except RequestTooLarge as error:
                if len(part) == 1:
                    refused[part[0]] = f"the row of {len(batch.rows[part[0]])} bytes: {error.words}"
                else:
                    half = len(part) // 2
                    parts += part[:half], part[half:]
                    self._connection.shrink(sum(len(batch.rows[index]) for index in part))
            except AppendError as error:
                raise WriteFailed(f"{_dotted(self._connection.table)}: {error}; {self._remedy(error)}") from error
            parts = [part for part in parts if part]
            sent = None
        return refused

    def _deliver(self, rows: Sequence[bytes], sent: InFlight | None) -> None:
        """Waits for the answer to rows that were sent, and sends them until there is one that will not change."""

        def deliver() -> None:
            nonlocal sent
            append, sent = sent or self._send(rows), None
            self._connection.wait(append)

        self._retrying(deliver)

    def _send(self, rows: Sequence[bytes]) -> InFlight:
        append = self._connection.send(rows)
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

    def _remedy(self, error: AppendError) -> str:
        if isinstance(error, Transient):
            return f"this did not pass in {self._connection.delivery.outage_s:g} s"
        if isinstance(error, NotYetKnown):
            return "python -m schemas create makes the tables and columns that are missing"
        if error.code is grpc.StatusCode.PERMISSION_DENIED:
            return "writing needs bigquery.tables.updateData, which the role roles/bigquery.dataEditor has"
        return "trying again would not help"


def _dotted(table: str) -> str:
    """`project.dataset.table` of a resource name."""
    return ".".join(table.split("/")[1::2])
