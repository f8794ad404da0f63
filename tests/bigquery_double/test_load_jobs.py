"""Load jobs on the double, by Google's own client."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from typing import Any

import pytest
from google.api_core.exceptions import BadRequest, Conflict, Forbidden, GoogleAPICallError
from google.cloud import bigquery as google
from google.cloud.bigquery import LoadJob, LoadJobConfig, SchemaField, TimePartitioning

from tests.bigquery_double import BigQueryDouble
from tests.bigquery_double.clients import rest
from tests.bigquery_double.tables import DAY

TABLE = "project.dataset.table"
COLUMNS = [
    SchemaField("id", "STRING", "REQUIRED"),
    SchemaField("at", "TIMESTAMP"),
    SchemaField("json", "JSON"),
    SchemaField("bytes", "BYTES"),
    SchemaField("count", "INTEGER"),
    SchemaField("share", "FLOAT"),
    SchemaField("is_true", "BOOLEAN"),
    SchemaField("day", "DATE"),
    SchemaField("names", "STRING", "REPEATED"),
    SchemaField("places", "RECORD", "REPEATED", fields=[SchemaField("key", "STRING", "REQUIRED")]),
]
CONFIG = LoadJobConfig(
    source_format="NEWLINE_DELIMITED_JSON", create_disposition="CREATE_NEVER", write_disposition="WRITE_APPEND"
)
LARGE = b"x" * 6_000_000
"""Google's client uploads this in chunks."""


@pytest.fixture
def double() -> Iterator[BigQueryDouble]:
    with BigQueryDouble() as served:
        yield served


@pytest.fixture
def client(double: BigQueryDouble) -> google.Client:
    made = rest(double)
    made.create_dataset("dataset")
    table = google.Table(TABLE, COLUMNS)
    table.time_partitioning = TimePartitioning(field="at")
    made.create_table(table)
    return made


def load(client: google.Client, content: bytes, job_id: str | None = None) -> LoadJob:
    return client.load_table_from_file(io.BytesIO(content), TABLE, size=len(content), job_id=job_id, job_config=CONFIG)


VALUES: list[tuple[str, bytes, dict[str, Any]]] = [
    ("a text", b'{"id": "\xc3\xa9\\n"}', {"id": "\u00e9\n"}),
    ("a null is none", b'{"id": "a", "at": null, "names": []}', {"at": None, "names": []}),
    ("a time", b'{"id": "a", "at": "1971-01-02T03:04:05.000006Z"}', {"at": 31_633_445_000_006}),
    ("a time of UTC", b'{"id": "a", "at": "1971-01-02 03:04:05 UTC"}', {"at": 31_633_445_000_000}),
    ("a time in year 1", b'{"id": "a", "at": "0001-01-01T00:00:00.000001Z"}', {"at": -62_135_596_799_999_999}),
    ("a time with an offset", b'{"id": "a", "at": "1971-01-02 03:04:05+01:00"}', {"at": 31_629_845_000_000}),
    ("JSON as it is written", b'{"id": "a", "json": {"k" : 1.50}}', {"json": '{"k" : 1.50}'}),
    ("JSON that is a text", b'{"id": "a", "json": "{}"}', {"json": '"{}"'}),
    ("bytes in base64", b'{"id": "a", "bytes": "/wA="}', {"bytes": b"\xff\0"}),
    ("integers", b'{"id": "a", "count": "9223372036854775807"}', {"count": 2**63 - 1}),
    ("other scalars", b'{"id": "a", "share": 0.5, "is_true": true, "day": "1970-01-03"}', {"share": 0.5, "day": 2}),
    ("arrays and structs", b'{"id": "a", "names": ["x"], "places": [{"key": "k"}]}', {"places": [{"key": "k"}]}),
    ("names in any case", b'{"ID": "a"}', {"id": "a"}),
]


@pytest.mark.parametrize(("what", "line", "expected"), VALUES, ids=[each[0] for each in VALUES])
def test_values_are_stored(
    what: str, line: bytes, expected: dict[str, Any], double: BigQueryDouble, client: google.Client
) -> None:
    job = load(client, line + b"\n")
    assert (job.exception(), job.output_rows) == (None, 1)
    (row,) = double.rows(TABLE)
    assert {name: row[name] for name in expected} == expected


REFUSED: list[tuple[str, bytes, str]] = [
    ("no JSON", b'{"id": "a"', "Parser terminated before end of string"),
    ("no object", b'["a"]', "Parser terminated before end of string"),
    ("an unknown field", b'{"id": "a", "other": 1}', r"No such field: other\."),
    ("an unknown field of a struct", b'{"id": "a", "places": [{"key": "k", "b": 1}]}', r"No such field: places\.b\."),
    ("nothing where there must be something", b"{}", "Only optional fields can be set to NULL. Field: id; Value: NULL"),
    ("null where there must be something", b'{"id": null}', "Only optional fields can be set to NULL. Field: id;"),
    ("a number for a text", b'{"id": 3}', "Could not convert value to string. Field: id; Value: 3"),
    ("no time", b'{"id": "a", "at": "yesterday"}', "Could not convert value to timestamp. Field: at;"),
    ("a time after 9999", b'{"id": "a", "at": 1e12}', "Could not convert value to timestamp"),
    ("no base64", b'{"id": "a", "bytes": "\\u00e9"}', "Could not convert value to bytes"),
    ("too large a number", b'{"id": "a", "count": "9223372036854775808"}', "Could not convert value to int64"),
    ("a number beyond FLOAT64", b'{"id": "a", "json": [1e400]}', "Could not convert value to json"),
    ("null in an array", b'{"id": "a", "names": [null]}', "Could not convert value to string"),
]


@pytest.mark.parametrize(("what", "line", "words"), REFUSED, ids=[each[0] for each in REFUSED])
def test_a_row_that_is_refused_is_named_and_costs_the_whole_load(
    what: str, line: bytes, words: str, double: BigQueryDouble, client: google.Client
) -> None:
    job = load(client, b'{"id": "a"}\n\n' + line + b"\n")
    with pytest.raises(BadRequest, match=r"too many errors, giving up. Rows: 2; errors: 1\."):
        job.result()
    assert job.errors is not None
    _, error = job.errors
    assert error["reason"] == "invalid"
    assert error["message"].startswith("Error while reading data, error message: JSON parsing error in row starting ")
    assert re.search(f"position 13: {words}", error["message"])
    assert double.rows(TABLE) == []


@pytest.mark.parametrize(("named", "expected"), [(0, 0), (5, 5), (100, 7)])
def test_not_every_bad_row_is_named(named: int, expected: int, double: BigQueryDouble, client: google.Client) -> None:
    double.loads.named_errors = named
    job = load(client, b'{"id": 1}\n' * 7 + b'{"id": "a"}\n')
    with pytest.raises(BadRequest):
        job.result()
    assert job.errors is not None
    assert len(job.errors) == 1 + expected


@pytest.mark.parametrize("content", [b'{"id": "a"}\n', b'{"id": "%s"}\n' % LARGE, b'{"id": "%s"}' % LARGE])
def test_a_job_is_run_once_by_its_id(content: bytes, double: BigQueryDouble, client: google.Client) -> None:
    load(client, content, "mine").result()
    with pytest.raises(Conflict, match="Already Exists: Job project:mine"):
        load(client, content, "mine")
    found = client.get_job("mine")
    assert isinstance(found, LoadJob)
    assert (found.state, found.output_rows, found.error_result) == ("DONE", 1, None)
    assert [job.id for job in double.loads.ended] == ["mine"]
    assert len(double.rows(TABLE)) == 1


def days(first: int, count: int) -> bytes:
    return b"".join(b'{"id": "a", "at": %d}\n' % ((first + day) * DAY // 1_000_000) for day in range(count))


def test_every_day_is_taken_but_not_too_many_at_a_time(double: BigQueryDouble, client: google.Client) -> None:
    load(client, days(-3_000, 4_000)).result()
    with pytest.raises(BadRequest, match="Too many partitions produced by the job, allowed 4000, it produces 4001"):
        load(client, days(0, 4_001)).result()
    load(client, days(1_000, 4_000)).result()
    with pytest.raises(Forbidden, match=r"Too many partitions of project:dataset\.table, allowed 10000"):
        load(client, days(5_000, 2_001)).result()
    load(client, days(5_000, 2_000)).result()
    assert len(double.rows(TABLE)) == 10_000


def test_it_fails_as_it_is_told_to(double: BigQueryDouble, client: google.Client) -> None:
    double.loads.failures = ["backendError", "quotaExceeded"]
    for code in (500, 403):
        with pytest.raises(GoogleAPICallError) as raised:
            load(client, b'{"id": "a"}\n').result()
        assert raised.value.code == code
    load(client, b'{"id": "a"}\n').result()
    assert len(double.rows(TABLE)) == 1
