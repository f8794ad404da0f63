"""Load jobs: rows of newline-delimited JSON that a client uploads, to tables that exist.

The upload: https://cloud.google.com/bigquery/docs/reference/api-uploads ; the rows:
https://cloud.google.com/bigquery/docs/loading-data-cloud-storage-json#details_of_loading_json_data ; the limits:
https://cloud.google.com/bigquery/quotas#partitioned_tables .
"""

from __future__ import annotations

import base64
import binascii
import itertools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timezone
from email.parser import BytesParser
from email.policy import HTTP
from typing import Any

import msgspec
from msgspec import Raw

from tests.bigquery_double import json_values
from tests.bigquery_double.schema import TIMESTAMPS, Field, RowRefused
from tests.bigquery_double.tables import DAY, Catalog, Refused, Row, Table, TableName
from tests.bigquery_double.values import EPOCH

PARTITIONS_OF_A_JOB, PARTITIONS_OF_A_TABLE = 4_000, 10_000
ROW_BYTES = 100_000_000

Resource = dict[str, Any]

_line = msgspec.json.Decoder(dict[str, Raw]).decode


@dataclass(frozen=True)
class LoadJob:
    """A load job that has ended. `errors` is empty where it has loaded its rows."""

    project: str
    id: str
    location: str
    load: Mapping[str, Any]
    rows: int
    errors: Sequence[Refused]
    created: int

    def resource(self) -> Resource:
        times = {"creationTime": str(self.created), "startTime": str(self.created), "endTime": str(self.created)}
        errors = [{"reason": error.reason, "message": error.message} for error in self.errors]
        failed: Resource = {"errorResult": errors[0], "errors": errors} if errors else {}
        return {
            "kind": "bigquery#job",
            "id": f"{self.project}:{self.location}.{self.id}",
            "jobReference": {"projectId": self.project, "jobId": self.id, "location": self.location},
            "configuration": {"jobType": "LOAD", "load": dict(self.load)},
            "status": {"state": "DONE", **failed},
            "statistics": {**times, "load": {"outputRows": str(0 if errors else self.rows)}},
        }

    def answer(self, *_: object) -> Resource:
        raise Refused("invalid", f"Cannot return query results for a job of the type load: {self.id}")


@dataclass
class Loads:
    """What loads do, and have done: each at once, when its last byte is there."""

    catalog: Catalog
    named_errors: int = 5
    """At most so many bad rows are named in the errors of a job."""
    ended: list[LoadJob] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    """The reasons that the next jobs fail for; an empty one is for a job that does not fail."""
    _uploads: dict[str, tuple[Mapping[str, Any], bytearray]] = field(default_factory=dict)
    _ids: Iterator[int] = field(default_factory=itertools.count)

    def begin(self, resource: Mapping[str, Any]) -> str:
        """Begins a resumable upload; returns its id."""
        id_ = f"upload-{next(self._ids)}"
        self._uploads[id_] = resource, bytearray()
        return id_

    def add(self, upload: str, content: bytes, content_range: str) -> tuple[Mapping[str, Any], bytes] | int:
        """Adds a chunk (`bytes 0-99/*`, `bytes 100-149/150`). Returns the job and its file when that is complete, else
        how many bytes are there."""
        resource, received = self._uploads[upload]
        span, _, total = content_range.removeprefix("bytes ").partition("/")
        if span != "*" and int(span.partition("-")[0]) == len(received):
            received += content
        if total == "*" or int(total) != len(received):
            return len(received)
        del self._uploads[upload]
        return resource, bytes(received)

    def run(self, project: str, id_: str, location: str, load: Mapping[str, Any], content: bytes) -> LoadJob:
        """Raises Refused for what no load job can be."""
        for option, only in (
            ("sourceFormat", ("NEWLINE_DELIMITED_JSON",)),
            ("createDisposition", ("CREATE_NEVER",)),
            ("writeDisposition", ("WRITE_APPEND", None)),
            ("maxBadRecords", (0, None)),
            ("ignoreUnknownValues", (False, None)),
            ("autodetect", (False, None)),
        ):
            if load.get(option) not in only:
                raise Refused("notImplemented", f"this double loads with {option}={only[0]} only")
        to = load["destinationTable"]
        lines = _lines(content)
        errors: list[Refused]
        with self.catalog.lock:
            try:
                table = self.catalog.table(TableName(to["projectId"], to["datasetId"], to["tableId"]))
                errors = self._append(table, lines)
            except Refused as refused:
                errors = [refused]
            job = LoadJob(project, id_, location, load, len(lines), errors, self.catalog.time() // 1000)
        self.ended.append(job)
        return job

    def _append(self, table: Table, lines: Sequence[tuple[int, bytes]]) -> list[Refused]:
        """Appends all rows, or none and gives the errors. Raises Refused."""
        if self.failures and (reason := self.failures.pop(0)):
            raise Refused(reason, "a fault that the test asked for")
        rows: list[Row] = []
        bad: list[Refused] = []
        read = _columns(table.fields, "")
        for position, line in lines:
            try:
                rows.append(tuple(_row(read, line)))
            except RowRefused as error:
                words = f"JSON parsing error in row starting at position {position}: {error}"
                bad.append(Refused("invalid", f"Error while reading data, error message: {words}"))
        if bad:
            many = f"too many errors, giving up. Rows: {len(lines)}; errors: {len(bad)}"
            words = f"Error while reading data, error message: JSON table encountered {many}. Please look into errors[]"
            return [Refused("invalid", words), *bad[: self.named_errors]]
        _check_partitions(table, rows)
        table.append(rows)
        return []


def multipart(content_type: str, body: bytes) -> tuple[Mapping[str, Any], bytes]:
    """The job and the file of an upload in one request."""
    message = BytesParser(policy=HTTP).parsebytes(b"Content-Type: " + content_type.encode() + b"\r\n\r\n" + body)
    boundary = b"--" + str(message.get_boundary()).encode()
    head, file = body.split(boundary)[1:3]
    metadata = head.partition(b"\r\n\r\n")[2]
    return json.loads(metadata), file.partition(b"\r\n\r\n")[2].removesuffix(b"\r\n")


def _lines(content: bytes) -> list[tuple[int, bytes]]:
    """The lines of a file that are not blank, each with its position."""
    found = []
    position = 0
    for line in content.split(b"\n"):
        if line.strip():
            found.append((position, line))
        position += len(line) + 1
    return found


def _check_partitions(table: Table, rows: Sequence[Row]) -> None:
    """Raises Refused for rows of too many days. How old they are does not matter."""
    index = table.partitioned_by
    if index is None:
        return
    days = {row[index] // DAY for row in rows if row[index] is not None}
    if len(days) > PARTITIONS_OF_A_JOB:
        words = f"Too many partitions produced by the job, allowed {PARTITIONS_OF_A_JOB}, it produces {len(days)}"
        raise Refused("invalid", f"{words} partitions")
    days |= {row[index] // DAY for row in table.rows() if row[index] is not None}
    if len(days) > PARTITIONS_OF_A_TABLE:
        words = f"Too many partitions of {table.name}, allowed {PARTITIONS_OF_A_TABLE}"
        raise Refused("quotaExceeded", words)


Read = Callable[[Raw], Any]


def _row(read: Callable[[Mapping[str, Raw]], list[Any]], line: bytes) -> list[Any]:
    if len(line) > ROW_BYTES:
        raise RowRefused(f"Row size is larger than: {ROW_BYTES}.")
    try:
        fields = _line(line)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RowRefused(f"Parser terminated before end of string ({error})") from None
    return read(fields)


def _columns(fields: Sequence[Field], path: str) -> Callable[[Mapping[str, Raw]], list[Any]]:
    """An object's fields to their values, in the order of the columns."""
    index = {each.name.lower(): (number, each, _reader(each)) for number, each in enumerate(fields)}

    def read(given: Mapping[str, Raw]) -> list[Any]:
        values: list[Any] = [[] if each.mode == "REPEATED" else None for each in fields]
        for name, raw in given.items():
            if name.lower() not in index:
                raise RowRefused(f"No such field: {path}{name}.")
            number, each, convert = index[name.lower()]
            if bytes(raw) == b"null" and each.mode != "REPEATED":
                continue
            try:
                values[number] = convert(raw)
            except (ValueError, TypeError, OverflowError, msgspec.DecodeError, binascii.Error):
                words = f"Could not convert value to {each.type.lower()}. Field: {path}{each.name}"
                raise RowRefused(f"{words}; Value: {bytes(raw)[:50].decode(errors='replace')}") from None
        for number, each in enumerate(fields):
            if each.mode == "REQUIRED" and values[number] is None:
                raise RowRefused(f"Only optional fields can be set to NULL. Field: {path}{each.name}; Value: NULL")
        return values

    return read


def _reader(of: Field) -> Read:
    if of.mode == "REPEATED":
        element = _reader(replace(of, mode="NULLABLE"))
        return lambda raw: [element(each) for each in msgspec.json.decode(raw, type=list[Raw])]
    if of.type == "STRUCT":
        names, read = [each.name for each in of.fields], _columns(of.fields, f"{of.name}.")
        return lambda raw: dict(zip(names, read(_line(raw)), strict=True))
    return _READERS[of.type]


def _json(raw: Raw) -> str:
    text = bytes(raw).decode()
    problem = json_values.problem(text)
    if problem:
        raise ValueError(problem)
    return text


def _string(raw: Raw) -> str:
    return msgspec.json.decode(raw, type=str)


def _bool(raw: Raw) -> bool:
    return msgspec.json.decode(raw, type=bool)


def _int64(raw: Raw) -> int:
    number = int(msgspec.json.decode(raw, type=int | str))
    if not -(2**63) <= number < 2**63:
        raise ValueError(number)
    return number


def _float64(raw: Raw) -> float:
    return float(msgspec.json.decode(raw, type=float | str))


def _timestamp(raw: Raw) -> int:
    """https://cloud.google.com/bigquery/docs/reference/standard-sql/data-types#timestamp_type"""
    given = msgspec.json.decode(raw, type=float | int | str)
    if not isinstance(given, str):
        micros = round(given * 1_000_000)
    else:
        moment = datetime.fromisoformat(given.replace(" UTC", "+00:00").replace("Z", "+00:00").replace("/", "-"))
        moment = moment.replace(tzinfo=moment.tzinfo or timezone.utc)
        since = moment - EPOCH
        micros = (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
    if micros not in TIMESTAMPS:
        raise ValueError(given)
    return micros


def _bytes(raw: Raw) -> bytes:
    return base64.b64decode(_string(raw), validate=True)


def _date(raw: Raw) -> int:
    return (date.fromisoformat(_string(raw)) - EPOCH.date()).days


_READERS: Mapping[str, Read] = {
    "STRING": _string,
    "JSON": _json,
    "BOOL": _bool,
    "INT64": _int64,
    "FLOAT64": _float64,
    "TIMESTAMP": _timestamp,
    "BYTES": _bytes,
    "DATE": _date,
}
