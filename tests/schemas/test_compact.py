"""Copies of events go, and the first of each message stays, on BigQuery's double."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from google.cloud import bigquery

from pipeline.schema_command import main
from pipeline.warehouses.bigquery import ddl
from pipeline.warehouses.bigquery.catalog import connect, create
from pipeline.warehouses.bigquery.dataset import Dataset
from schemas import compact, tables
from tests.bigquery_double import BigQueryDouble
from tests.schemas import googlesql

SALES = Dataset("acme-data", "sales")
URL = "--warehouse=bigquery://acme-data/sales"
DAYS = ("2024-05-01", "2024-05-02", "2024-05-03")
TIMES = {"first_at": "INT64", "last_at": "INT64"}


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Iterator[bigquery.Client]:
    with BigQueryDouble() as served:
        monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", served.rest_url)
        client = connect(SALES.project)
        create(client, SALES)
        yield client


def append(client: bigquery.Client, *rows: tuple[str, str, str]) -> None:
    for message_id, name, day in rows:
        client.query_and_wait(
            f"INSERT INTO `{SALES}.events` (message_id, type, name, timestamp, received_at, connection, properties,"
            f" context) VALUES ('{message_id}', 'Page', '{name}', TIMESTAMP '{DAYS[0]} 00:00:00+00',"
            f""" TIMESTAMP '{day} 00:00:00+00', 'web', JSON '{{"a": 1}}', JSON '{{}}')"""
        )


def events(client: bigquery.Client) -> list[tuple[str, str]]:
    rows = client.query_and_wait(f"SELECT message_id, name FROM `{SALES}.events` ORDER BY 1, 2")
    return [row.values() for row in rows]


def test_the_copy_that_came_first_stays(client: bigquery.Client, capsys: pytest.CaptureFixture[str]) -> None:
    append(client, ("late", "copy", DAYS[1]), ("late", "first", DAYS[0]), ("late", "copy", DAYS[2]))
    append(client, ("same", "same", DAYS[1]), ("same", "same", DAYS[1]), ("once", "once", DAYS[1]))
    assert main(["compact", URL]) == 0
    assert events(client) == [("late", "first"), ("once", "once"), ("same", "same")]
    assert main(["compact", URL]) == 0
    assert events(client) == [("late", "first"), ("once", "once"), ("same", "same")]
    said = "bigquery://acme-data/sales: {} of events removed\n"
    assert capsys.readouterr().out == said.format("3 copies") + said.format("0 copies")


def test_an_empty_table_has_no_copies(client: bigquery.Client) -> None:
    assert main(["compact", URL]) == 0


def test_the_script_for_a_clock_is_printed(client: bigquery.Client, capsys: pytest.CaptureFixture[str]) -> None:
    append(client, ("same", "same", DAYS[1]), ("same", "same", DAYS[1]))
    assert main(["compact", URL, "--print"]) == 0
    script = capsys.readouterr().out
    assert script.startswith("DECLARE first_at, last_at TIMESTAMP;\nSET ")
    assert script.count("`acme-data`.`sales`.`events`") == script.count("events")
    assert len(events(client)) == 2


def test_a_file_holds_each_message_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compact", "--warehouse=duckdb:///a.duckdb"]) == 0
    assert capsys.readouterr().out == "duckdb:///a.duckdb holds each message once\n"
    assert main(["compact", "--warehouse=duckdb:///a.duckdb", "--print"]) == 2
    assert "--print: a file holds each message once; leave it out" in capsys.readouterr().err


def test_googlesql_takes_each_statement() -> None:
    dataset = googlesql.available()
    dataset.create(ddl.create_table(tables.EVENTS))
    dataset.analyze(compact.COPIES)
    dataset.analyze(compact.REMOVE_COPIES, **TIMES)
    _, found, removed, end = compact.SCRIPT.split(";\n", 3)
    assert found.startswith("SET (first_at, last_at) = (\n")
    dataset.analyze(found.removeprefix("SET (first_at, last_at) = (").removesuffix(")"))
    condition, _, merge = removed.partition("\n")
    assert (condition, end) == ("IF first_at IS NOT NULL THEN", "END IF;")
    of_script = re.sub(r"(?<![.\w])(first_at|last_at)\b", r"@\1", merge)
    dataset.analyze(of_script, first_at="TIMESTAMP", last_at="TIMESTAMP")
