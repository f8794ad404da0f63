"""The BigQuery warehouse against the double: how a job starts and ends, what its sweep removes, what a reader sees."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from unittest import mock

import apache_beam as beam
import pytest
from google.cloud import bigquery as google
from msgspec import Raw

from pipeline import audit, explain
from pipeline.__main__ import main
from pipeline.errors import UsageError
from pipeline.warehouses import JobRun, Warehouse, open_warehouse
from pipeline.warehouses.bigquery import catalog, statements
from pipeline.warehouses.bigquery import ddl as bigquery_ddl
from pipeline.warehouses.bigquery.catalog import Dataset
from pipeline.warehouses.bigquery.queries import MAX_STALENESS_LABEL, query_freshest
from schemas.tables import (
    ALL,
    CONTACTS,
    IDENTITIES,
    IDENTITY_CALLS,
    JOBS,
    KEYED,
    Audience,
    Contact,
    Timestamp,
)
from tests.bigquery_double import BigQueryDouble
from tests.rows import NOON, call, label
from tests.schemas import googlesql
from transforms.core.rows import Append, Upsert
from transforms.core.rules_version import RULES_VERSION

URL = "bigquery://acme-data/sales"
SALES = Dataset("acme-data", "sales")
YEAR_US = 365 * 86_400 * 1_000_000


@pytest.fixture
def double() -> Iterator[BigQueryDouble]:
    with BigQueryDouble() as served, mock.patch.dict(os.environ, served.environment):
        yield served


@pytest.fixture
def warehouse(double: BigQueryDouble) -> Iterator[Warehouse]:
    opened = open_warehouse(URL)
    yield opened
    opened.close()


@pytest.fixture
def client(double: BigQueryDouble) -> google.Client:
    return catalog.connect(SALES.project)


def start(warehouse: Warehouse, *, bounded: bool = True, history: bool = True) -> JobRun:
    return warehouse.start(bounded=bounded, runner="FnApiRunner", options="--input=a", history=history)


def feed(elements: Iterable[Any], step: beam.PTransform) -> None:
    """Runs a step on elements."""
    pipeline = beam.Pipeline(runner="FnApiRunner")
    _ = pipeline | beam.Create(list(elements), reshuffle=False) | step
    pipeline.run().wait_until_finish()


def labels(double: BigQueryDouble) -> dict[str, str]:
    return {row["id"]: row["external_id"] for row in double.rows(f"{SALES}.identities")}


def jobs(double: BigQueryDouble) -> list[dict[str, Any]]:
    return sorted(double.rows(f"{SALES}.jobs"), key=lambda row: row["generation"])


# ---- start and end ----


def test_a_job_makes_what_is_missing_and_is_entered_with_its_end(double: BigQueryDouble, warehouse: Warehouse) -> None:
    first = start(warehouse)
    assert (first.log_until, first.bounded) == (None, True)
    (entered,) = jobs(double)
    assert entered == {
        "generation": first.generation,
        "started_at": first.started_at,
        "ended_at": None,
        "runner": "FnApiRunner",
        "options": "--input=a",
        "history_done": False,
        "rules_version": RULES_VERSION,
        "account_mappings": None,
    }
    warehouse.finish(first)
    (entered,) = jobs(double)
    assert entered["ended_at"] >= first.started_at
    second = start(warehouse)
    assert second.generation > first.generation
    assert [job["ended_at"] is None for job in jobs(double)] == [False, True]


def test_a_generation_is_the_servers_time_or_greater_than_every_other(
    warehouse: Warehouse, client: google.Client
) -> None:
    first = start(warehouse)
    assert first.generation == first.started_at
    ahead = first.generation + YEAR_US
    client.query_and_wait(f"UPDATE sales.jobs SET generation = {ahead} WHERE TRUE")
    assert start(warehouse).generation == ahead + 1


def test_a_job_that_may_not_create_says_what_is_missing(double: BigQueryDouble, client: google.Client) -> None:
    warehouse = open_warehouse(URL, create=False)
    with pytest.raises(
        UsageError, match=r"Not found: Dataset acme-data:sales; name a project and a dataset that exist"
    ):
        start(warehouse)
    catalog.create(client, SALES)
    assert start(warehouse).generation
    client.delete_table(f"{SALES}.dead_letters")
    said = r"^--warehouse=bigquery://acme-data/sales: is missing table dead_letters; run `python -m schemas create`"
    with pytest.raises(UsageError, match=said):
        start(warehouse)


def test_tables_that_do_not_fit_are_one_line(client: google.Client, warehouse: Warehouse) -> None:
    client.create_dataset("sales")
    client.query_and_wait("CREATE TABLE sales.jobs (runner DATE)")
    with pytest.raises(UsageError, match=r"table jobs, column runner: is DATE, .*; name another dataset$"):
        start(warehouse)


def test_without_credentials_it_is_said_how_to_log_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BIGQUERY_EMULATOR_HOST", raising=False)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/missing.json")
    said = (
        r"^--warehouse=bigquery://acme-data/sales: there are no credentials for Google Cloud; log in with: gcloud auth"
    )
    with pytest.raises(UsageError, match=said):
        start(open_warehouse(URL))


def test_no_history_is_refused_where_the_log_holds_something(double: BigQueryDouble, warehouse: Warehouse) -> None:
    first = start(warehouse, history=False)
    feed([Append(call("m1", user_id="a"))], warehouse.append(IDENTITY_CALLS, first))
    with pytest.raises(UsageError, match=r"--history=none: the log of earlier jobs is not empty"):
        start(warehouse, history=False)
    assert len(jobs(double)) == 1


UPDATES = [
    ("the same rules", RULES_VERSION, True, False),
    ("newer rules", RULES_VERSION - 1, True, True),
    ("rules of before there were versions", None, True, True),
    ("newer rules, and the log is left out", RULES_VERSION - 1, False, False),
]


@pytest.mark.parametrize(("what", "running", "history", "rereads"), UPDATES, ids=[what for what, *_ in UPDATES])
def test_an_update_under_newer_rules_reads_the_log_again(
    what: str,
    running: int | None,
    history: bool,
    rereads: bool,
    double: BigQueryDouble,
    warehouse: Warehouse,
    client: google.Client,
) -> None:
    start(warehouse, bounded=False)
    value = "NULL" if running is None else running
    client.query_and_wait(f"UPDATE sales.jobs SET rules_version = {value} WHERE TRUE")
    updated = start(open_warehouse(URL, update=True), bounded=False, history=history)
    assert updated.rereads_log == rereads
    assert [job["rules_version"] for job in jobs(double)] == [running]  # until the log is read


def test_a_job_that_entered_no_account_mappings_gets_them_when_it_is_updated(
    double: BigQueryDouble, warehouse: Warehouse
) -> None:
    start(warehouse, bounded=False)
    for mappings in ('{"others": {"method": "group"}}', '{"others": {"method": "email_domain"}}'):
        update = open_warehouse(URL, update=True)
        update.start(bounded=False, runner="", options="", history=True, account_mappings=mappings)
        (job,) = jobs(double)
        assert json.loads(job["account_mappings"]) == {"others": {"method": "group"}}
    start(warehouse, bounded=False)
    warehouse.start(bounded=False, runner="", options="", history=True, account_mappings=mappings)
    assert [job["account_mappings"] is None for job in jobs(double)] == [False, True, False]


def test_an_update_to_older_rules_is_refused(
    double: BigQueryDouble, warehouse: Warehouse, client: google.Client
) -> None:
    """It would leave the rows that the newer rules have made."""
    start(warehouse, bounded=False)
    client.query_and_wait(f"UPDATE sales.jobs SET rules_version = {RULES_VERSION + 1} WHERE TRUE")
    with pytest.raises(UsageError, match=r"^--update: the running job writes rows by newer rules, .*; drain it"):
        start(open_warehouse(URL, update=True), bounded=False)
    assert len(jobs(double)) == 1


@pytest.mark.parametrize("history", [True, False])
def test_an_update_goes_on_as_the_running_job(history: bool, double: BigQueryDouble, warehouse: Warehouse) -> None:
    first = start(warehouse, bounded=False)
    feed([Append(call("m1", user_id="a"))], warehouse.append(IDENTITY_CALLS, first))
    updated = start(open_warehouse(URL, update=True), bounded=False, history=history)
    assert (updated.generation, updated.started_at) == (first.generation, first.started_at)
    assert (updated.log_until is not None) == history
    assert len(jobs(double)) == 1


@pytest.mark.parametrize(
    ("what", "written", "ended", "warned"),
    [
        ("another job may be running", True, False, True),
        ("the other job has ended", True, True, False),
        ("nothing was written", False, False, False),
    ],
)
def test_a_job_says_when_another_may_be_running(
    what: str, written: bool, ended: bool, warned: bool, warehouse: Warehouse, caplog: pytest.LogCaptureFixture
) -> None:
    first = start(warehouse)
    if written:
        feed([Append(call("m1", user_id="a"))], warehouse.append(IDENTITY_CALLS, first))
    if ended:
        warehouse.finish(first)
    caplog.clear()
    with caplog.at_level(logging.WARNING, logger="pipeline"):
        start(warehouse)
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == warned
    starts = re.compile(r"The log in acme-data\.sales grew \d+ s ago, .*: if it still runs, stop it")
    assert all(map(starts.match, said))


def test_an_old_log_is_no_sign_of_a_running_job(
    double: BigQueryDouble, warehouse: Warehouse, caplog: pytest.LogCaptureFixture
) -> None:
    feed([Append(call("m1", user_id="a"))], warehouse.append(IDENTITY_CALLS, start(warehouse)))
    rows = double.catalog.tables
    log = next(table for name, table in rows.items() if name.table == "identity_calls")
    at = log.index("written_at")
    log.replace([(*row[:at], row[at] - YEAR_US, *row[at + 1 :]) for row in log.rows()])
    with caplog.at_level(logging.WARNING, logger="pipeline"):
        assert start(warehouse).log_until is not None
    assert caplog.records == []


def test_the_command_to_look_into_it(warehouse: Warehouse) -> None:
    assert warehouse.open_command() == "bq --project_id=acme-data query --dataset_id=sales --use_legacy_sql=false"


# ---- the sweep ----


def publish(warehouse: Warehouse, job: JobRun) -> None:
    feed([0], warehouse.publish(job))


@pytest.mark.parametrize("bounded", [True, False])
def test_a_later_job_wins_whatever_its_versions_and_removes_what_it_did_not_write(
    bounded: bool, double: BigQueryDouble, warehouse: Warehouse
) -> None:
    first = start(warehouse)
    feed([label("a", 99, "old"), label("b", 99, "old"), label("c", 99, None)], warehouse.upsert(IDENTITIES, first))
    publish(warehouse, first)
    assert labels(double) == {"a": "old", "b": "old"}
    second = start(warehouse, bounded=bounded)
    feed([label("a", 1, "new"), label("c", 1, "new")], warehouse.upsert(IDENTITIES, second))
    feed([label("b", 100, "late")], warehouse.upsert(IDENTITIES, first))
    publish(warehouse, second)
    publish(warehouse, second)
    assert labels(double) == {"a": "new", "c": "new"}
    assert [job["history_done"] for job in jobs(double)] == [True, True]


def test_what_is_written_after_the_sweep_stands(double: BigQueryDouble, warehouse: Warehouse) -> None:
    feed([label("a", 9, "old")], warehouse.upsert(IDENTITIES, start(warehouse)))
    second = start(warehouse)
    publish(warehouse, second)
    assert labels(double) == {}
    feed([label("a", 0, "new")], warehouse.upsert(IDENTITIES, second))
    assert labels(double) == {"a": "new"}


def test_a_sweep_sees_what_max_staleness_hides_and_leaves_it_as_it_was(
    double: BigQueryDouble, warehouse: Warehouse, client: google.Client
) -> None:
    first = start(warehouse)
    table = google.Table(f"{SALES}.contacts")
    table.max_staleness = "0-0 0 4:0:0"
    client.update_table(table, ["max_staleness"])
    with double.stale():
        feed([label("a", 9, "old")], warehouse.upsert(IDENTITIES, first))
        assert list(client.query_and_wait("SELECT id FROM sales.identities")) == []
        publish(warehouse, start(warehouse))
    assert labels(double) == {}
    kept = {table.name: client.get_table(f"{SALES}.{table.name}").max_staleness for table in KEYED}
    assert kept == {**dict.fromkeys(kept, "0-0 0 0:15:0"), "contacts": "0-0 0 4:0:0"}


def staleness(client: google.Client) -> str | None:
    max_staleness: str | None = client.get_table(f"{SALES}.contacts").max_staleness
    return max_staleness


def set_staleness(client: google.Client, interval: str | None) -> None:
    table = google.Table(f"{SALES}.contacts")
    table.max_staleness = interval
    client.update_table(table, ["max_staleness"])


def count(client: google.Client, meanwhile: Callable[[], object] = lambda: None) -> list[int]:
    """Counts the contacts with a query that sees all of them; `meanwhile` happens before each time it is asked. Returns
    the counts."""
    counts: list[int] = []

    def ask(statement: str, **options: Any) -> Any:
        meanwhile()
        rows = list(query_and_wait(statement, **options))
        counts.append(rows[0].contacts)
        return rows

    query_and_wait = client.query_and_wait
    with mock.patch.object(client, "query_and_wait", ask):
        query_freshest(client, "SELECT COUNT(*) AS contacts FROM sales.contacts", CONTACTS, SALES)
    return counts


class Died(BaseException):
    """The process dies: nothing that it would do afterwards happens."""


def die(client: google.Client) -> None:
    """A query that lifts max_staleness, in a process that dies meanwhile."""

    def dies() -> None:
        raise Died

    with (
        contextlib.suppress(Died),
        mock.patch("pipeline.warehouses.bigquery.queries._restore_max_staleness", return_value=True),
    ):
        count(client, dies)


@pytest.mark.parametrize(("before", "after"), [("0-0 0 4:0:0", "0-0 0 4:0:0"), (None, "0-0 0 0:15:0")])
@pytest.mark.parametrize("fails", [False, True])
def test_max_staleness_comes_back_whatever_happens(
    before: str | None, after: str, fails: bool, warehouse: Warehouse, client: google.Client
) -> None:
    start(warehouse)
    set_staleness(client, before)
    labels = client.get_table(f"{SALES}.contacts").labels

    def look() -> None:
        assert staleness(client) is None
        if fails:
            raise RuntimeError

    with contextlib.suppress(RuntimeError):
        count(client, look)
    assert staleness(client) == after
    assert client.get_table(f"{SALES}.contacts").labels == {**labels, MAX_STALENESS_LABEL: ""}


AFTER_A_DEATH: list[tuple[str, str | None, str]] = [
    ("nothing", "", "0-1 2 4:5:6.5"),
    ("a start, which sets the default", "0-0 0 0:15:0", "0-1 2 4:5:6.5"),
    ("the user, who sets another", "0-0 0 1:0:0", "0-0 0 1:0:0"),
]


@pytest.mark.parametrize(("what", "set_meanwhile", "after"), AFTER_A_DEATH, ids=[what for what, *_ in AFTER_A_DEATH])
def test_max_staleness_survives_the_death_of_a_worker(
    what: str, set_meanwhile: str, after: str, warehouse: Warehouse, client: google.Client
) -> None:
    start(warehouse)
    set_staleness(client, "0-1 2 4:5:6.5")
    die(client)
    assert staleness(client) is None
    if set_meanwhile:
        set_staleness(client, set_meanwhile)
    count(client)
    assert staleness(client) == after
    count(client)
    assert staleness(client) == after
    assert client.get_table(f"{SALES}.contacts").labels[MAX_STALENESS_LABEL] == ""


def test_two_queries_at_once_see_all_and_max_staleness_comes_back(
    double: BigQueryDouble, warehouse: Warehouse, client: google.Client
) -> None:
    job = start(warehouse)
    set_staleness(client, "0-0 0 4:0:0")
    others: list[list[int]] = []

    def another_query_ends() -> None:
        if not others:
            others.append(count(catalog.connect(SALES.project)))

    with double.stale():
        feed([Upsert(("ann",), (1,), Contact("ann"))], warehouse.upsert(CONTACTS, job))
        assert count(client, another_query_ends) == [0, 1]
        assert others == [[1]]
    assert staleness(client) == "0-0 0 4:0:0"
    assert client.get_table(f"{SALES}.contacts").labels[MAX_STALENESS_LABEL] == ""


def test_a_table_that_somebody_changes_meanwhile_is_looked_at_again(
    warehouse: Warehouse, client: google.Client
) -> None:
    start(warehouse)
    set_staleness(client, "0-0 0 4:0:0")
    update_table = client.update_table
    changes: list[list[str]] = []

    def update(table: google.Table, fields: list[str]) -> google.Table:
        if len(changes) < 3:
            changes.append(fields)
            described = google.Table(f"{SALES}.contacts")
            described.description = f"change {len(changes)}"
            update_table(described, ["description"])
        return update_table(table, fields)

    with mock.patch.object(client, "update_table", update):
        count(client)
    assert len(changes) == 3
    assert staleness(client) == "0-0 0 4:0:0"


# ---- what a reader sees ----


def test_a_reader_sees_the_log_its_pairs_and_every_column(double: BigQueryDouble, warehouse: Warehouse) -> None:
    job = start(warehouse)
    calls = [
        call("m1", user_id="ann", anonymous_id="x"),
        call("m2", "alias", user_id="ann", previous_id="y"),
        call("m3", "group", user_id="bob", anonymous_id="z", group_id="acme"),
        call("m4", user_id="bob"),
        call("m5", user_id="ann", anonymous_id="x"),
    ]
    feed(map(Append, calls), warehouse.append(IDENTITY_CALLS, job))
    contact = Contact(
        "ann",
        email="ann@acme.com",
        created_at=Timestamp(-62_135_596_800_000_000),
        traits=Raw('{"é":[1.5,null]}'.encode()),
        audiences=(Audience("a", True, NOON), Audience("b", False, Timestamp(NOON + 1))),
        previous_ids=("x", "é"),
        first_identified_at=NOON,
        last_identified_at=Timestamp(253_402_300_799_999_999),
    )
    feed([Upsert(("ann",), (1,), contact)], warehouse.upsert(CONTACTS, job))
    with warehouse.contents() as contents:
        assert sorted(contents.log()) == [(f'{{"é": "m{number}"}}', "web") for number in range(1, 6)]
        assert sorted(payload for payload, _ in contents.log(["bob", "y"])) == [f'{{"é": "m{n}"}}' for n in (2, 3, 4)]
        assert sorted(contents.pairs()) == [("x", "ann"), ("y", "ann")]
        row = dict(next(contents.rows(CONTACTS)))
        (entered,) = contents.rows(JOBS)
    assert (entered["generation"], entered["started_at"], entered["ended_at"]) == (job.generation, job.started_at, None)
    assert row.pop("updated_at") >= job.generation
    assert {name: value for name, value in row.items() if value not in (None, [])} == {
        "external_id": "ann",
        "email": "ann@acme.com",
        "created_at": -62_135_596_800_000_000,
        "traits": '{"é":[1.5,null]}',
        "audiences": [
            {"audience_key": "a", "is_member": True, "updated_at": NOON},
            {"audience_key": "b", "is_member": False, "updated_at": NOON + 1},
        ],
        "previous_ids": ["x", "é"],
        "first_identified_at": NOON,
        "last_identified_at": 253_402_300_799_999_999,
    }


def test_a_dataset_that_no_job_has_written_cannot_be_read(client: google.Client, warehouse: Warehouse) -> None:
    client.create_dataset("sales")
    said = r"is missing table events, .*; name the dataset that a job has written"
    with pytest.raises(UsageError, match=said), warehouse.contents():
        pass


def test_the_commands_write_audit_and_explain(
    double: BigQueryDouble, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    calls = [
        '{"type": "identify", "messageId": "m1", "userId": "ann", "anonymousId": "x", "traits": {"name": "Ann"},'
        ' "timestamp": "2026-01-01T00:00:00Z"}',
        '{"type": "page", "messageId": "m2", "anonymousId": "x", "timestamp": "2026-01-01T00:00:00Z"}',
        "{",
    ]
    (tmp_path / "calls.jsonl").write_text("\n".join(calls))
    assert main([f"--input={tmp_path}/calls.jsonl", f"--warehouse={URL}"]) == 0
    printed = capsys.readouterr().out
    assert "3 read = 1 event + 1 identity call + 1 dead letter" in printed
    assert "bq --project_id=acme-data query --dataset_id=sales --use_legacy_sql=false" in printed
    assert labels(double) == {"x": "ann"}
    assert audit.main([f"--warehouse={URL}"]) == 0
    assert "1 call of identity_calls replayed: no difference" in capsys.readouterr().out
    assert explain.main([f"--warehouse={URL}", "--id=x"]) == 0
    assert "x belongs to the contact ann" in capsys.readouterr().out
    feed([label("y", 1, "ann")], open_warehouse(URL).upsert(IDENTITIES, start(open_warehouse(URL))))
    assert audit.main([f"--warehouse={URL}"]) == 1
    assert "identities" in capsys.readouterr().out


PARAMETERS: Mapping[str, str] = {
    "generation": "INT64",
    "started_at": "INT64",
    "rules_version": "INT64",
    "before": "INT64",
    "runner": "STRING",
    "options": "STRING",
    "account_mappings": "STRING",
    "ids": "ARRAY<STRING>",
}
STATEMENTS = [
    statements.end_of_log,
    statements.newest_job,
    statements.enter_job,
    statements.enter_end,
    statements.enter_rules_version,
    statements.enter_account_mappings,
    statements.enter_history_done,
    statements.log,
    statements.log_of,
    statements.pairs,
    statements.dead_letter_ids,
    statements.remove_dead_letters,
]


@pytest.fixture(scope="module")
def analyzer() -> googlesql.GoogleSQL:
    made = googlesql.available()
    for table in ALL:
        made.create(bigquery_ddl.create_table(table, str(SALES)))
    return made


@pytest.mark.parametrize("statement", STATEMENTS, ids=lambda statement: statement.__name__)
def test_googlesql_takes_a_statement(statement: Any, analyzer: googlesql.GoogleSQL) -> None:
    sql = statement(str(SALES))
    named = {name: PARAMETERS[name] for name in re.findall(r"@(\w+)", sql)}
    analyzer.analyze(sql, **named)


@pytest.mark.parametrize("table", [*KEYED, JOBS], ids=lambda table: table.name)
def test_googlesql_takes_the_statements_on_a_table(table: Any, analyzer: googlesql.GoogleSQL) -> None:
    analyzer.analyze(statements.rows(table, str(SALES)))
    if table.written:
        after = {f"after_{number}": "STRING" for number in range(len(table.key))}
        for is_first, named in ((True, {}), (False, after)):
            statement = statements.keys_written_before(table, str(SALES), 50_000, is_first=is_first)
            analyzer.analyze(statement, before="INT64", **named)


@pytest.mark.parametrize("reasons", [None, ["missing_id"], ["missing_id", "unknown_connection"]])
def test_googlesql_takes_the_restriction_to_dead_letters(
    reasons: list[str] | None, analyzer: googlesql.GoogleSQL
) -> None:
    restriction = statements.dead_letters_of(reasons)
    analyzer.analyze(f"SELECT payload FROM {bigquery_ddl.qualified('dead_letters', str(SALES))} WHERE {restriction}")
