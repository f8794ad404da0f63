"""Rows to BigQuery by load jobs: those of days that it takes from no stream, in a job that ends.

A load job is free, atomic, and takes rows of every day. It changes at most 4,000 partitions, the jobs of a day at most
30,000 of one table, and a table has at most 10,000 (https://cloud.google.com/bigquery/quotas#partitioned_tables).

The id of a job is made of the run, the table and the rows. A bundle that is tried again asks for a job that exists, and
its rows are loaded once.
"""

from __future__ import annotations

import hashlib
import io
import itertools
import logging
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from google.api_core.exceptions import Conflict, GoogleAPICallError, RetryError, ServerError, TooManyRequests
from google.cloud import bigquery
from google.cloud.bigquery import CreateDisposition, LoadJob, LoadJobConfig, SourceFormat, WriteDisposition
from msgspec import json
from requests import RequestException
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_before_delay, wait_random_exponential

from pipeline.warehouses.base import JobRun
from pipeline.warehouses.bigquery.appends import WriteFailed
from pipeline.warehouses.bigquery.dataset import Dataset
from pipeline.warehouses.bigquery.json_numbers import as_bigquery_writes
from pipeline.warehouses.clock import now_us
from schemas.tables import Column, Mode, Row, Table, Timestamp, Type
from transforms import metrics
from transforms.core import times

_LOGGER: Final = logging.getLogger(__name__)
PARTITIONS: Final = 4_000
"""So many partitions a job may change."""
_POSITION: Final = re.compile(r"row starting at position (\d+)")
_PASSES: Final = frozenset(
    {
        *("backendError", "internalError", "jobBackendError", "jobInternalError", "jobRateLimitExceeded"),
        *("quotaExceeded", "rateLimitExceeded", "stopped", "tableUnavailable", "timeout"),
    }
)
"""Reasons that pass by themselves: https://cloud.google.com/bigquery/docs/error-messages"""
_ANSWER_S: Final = 300.0
"""How long a part of an upload may stay unanswered."""
_BAD_ROWS: Final = "invalid"
_MOST_FAILURES: Final = 200
"""After so many jobs that were refused for the rows of one piece, something else is wrong with all of them."""


@dataclass(frozen=True)
class Loading:
    """How much goes into a load job, and how long BigQuery is tried."""

    piece_bytes: int = 100_000_000
    outage_s: float = 600
    first_pause_s: float = 1
    longest_pause_s: float = 60


class LoadRefused(Exception):
    """A load job that has loaded nothing, because of rows: those that it names, by their index, and its words."""

    def __init__(self, words: str, rows: Mapping[int, str]) -> None:
        super().__init__(words)
        self.words = words
        self.rows = rows


class _Passing(Exception):
    """A request or a load job that failed, and may be accepted later."""

    def __init__(self, reason: str, words: str) -> None:
        super().__init__(words)
        self.reason = reason


class Loader:
    """Loads rows into a table, for one run of the pipeline; counts into `tally`."""

    def __init__(
        self,
        client: bigquery.Client,
        dataset: Dataset,
        table: Table,
        job: JobRun,
        tally: metrics.Tally,
        loading: Loading,
    ) -> None:
        self.table, self.job, self.loading = table, job, loading
        self._client, self._tally = client, tally
        self._destination = f"{dataset}.{table.name}"
        self._location: str = client.get_dataset(str(dataset)).location
        self._fields = _object([column for column in table.columns if column.name != table.written])

    def line(self, row: Row) -> bytes:
        """A row that fits the table as one line of JSON, but for when it is written. Numbers are as BigQuery writes
        them, since it may refuse others (`json_numbers`)."""
        # A line feed that is left in JSON stands between two of its tokens.
        line = json.encode(self._fields(row)).replace(b"\n", b" ").replace(b"\r", b" ")
        return as_bigquery_writes(line.decode()).encode()

    def load(self, lines: Sequence[bytes]) -> Mapping[int, str]:
        """Loads rows, and waits until each is durable, but for those that BigQuery refuses: their indexes, and its
        words. Raises WriteFailed where the trouble lies elsewhere, or does not pass in time."""
        refused: dict[int, str] = {}
        parts = [sorted(range(len(lines)), key=lines.__getitem__)]  # the same rows are the same job, in any order
        failures = 0
        while parts:
            part = parts.pop()
            try:
                self._load([lines[index] for index in part])
            except LoadRefused as problem:
                failures += 1
                if failures == _MOST_FAILURES:
                    raise self._failed(problem.words, f"{failures} load jobs were refused for rows") from None
                named = problem.rows or ({0: problem.words} if len(part) == 1 else {})
                refused |= {part[index]: words for index, words in named.items()}
                rest = [index for index in part if index not in refused]
                half = len(rest) if named else len(rest) // 2
                parts += rest[:half], rest[half:]
            parts = [part for part in parts if part]
        return refused

    def _load(self, lines: Sequence[bytes]) -> None:
        """Loads rows by one job. Raises LoadRefused, with nothing loaded, and WriteFailed."""
        if not lines:
            return
        digest = hashlib.sha256(b"\n".join(lines)).hexdigest()
        name = f"segment_{self.table.name}_{self.job.generation}_{digest[:40]}"
        jobs = (f"{name}_{attempt}" for attempt in itertools.count())
        id = next(jobs)

        def load() -> None:
            nonlocal id
            try:
                self._settle(self._run(id, lines), lines)
            except _Ended:
                id = next(jobs)
                raise

        try:
            self._retrying(load)
        except _Passing as error:
            remedy = f"this did not pass in {self.loading.outage_s:g} s: run the job again later"
            raise self._failed(str(error), remedy) from error

    def _run(self, id: str, lines: Sequence[bytes]) -> LoadJob:
        """The job of an id, which is new or was found, when it has ended. Raises _Passing and WriteFailed."""
        file = io.BytesIO()
        file.writelines(self._written(lines))
        config = LoadJobConfig(
            source_format=SourceFormat.NEWLINE_DELIMITED_JSON,
            create_disposition=CreateDisposition.CREATE_NEVER,
            write_disposition=WriteDisposition.WRITE_APPEND,
        )
        try:
            job: Any
            try:
                job = self._client.load_table_from_file(
                    file,
                    self._destination,
                    rewind=True,
                    size=file.tell(),
                    job_id=id,
                    location=self._location,
                    job_config=config,
                    timeout=_ANSWER_S,
                )
            except Conflict:
                job = self._client.get_job(id, location=self._location)
            assert isinstance(job, LoadJob)
            job.exception()  # waits
        except (GoogleAPICallError, RetryError, RequestException) as error:
            raise self._answer(error) from error
        self._tally[metrics.LOADS.of(self.table.name)] += 1
        return job

    def _settle(self, job: LoadJob, lines: Sequence[bytes]) -> None:
        """Raises LoadRefused, _Ended or WriteFailed for a job that has failed."""
        if job.error_result is None:
            return
        reason, words = str(job.error_result.get("reason")), _words(job)
        if reason == _BAD_ROWS:
            raise LoadRefused(words, _named(job, self._written(lines)))
        if reason in _PASSES:
            raise _Ended(reason, words)
        raise self._failed(words, "trying again would not help")

    def _written(self, lines: Sequence[bytes]) -> Iterator[bytes]:
        """The lines of a file, each with when it is written, where the table has a column for that. They are as long
        whenever that is."""
        end = b"}\n"
        if self.table.written is not None:
            written_at = times.iso(Timestamp(self.job.written_at(now_us())))
            end = f',"{self.table.written}":"{written_at}"}}\n'.encode()
        return (line[:-1] + end for line in lines)

    def _answer(self, error: Exception) -> Exception:
        """What an answer to a request means."""
        reason, words = _reason(error), str(error).partition("\n")[0]
        if reason in _PASSES or isinstance(error, (ServerError, TooManyRequests, RetryError, RequestException)):
            return _Passing(reason, words)
        if reason == "accessDenied":
            return self._failed(words, "loading needs bigquery.jobs.create, and the role roles/bigquery.dataEditor")
        return self._failed(words, "trying again would not help")

    def _failed(self, words: str, remedy: str) -> WriteFailed:
        return WriteFailed(f"{self._destination}: a load job: {words}; {remedy}")

    def _retrying(self, load: Callable[[], None]) -> None:
        loading = self.loading
        Retrying(
            retry=retry_if_exception_type(_Passing),
            wait=wait_random_exponential(multiplier=loading.first_pause_s, max=loading.longest_pause_s),
            stop=stop_before_delay(loading.outage_s),
            before_sleep=self._note_retry,
            reraise=True,
        )(load)

    def _note_retry(self, state: RetryCallState) -> None:
        error = state.outcome and state.outcome.exception()
        if isinstance(error, _Passing):
            self._tally[metrics.LOAD_RETRIES.of(error.reason)] += 1
        _LOGGER.warning("%s: a load job: %s; trying again", self._destination, error)


class _Ended(_Passing):
    """A job that has failed for what passes: another takes its place."""


def _reason(error: Exception) -> str:
    """BigQuery's reason in an error of its REST API, else the name of the error."""
    errors = error.errors if isinstance(error, GoogleAPICallError) else ()
    reasons = (str(detail["reason"]) for detail in errors if isinstance(detail, Mapping) and detail.get("reason"))
    return next(reasons, type(error).__name__)


def _words(job: LoadJob) -> str:
    """Why a job failed, in one line: what it says of a row, where it does."""
    messages = [str(error.get("message")) for error in (*(job.errors or ()), job.error_result or {})]
    words = next((message for message in messages if _POSITION.search(message)), messages[-1])
    return " ".join(words.split())


def _named(job: LoadJob, lines: Iterable[bytes]) -> Mapping[int, str]:
    """The rows that a job names, by their index. It names one by where in the file it begins."""
    begins = {begin: index for index, begin in enumerate(itertools.accumulate(map(len, lines), initial=0))}
    end = max(begins)
    named: dict[int, str] = {}
    for error in job.errors or ():
        words = " ".join(str(error.get("message")).split())
        position = _POSITION.search(words)
        index = None if position is None or int(position[1]) == end else begins.get(int(position[1]))
        if index is not None:
            named[index] = words
    return named


def _object(columns: Sequence[Column]) -> Callable[[Row], dict[str, Any]]:
    """What makes of a row the fields of a JSON object. JSON stands in them as it is, BYTES in base64; NULL is left out.
    https://cloud.google.com/bigquery/docs/loading-data-cloud-storage-json#details_of_loading_json_data"""
    converted = [(column.name, _value(column)) for column in columns]

    def fields(row: Row) -> dict[str, Any]:
        values = ((name, convert, getattr(row, name)) for name, convert in converted)
        return {name: convert(value) for name, convert, value in values if value is not None}

    return fields


def _value(column: Column) -> Callable[[Any], Any]:
    if column.type is Type.TIMESTAMP:
        convert: Callable[[Any], Any] = times.iso
    elif column.type is Type.STRUCT:
        convert = _object(column.fields)
    elif column.type is Type.INT64:
        convert = str  # a number of JSON may lose digits
    else:
        return _as_it_is
    return (lambda values: [convert(value) for value in values]) if column.mode is Mode.REPEATED else convert


def _as_it_is(value: Any) -> Any:
    return value
