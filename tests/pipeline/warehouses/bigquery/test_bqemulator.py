"""The warehouse and the job against `bqemulator`, as far as that goes: without keyed rows, since it has no change data
capture. It forgets keys, staleness and the text of views, so that those are made again each time; a column that is
added is in the schema, and not in queries."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from google.cloud import bigquery

from pipeline.options import parse
from pipeline.run import run
from pipeline.warehouses.bigquery import catalog
from pipeline.warehouses.bigquery.dataset import Dataset
from schemas import tables, views
from tests import bqemulator

pytestmark = pytest.mark.timeout(900)  # the first time everything is installed
PROJECT = "acme-data"
TABLES = [f"table {table.name}" for table in tables.ALL]
FORGOTTEN = ("primary key of", "max_staleness of", "view ", "function ")


@pytest.fixture(scope="module")
def emulator() -> Iterator[bqemulator.Emulator]:
    with bqemulator.serve() as served:
        yield served


@pytest.fixture
def client(emulator: bqemulator.Emulator, monkeypatch: pytest.MonkeyPatch) -> bigquery.Client:
    monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", emulator.rest_url)
    monkeypatch.setenv("BIGQUERY_STORAGE_EMULATOR_HOST", emulator.storage_target)
    return catalog.connect(PROJECT)


def ask(client: bigquery.Client, dataset: Dataset, sql: str) -> list[tuple[object, ...]]:
    """The rows of a query on tables and views by their bare names."""
    qualified = re.sub(r"(?<=\b(?:FROM|INTO) )`?(\w+)`?", rf"`{dataset}.\1`", sql)
    return [row.values() for row in client.query_and_wait(qualified)]


def made(client: bigquery.Client, dataset: Dataset, location: str | None = None) -> list[str]:
    """What `create` makes, but for what the emulator forgets each time."""
    return [line for line in catalog.create(client, dataset, location) if not line.startswith(FORGOTTEN)]


def test_everything_is_made_once_and_can_be_queried(client: bigquery.Client) -> None:
    dataset = Dataset(PROJECT, "created")
    assert made(client, dataset, "EU") == [f"dataset {dataset}", *TABLES]
    assert made(client, dataset) == []
    assert client.get_dataset(str(dataset)).location == "EU"
    events = client.get_table(f"{dataset}.events")
    assert events.time_partitioning.field == "received_at"
    assert events.clustering_fields == ["type", "name"]
    assert {field.name: field.description for field in events.schema} == {
        column.name: column.description for column in tables.EVENTS.columns
    }
    for name in (*tables.BY_NAME, *(view.name for view in views.ALL)):
        assert ask(client, dataset, f"SELECT * FROM `{name}`") == []


def test_an_older_warehouse_is_upgraded_with_its_rows(client: bigquery.Client) -> None:
    dataset = Dataset(PROJECT, "upgraded")
    client.create_dataset(str(dataset))
    older = [field for field in map(catalog._field, tables.ACCOUNTS.columns) if field.name != "plan"]
    client.create_table(bigquery.Table(f"{dataset}.accounts", older))
    ask(client, dataset, "INSERT INTO accounts (account_id, name, traits) VALUES ('acme', 'Acme', JSON '{}')")
    assert made(client, dataset) == ["column accounts.plan" if line == "table accounts" else line for line in TABLES]
    assert [(field.name, field.mode) for field in client.get_table(f"{dataset}.accounts").schema][-1] == (
        "plan",
        "NULLABLE",
    )
    assert ask(client, dataset, "SELECT account_id, name FROM accounts") == [("acme", "Acme")]


def call(number: int, type_: str, **more: object) -> bytes:
    message = {
        "messageId": f"m{number}",
        "type": type_,
        "anonymousId": f"a{number % 7}",
        "timestamp": "2026-01-01T00:00:00Z",
        "receivedAt": f"2026-01-0{number % 9 + 1}T00:00:00Z",
    }
    return json.dumps({**message, **more}).encode()


def events() -> Sequence[bytes]:
    pages = [call(number, "page", name="Home", properties={"url": f"https://é/{number}"}) for number in range(100)]
    tracks = [call(number, "track", event="Order Completed", properties={"total": 1.5}) for number in range(100, 150)]
    return [*pages, *tracks, call(150, "screen", name="Inbox")]


def test_a_jobs_events_are_there_and_each_is_shown_once(client: bigquery.Client, tmp_path: Path) -> None:
    dataset = Dataset(PROJECT, "events")
    (tmp_path / "calls.jsonl").write_bytes(b"\n".join([*events(), b"{"]))
    for _ in range(2):
        settings, options = parse([f"--input={tmp_path}/calls.jsonl", f"--warehouse=bigquery://{PROJECT}/events"])
        summary = run(settings, options, "")
        assert summary.outcomes == {"event": 151, "dead_letter": 1}
    found = {name: ask(client, dataset, f"SELECT COUNT(*) FROM {name}")[0][0] for name in ("events", "events_unique")}
    assert found == {"events": 302, "events_unique": 151}
    totals = [
        ask(client, dataset, f"SELECT COUNT(DISTINCT id) FROM {name}")[0][0] for name in ("pages", "tracks", "screens")
    ]
    assert totals == [100, 50, 1]
    query = (
        "SELECT DISTINCT id, url FROM pages WHERE received_at = TIMESTAMP '2026-01-03 00:00:00+00' ORDER BY id LIMIT 2"
    )
    assert ask(client, dataset, query) == [("m11", "https://é/11"), ("m2", "https://é/2")]
    assert ask(client, dataset, "SELECT history_done, ended_at IS NULL FROM jobs") == [(True, False), (True, False)]
    assert ask(client, dataset, "SELECT DISTINCT reason, payload FROM dead_letters") == [("invalid_json", b"{")]
