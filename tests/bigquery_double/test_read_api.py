"""The double's Storage Read API gives a table's rows as they were, in streams that can be resumed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pytest
from google.api_core.exceptions import GoogleAPICallError, InvalidArgument, NotFound, OutOfRange
from google.cloud.bigquery import Client
from google.cloud.bigquery_storage_v1 import BigQueryReadClient, types

from tests.bigquery_double import BigQueryDouble, clients
from tests.bigquery_double.clients import Appender
from tests.bigquery_double.conftest import NOW

TABLE = "project.dataset.calls"
ROWS = 4_500


@pytest.fixture
def reader(double: BigQueryDouble) -> BigQueryReadClient:
    return clients.read(double)


@pytest.fixture
def calls(double: BigQueryDouble) -> Client:
    client = clients.rest(double)
    client.query_and_wait(f"CREATE TABLE `{TABLE}` (id INT64, payload STRING, traits JSON, written_at TIMESTAMP)")
    columns = {"id": "int64", "payload": "string", "traits": "string", "written_at": "int64"}
    appender = Appender(double, TABLE, columns)
    rows = [{"id": n, "payload": f"é{n}", "traits": "{ }", "written_at": NOW + n} for n in range(ROWS)]
    appender.append(*rows)
    return client


def session(
    reader: BigQueryReadClient, *, fields: Sequence[str] = (), where: str = "", streams: int = 0, table: str = "calls"
) -> types.ReadSession:
    asked = types.ReadSession(
        table=f"projects/project/datasets/dataset/tables/{table}",
        data_format=types.DataFormat.ARROW,
        read_options=types.ReadSession.TableReadOptions(selected_fields=fields, row_restriction=where),
    )
    return reader.create_read_session(parent="projects/project", read_session=asked, max_stream_count=streams)


def read(reader: BigQueryReadClient, made: types.ReadSession) -> list[dict[str, Any]]:
    return [row for stream in made.streams for row in reader.read_rows(stream.name).to_arrow(made).to_pylist()]


def test_the_streams_hold_each_row_once(reader: BigQueryReadClient, calls: Client) -> None:
    made = session(reader, streams=3)
    assert len(made.streams) == 3
    assert made.estimated_row_count == ROWS
    rows = read(reader, made)
    assert sorted(row["id"] for row in rows) == [*range(ROWS)]
    assert rows[7].keys() == {"id", "payload", "traits", "written_at"}
    assert (rows[7]["payload"], rows[7]["traits"]) == ("é7", "{ }")


def test_the_schema_tells_json_and_times_in_utc(reader: BigQueryReadClient, calls: Client) -> None:
    schema = pa.ipc.read_schema(pa.py_buffer(session(reader).arrow_schema.serialized_schema))
    assert schema.field("written_at").type == pa.timestamp("us", "UTC")
    assert schema.field("traits").metadata == {b"ARROW:extension:name": b"google:sqlType:json"}


def test_columns_and_rows_can_be_chosen(reader: BigQueryReadClient, calls: Client) -> None:
    until = "TIMESTAMP '2023-11-14 22:13:20.000004+00:00'"
    made = session(reader, fields=["written_at", "id"], where=f"written_at <= {until}")
    rows = read(reader, made)
    assert [[*row] for row in rows] == [["id", "written_at"]] * 5, "columns in the table's order"
    assert sorted(row["id"] for row in rows) == [0, 1, 2, 3, 4]


def test_a_session_reads_what_was_there_when_it_was_made(
    double: BigQueryDouble, reader: BigQueryReadClient, calls: Client
) -> None:
    made = session(reader)
    calls.query_and_wait(f"INSERT INTO `{TABLE}` (id) VALUES (-1)")
    assert len(read(reader, made)) == ROWS
    assert len(double.rows(TABLE)) == ROWS + 1


def test_a_table_without_rows_has_no_streams(reader: BigQueryReadClient, calls: Client) -> None:
    made = session(reader, where="id < 0")
    assert (len(made.streams), made.estimated_row_count) == (0, 0)


def test_a_broken_stream_is_resumed_where_it_broke(
    double: BigQueryDouble, reader: BigQueryReadClient, calls: Client
) -> None:
    double.faults.break_read(after=1_500)
    made = session(reader, streams=1)
    assert sorted(row["id"] for row in read(reader, made)) == [*range(ROWS)]
    name = made.streams[0].name
    assert double.requests.reads == [(name, 0), (name, 2_000)]


def test_a_stream_can_be_read_from_any_row(reader: BigQueryReadClient, calls: Client) -> None:
    made = session(reader, streams=1)
    rows = reader.read_rows(made.streams[0].name, offset=ROWS - 3).to_arrow(made)
    assert rows.column("id").to_pylist() == [ROWS - 3, ROWS - 2, ROWS - 1]
    with pytest.raises(OutOfRange):
        reader.read_rows(made.streams[0].name, offset=ROWS + 1).to_arrow(made)


REFUSED: list[tuple[str, dict[str, Any], type[GoogleAPICallError], str]] = [
    ("no such table", {"table": "zork"}, NotFound, "Not found: Table"),
    ("no such column", {"fields": ["zork"]}, InvalidArgument, "zork"),
    ("a restriction that is no SQL", {"where": "id <"}, InvalidArgument, "row restriction"),
    ("a restriction on no column", {"where": "zork = 1"}, InvalidArgument, "row restriction"),
    ("a view", {"table": "seen"}, InvalidArgument, "is a view"),
    ("changes that are not merged", {"table": "contacts"}, InvalidArgument, "max_staleness"),
]


@pytest.mark.parametrize(("asked", "error", "words"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
def test_what_cannot_be_read_is_refused(
    double: BigQueryDouble,
    reader: BigQueryReadClient,
    calls: Client,
    asked: dict[str, Any],
    error: type[GoogleAPICallError],
    words: str,
) -> None:
    calls.query_and_wait(f"CREATE VIEW dataset.seen AS SELECT id FROM `{TABLE}`")
    calls.query_and_wait("CREATE TABLE dataset.contacts (id STRING, PRIMARY KEY (id) NOT ENFORCED)")
    appender = Appender(double, "project.dataset.contacts", {"id": "string", "_CHANGE_TYPE": "string"})
    appender.append({"id": "a", "_CHANGE_TYPE": "UPSERT"})
    with pytest.raises(error, match=words):
        session(reader, **asked)


def test_changes_can_be_read_within_a_staleness(
    double: BigQueryDouble, reader: BigQueryReadClient, calls: Client
) -> None:
    calls.query_and_wait(
        "CREATE TABLE dataset.contacts (id STRING, PRIMARY KEY (id) NOT ENFORCED) "
        "OPTIONS (max_staleness = INTERVAL 15 MINUTE)"
    )
    appender = Appender(double, "project.dataset.contacts", {"id": "string", "_CHANGE_TYPE": "string"})
    appender.append({"id": "a", "_CHANGE_TYPE": "UPSERT"}, {"id": "a", "_CHANGE_TYPE": "UPSERT"})
    assert read(reader, session(reader, table="contacts")) == [{"id": "a"}]
