"""Asks BigQuery's Storage Write API what its documentation leaves open, and prints each answer as it is.

    python -m templates.append_probe --warehouse=bigquery://PROJECT/DATASET

It makes two small tables in the dataset, which must exist, appends a row at a time, and leaves the tables to be looked
at. `templates/first_hour.sh` runs it; docs/unproven.md says what depends on each answer, and the last line of an answer
which file of the double gives it in tests.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Annotated, Any, Final

import grpc
import msgspec

from transforms.core import google_clients

try:
    from google.api_core.exceptions import GoogleAPICallError
    from google.cloud import bigquery
    from google.cloud.bigquery_storage_v1 import BigQueryWriteClient, types
    from google.cloud.bigquery_storage_v1.types import AppendRowsRequest, AppendRowsResponse
    from grpc_status import rpc_status
except ImportError as error:
    sys.exit(f"templates.append_probe: {google_clients.missing(error)}")

from pipeline.warehouses.bigquery import catalog, ddl
from pipeline.warehouses.bigquery.changes import CHANGE_SEQUENCE_NUMBER, CHANGE_TYPE, DELETE, UPSERT, sequence_number
from pipeline.warehouses.bigquery.clients import write_client
from pipeline.warehouses.bigquery.dataset import Dataset, UnusableDatasetError, dataset
from pipeline.warehouses.bigquery.protobuf import RowEncoder
from schemas.tables import Json, Row, Table, Timestamp, Write

Print = Callable[[str], None]

_CODES: Final = {code.value[0]: code.name for code in grpc.StatusCode}
_ANSWER_S: Final = 60.0
_NEWS_S: Final = 300.0
"""How long a table that was made a moment ago is asked for: as long as the job does."""


class _Appended(Row, frozen=True):
    """Rows as events are: a day and JSON."""

    id: Annotated[str, "the question"]
    received_at: Annotated[Timestamp, "the partition"]
    payload: Annotated[Json | None, "a document"] = None


class _Keyed(Row, frozen=True):
    """Rows as contacts are: a key, changed."""

    id: Annotated[str, "the key"]
    value: Annotated[str | None, "what was written last"] = None


APPENDED: Final = Table("append_probe", _Appended, Write.APPEND, ("id",), partition_by="received_at")
KEYED: Final = Table("change_probe", _Keyed, Write.UPSERT, ("id",), cluster_by=("id",))

NUMBERS: Final = (
    *("67.174118", "1760509016.282637", "67.17411800000001", "0.1", "1.0", "1e2", "-0", "18446744073709551615"),
    *("18446744073709551616", "123456789012345678901234567890", "1e308", "1e309"),
)
"""Numbers in JSON: the first two lose digits in an exact parse."""

DAYS: Final = {
    "now": timedelta(),
    "six years old": timedelta(days=-6 * 365),
    "ten years and a week old": timedelta(days=-3657),
    "eleven years old": timedelta(days=-11 * 365),
    "358 days ahead": timedelta(days=358),
    "two years ahead": timedelta(days=730),
}
"""Partitions."""


@dataclass
class Probe:
    """The questions, each to one dataset. `say` gets every line; `pause` is waited between two tries."""

    dataset: Dataset
    say: Print
    pause: float = 1.0
    client: bigquery.Client = field(init=False)
    writer: BigQueryWriteClient = field(init=False)
    encoders: dict[str, RowEncoder] = field(init=False)

    def __post_init__(self) -> None:
        self.client = catalog.connect(self.dataset.project)
        self.writer = write_client()
        self.encoders = {table.name: RowEncoder(table) for table in (APPENDED, KEYED)}

    def ask(self, questions: Iterable[Callable[[Probe], None]]) -> None:
        """Asks these, one after the other. What one of them cannot be asked for is reply, and the next is asked."""
        for question in questions:
            try:
                question(self)
            except GoogleAPICallError as error:
                self.answer(f"{error.code} {type(error).__name__}: {error.message}")

    def make(self, table: Table) -> None:
        self.client.query_and_wait(ddl.create_table(table, str(self.dataset)))

    def path(self, table: Table, stream: str = "/streams/_default") -> str:
        return f"projects/{self.dataset.project}/datasets/{self.dataset.name}/tables/{table.name}{stream}"

    def row(self, name: str, payload: str | None = None, received: timedelta = timedelta()) -> bytes:
        received_at = datetime.now(timezone.utc) + received
        micros = Timestamp(int(received_at.timestamp() * 1_000_000))
        document = None if payload is None else msgspec.Raw(payload.encode())
        return self.encoders[APPENDED.name].encode(_Appended(name, micros, document))

    def append(self, stream: str, rows: Sequence[bytes], table: Table = APPENDED, offset: int | None = None) -> str:
        """BigQuery's answer to one request on a connection of its own, in one or more lines."""
        request = AppendRowsRequest.pb()(write_stream=stream, trace_id="segment-bigquery")
        request.proto_rows.writer_schema.proto_descriptor.CopyFrom(self.encoders[table.name].descriptor)
        request.proto_rows.rows.serialized_rows.extend(rows)
        if offset is not None:
            request.offset.value = offset
        append_rows: Any = self.writer.transport.append_rows
        metadata = [("x-goog-request-params", f"write_stream={stream}")]
        try:
            call = append_rows(iter([AppendRowsRequest.wrap(request)]), metadata=metadata, timeout=_ANSWER_S)
            return answered(AppendRowsResponse.pb(next(call)))
        except grpc.RpcError as error:
            return ended(error)

    def title(self, question: str) -> None:
        self.say(f"\n-- {question}")

    def answer(self, text: str, of: str = "") -> None:
        for line in text.splitlines():
            self.say(f"   {of + ': ' if of else ''}{line}")

    def belongs(self, file: str) -> None:
        self.say(f"   belongs in: tests/bigquery_double/{file}")

    def stored(self, statement: str) -> Iterator[str]:
        for row in self.client.query_and_wait(statement):
            yield " ".join(map(str, row.values()))


def answered(response: Any) -> str:
    """An answer, in lines: `OK`, or the error with its details and the rows that it names."""
    if not response.HasField("error") and not response.row_errors:
        offset = (
            f" at offset {response.append_result.offset.value}" if response.append_result.HasField("offset") else ""
        )
        return f"OK{offset}"
    lines = [f"{_CODES.get(response.error.code, response.error.code)}: {response.error.message}"]
    lines += [f"detail {_flat(detail)}" for detail in response.error.details]
    for error in response.row_errors:
        lines.append(f"row {error.index}: {types.RowError.RowErrorCode(error.code).name}: {error.message}")
    return "\n".join(lines)


def ended(error: grpc.RpcError) -> str:
    """How a connection ended, in lines."""
    call: Any = error
    status = rpc_status.from_call(call)
    details = () if status is None else status.details
    return "\n".join([f"the connection ended: {call.code().name}: {call.details()}", *map(_flat, details)])


def _flat(message: Any) -> str:
    return " ".join(str(message).split())


# ---- the questions ----


def when_is_a_new_table_known(probe: Probe) -> None:
    probe.title("a table made a moment ago: from when on does a stream take its rows, and what is said until then?")
    probe.make(APPENDED)
    started, before = time.monotonic(), ""
    while time.monotonic() - started < _NEWS_S:
        reply = probe.append(probe.path(APPENDED), [probe.row("new table")])
        if reply != before:
            probe.answer(reply, f"after {time.monotonic() - started:.1f} s")
            before = reply
        if reply.startswith("OK"):
            break
        time.sleep(probe.pause)
    probe.belongs("write_api.py")


def what_is_said_of_a_missing_table(probe: Probe) -> None:
    probe.title("a table that was never made")
    missing = Table("no_such_table", _Appended, Write.APPEND, ("id",))
    probe.answer(probe.append(probe.path(missing), [probe.row("missing")]))
    probe.belongs("write_api.py")


def which_numbers_are_taken(probe: Probe) -> None:
    probe.title("numbers in a JSON column, a row each: is the parse exact, or rounded?")
    for number in NUMBERS:
        row = probe.row(f"number {number}", f'{{"number": {number}}}')
        probe.answer(probe.append(probe.path(APPENDED), [row]), number)
    name = ddl.qualified(APPENDED.name, str(probe.dataset))
    select = f"SELECT id, TO_JSON_STRING(payload) AS stored FROM {name} WHERE id LIKE 'number %' ORDER BY id"
    for line in probe.stored(select):
        probe.answer(line, "stored")
    probe.belongs("json_values.py")


def which_days_are_taken(probe: Probe) -> None:
    probe.title("rows of a partition long ago, or ahead, a row each")
    for day, distance in DAYS.items():
        probe.answer(probe.append(probe.path(APPENDED), [probe.row(day, received=distance)]), day)
    probe.belongs("tables.py")


def which_rows_are_named(probe: Probe) -> None:
    probe.title("three good rows, one with broken JSON and one of eleven years ago in one request: which are named?")
    old = probe.row("old", received=DAYS["eleven years old"])
    rows = [probe.row("a"), probe.row("broken", '{"a":'), probe.row("b"), old, probe.row("c")]
    probe.answer(probe.append(probe.path(APPENDED), rows))
    probe.belongs("write_api.py")


def how_large_a_request_may_be(probe: Probe) -> None:
    probe.title("requests of 9.5 MB, 10.5 MB and 20.5 MB, in rows of a megabyte")
    for half_megabytes in (19, 21, 41):
        rows = [probe.row("large", f'"{"x" * 499_900}"') for _ in range(half_megabytes)]
        probe.answer(probe.append(probe.path(APPENDED), rows), f"{half_megabytes / 2:g} MB")
    probe.belongs("write_api.py")


def what_offsets_do(probe: Probe) -> None:
    probe.title("a created stream of the type COMMITTED: offsets, and what is said of the wrong ones")
    wanted = types.WriteStream(type_=types.WriteStream.Type.COMMITTED)
    stream = probe.writer.create_write_stream(parent=probe.path(APPENDED, ""), write_stream=wanted).name
    for offset, what in ((0, "first"), (0, "the same again"), (5, "beyond the end"), (1, "next")):
        probe.answer(probe.append(stream, [probe.row(what)], offset=offset), f"offset {offset}, {what}")
    probe.answer(str(probe.writer.finalize_write_stream(name=stream).row_count), "rows when finalized")
    probe.answer(str(probe.writer.finalize_write_stream(name=stream).row_count), "rows when finalized again")
    probe.answer(probe.append(stream, [probe.row("late")], offset=2), "offset 2, when finalized")
    probe.answer(probe.append(stream, [probe.row("late")], offset=0), "offset 0 again, when finalized")
    probe.belongs("write_streams.py")


def how_changes_are_ordered(probe: Probe) -> None:
    probe.title("changes of a key: the greatest sequence number stands, of deletes, too")
    probe.make(KEYED)
    changes = [
        ("a", UPSERT, 2, "second"),
        ("a", UPSERT, 1, "first, late"),
        ("b", UPSERT, 1, "first"),
        ("b", DELETE, 2, None),
        ("b", UPSERT, 1, "first, again"),
        ("c", DELETE, 1, None),
        ("c", UPSERT, 2, "after a delete"),
    ]
    for key, kind, version, value in changes:
        change = {CHANGE_SEQUENCE_NUMBER: sequence_number(1, (version,)), CHANGE_TYPE: kind}
        row = probe.encoders[KEYED.name].encode(_Keyed(key, value), **change)
        reply = _until_known(probe, probe.path(KEYED), row)
        probe.answer(reply, f"{kind} of {key} at {version}")
    for line in probe.stored(f"SELECT id, value FROM {ddl.qualified(KEYED.name, str(probe.dataset))} ORDER BY id"):
        probe.answer(line, "stands")
    probe.belongs("tables.py")


def _until_known(probe: Probe, stream: str, row: bytes) -> str:
    """The answer to a row of a keyed table, once the table is known."""
    deadline = time.monotonic() + _NEWS_S
    while True:
        reply = probe.append(stream, [row], KEYED)
        is_known = "NOT_FOUND" not in reply and "PERMISSION_DENIED" not in reply
        if is_known or time.monotonic() > deadline:
            return reply
        time.sleep(probe.pause)


QUESTIONS: Final = (
    when_is_a_new_table_known,
    what_is_said_of_a_missing_table,
    which_numbers_are_taken,
    which_days_are_taken,
    which_rows_are_named,
    how_large_a_request_may_be,
    what_offsets_do,
    how_changes_are_ordered,
)


def main(argv: Sequence[str] | None = None) -> int:
    """Returns 0 when all was asked, whatever was answered, and 2 where the dataset cannot be used."""
    parser = argparse.ArgumentParser(
        prog="python -m templates.append_probe", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--warehouse", required=True, help="bigquery://PROJECT/DATASET")
    url = parser.parse_args(argv).warehouse
    named = dataset(url)
    if named is None:
        parser.error(f"--warehouse={url}: is not the URL of a dataset; give bigquery://PROJECT/DATASET")
    try:
        with catalog.usable():
            Probe(named, lambda line: print(line, flush=True)).ask(QUESTIONS)
    except UnusableDatasetError as error:
        print(f"--warehouse={url}: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
