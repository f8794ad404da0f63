"""What questions read of the tables, by DuckDB's plan: no column and no partition that they do not need."""

from __future__ import annotations

from collections.abc import Iterator

import duckdb
import pytest

from pipeline import run, summary
from pipeline.warehouses.bigquery import ddl as bigquery_ddl
from pipeline.warehouses.bigquery.warehouse import BigQueryWarehouse
from pipeline.warehouses.duckdb.transpile import transpiled
from schemas import event_views, tables, views
from schemas.event_views import EventProperty
from tests.schemas import googlesql
from tests.schemas.query_bytes import DAYS_HELD, QUESTIONS, Question, planner, scans

DOCUMENTS = {
    "events": {"properties", "context", "integrations", "extra"},
    "identity_calls": {"traits", "properties", "context", "promoted", "payload"},
}
"""The wide columns of the tables that grow."""
OF_TRAITS = {"audience_changes", "trait_changes", "account_trait_changes"}
"""Views whose every row is made of them."""
WITH_PAYLOAD = {"identity_calls_unique", "identity_calls_resolved"}
"""Views that have the log's column as it is."""
SOLD = "n3 'sold'"
"""An event."""
AFTER = "received_at > '2024-12-01 00:00:00+00'"


@pytest.fixture(scope="module")
def plans() -> Iterator[duckdb.DuckDBPyConnection]:
    with planner() as connection:
        yield connection


@pytest.mark.parametrize("view", [view.name for view in views.ALL])
def test_a_question_about_one_column_reads_no_document(plans: duckdb.DuckDBPyConnection, view: str) -> None:
    first = plans.execute(f'SELECT * FROM "{view}" LIMIT 0').description[0][0]
    for table, wide in DOCUMENTS.items():
        read = {column for scan in scans(plans, f"SELECT {first} FROM `{view}`", table) for column in scan.columns}
        is_of_traits = table == "identity_calls" and view in OF_TRAITS
        assert read & wide == ({"traits", "properties", "context"} if is_of_traits else set()), table


@pytest.mark.parametrize("view", [view.name for view in views.ALL if view.name not in WITH_PAYLOAD])
def test_no_view_reads_payload(plans: duckdb.DuckDBPyConnection, view: str) -> None:
    assert [
        scan for scan in scans(plans, f"SELECT * FROM `{view}`", "identity_calls") if "payload" in scan.columns
    ] == []


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: question.text)
def test_the_documents_questions_read_their_days(plans: duckdb.DuckDBPyConnection, question: Question) -> None:
    first, *others = scans(plans, question.sql)
    assert first.is_bounded == (question.days < DAYS_HELD)
    assert all("events_unique" in question.sql and not other.is_bounded for other in others)


def test_googlesql_takes_the_documents_questions_and_those_that_a_job_shows() -> None:
    dataset = googlesql.available()
    for table in tables.ALL:
        dataset.create(bigquery_ddl.create_table(table))
    for view in views.ALL:
        dataset.create(bigquery_ddl.create_view(view))
    for function in views.FUNCTIONS:
        dataset.create(bigquery_ddl.create_function(function))
    for question in QUESTIONS:
        dataset.analyze(question.sql)
    for to_try in (run._CONTACTS_QUERY, summary.DEAD_LETTERS_QUERY, BigQueryWarehouse.sample_query):
        dataset.analyze(to_try)


def test_a_view_of_an_event_reads_that_event_alone(plans: duckdb.DuckDBPyConnection) -> None:
    (view,) = event_views.event_views([SOLD], {SOLD: (EventProperty(("total",), "FLOAT64"),)}, {})
    plans.execute(f"CREATE SCHEMA by_event; CREATE VIEW by_event.{view.name} AS {transpiled(view.sql)}")
    (scan,) = scans(plans, f"SELECT id FROM by_event.{view.name} WHERE {AFTER}")
    assert {"received_at", "type", "name"} <= {*scan.filtered}
    assert not {*scan.columns} & DOCUMENTS["events"]
    (of_property,) = scans(plans, f"SELECT SUM(total) FROM by_event.{view.name} WHERE {AFTER}")
    assert {*of_property.columns} & DOCUMENTS["events"] == {"properties"}
