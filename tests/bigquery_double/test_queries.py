"""The double runs GoogleSQL, and gives results in BigQuery's encoding."""

from __future__ import annotations

from datetime import date, datetime, timezone
from typing import Any

import pytest
from google.api_core.exceptions import BadRequest, GoogleAPICallError, NotFound
from google.cloud.bigquery import ArrayQueryParameter, Client, QueryJobConfig, ScalarQueryParameter

from tests.bigquery_double import BigQueryDouble, clients
from tests.bigquery_double.clients import Appender
from tests.bigquery_double.conftest import NOW

TABLE = "project.dataset.events"


@pytest.fixture
def client(double: BigQueryDouble) -> Client:
    made = clients.rest(double)
    made.query_and_wait(
        f"CREATE TABLE `{TABLE}` (id STRING NOT NULL, at TIMESTAMP, properties JSON, tags ARRAY<STRING>, "
        "audiences ARRAY<STRUCT<key STRING, at TIMESTAMP>>, payload BYTES)"
    )
    return made


@pytest.fixture
def events(double: BigQueryDouble, client: Client) -> Client:
    columns = {
        "id": "string",
        "at": "int64",
        "properties": "string",
        "tags": ["string"],
        "audiences": [{"key": "string", "at": "int64"}],
        "payload": "bytes",
    }
    Appender(double, TABLE, columns).append(
        {"id": "a", "at": NOW, "properties": '{"path": "/x", "n": 1.5}', "tags": ["s", "t"], "payload": b"\xff"},
        {"id": "b", "at": NOW + 1, "properties": "[]", "audiences": [{"key": "k", "at": 0}]},
        {"id": "c"},
    )
    return client


MOMENT = datetime(2023, 11, 14, 22, 13, 20, tzinfo=timezone.utc)

VALUES: list[tuple[str, str, str, Any]] = [
    ("text", "'é'", "STRING", "é"),
    ("an integer", "-9223372036854775808", "INTEGER", -(2**63)),
    ("a float", "0.1", "FLOAT", 0.1),
    ("true", "TRUE", "BOOLEAN", True),
    ("bytes", r"b'\xff'", "BYTES", b"\xff"),
    ("a timestamp", "TIMESTAMP '2023-11-14 22:13:20.000001+00:00'", "TIMESTAMP", MOMENT.replace(microsecond=1)),
    (
        "a timestamp before 1970",
        "TIMESTAMP '1969-12-31 23:59:59.5+00:00'",
        "TIMESTAMP",
        datetime(1969, 12, 31, 23, 59, 59, 500_000, timezone.utc),
    ),
    ("a date", "DATE '2023-11-14'", "DATE", date(2023, 11, 14)),
    ("JSON", """JSON '{"a": [1, null]}'""", "JSON", {"a": [1, None]}),
    ("an array", "['a', 'b']", "STRING", ["a", "b"]),
    ("a struct", "STRUCT(1 AS a, 'x' AS b)", "RECORD", {"a": 1, "b": "x"}),
    ("an array of structs", "[STRUCT(TRUE AS a)]", "RECORD", [{"a": True}]),
    ("null", "CAST(NULL AS STRING)", "STRING", None),
]


@pytest.mark.parametrize(("sql", "type_", "value"), [case[1:] for case in VALUES], ids=[case[0] for case in VALUES])
def test_values_are_read_by_the_client(client: Client, sql: str, type_: str, value: Any) -> None:
    for found in (client.query_and_wait(f"SELECT {sql} AS x"), client.query(f"SELECT {sql} AS x").result()):
        assert [field.field_type for field in found.schema] == [type_]
        assert [row["x"] for row in found] == [value]


PARAMETERS: list[tuple[str, Any, Any]] = [
    ("text", ScalarQueryParameter("p", "STRING", "it's"), "it's"),
    ("an integer", ScalarQueryParameter("p", "INT64", -(2**63)), -(2**63)),
    ("a float", ScalarQueryParameter("p", "FLOAT64", 0.1), 0.1),
    ("false", ScalarQueryParameter("p", "BOOL", False), False),
    ("bytes", ScalarQueryParameter("p", "BYTES", b"\x00\xff"), b"\x00\xff"),  # type: ignore[arg-type]
    ("a timestamp", ScalarQueryParameter("p", "TIMESTAMP", MOMENT), MOMENT),
    ("null", ScalarQueryParameter("p", "STRING", None), None),
    ("an array", ArrayQueryParameter("p", "STRING", ["a", "it's"]), ["a", "it's"]),
    ("an empty array", ArrayQueryParameter("p", "INT64", []), []),
]


@pytest.mark.parametrize(
    ("parameter", "value"), [case[1:] for case in PARAMETERS], ids=[case[0] for case in PARAMETERS]
)
def test_parameters_stand_for_their_values(client: Client, parameter: Any, value: Any) -> None:
    config = QueryJobConfig(query_parameters=[parameter])
    assert [row["x"] for row in client.query_and_wait("SELECT @p AS x", job_config=config)] == [value]


def test_parameters_may_go_by_position(client: Client) -> None:
    parameters = [ScalarQueryParameter(None, "INT64", 7), ScalarQueryParameter(None, "STRING", "x")]
    config = QueryJobConfig(query_parameters=parameters)
    assert [tuple(row.values()) for row in client.query_and_wait("SELECT ? AS n, ? AS t", job_config=config)] == [
        (7, "x")
    ]


def test_a_query_sees_what_was_appended(events: Client) -> None:
    config = QueryJobConfig(query_parameters=[ArrayQueryParameter("ids", "STRING", ["a", "b", "z"])])
    sql = f"""
        SELECT events.id, at, JSON_VALUE(properties, '$.path') AS path, tags, audience.key AS audience, payload
        FROM `{TABLE}` LEFT JOIN UNNEST(audiences) AS audience
        WHERE id IN UNNEST(@ids) AND at >= TIMESTAMP '2023-11-14 00:00:00+00:00' ORDER BY id"""
    assert [tuple(row.values()) for row in events.query_and_wait(sql, job_config=config)] == [
        ("a", MOMENT, "/x", ["s", "t"], None, b"\xff"),
        ("b", MOMENT.replace(microsecond=1), None, [], "k", None),
    ]


def test_the_dataset_may_be_the_jobs_default(events: Client) -> None:
    config = QueryJobConfig(default_dataset="project.dataset")
    assert [row["f0_"] for row in events.query_and_wait("SELECT COUNT(*) FROM events", job_config=config)] == [3]


def test_views_are_made_of_tables_and_views(events: Client) -> None:
    events.query_and_wait(f"CREATE VIEW dataset.tagged AS SELECT id, tag FROM `{TABLE}`, UNNEST(tags) AS tag")
    events.query_and_wait("CREATE OR REPLACE VIEW dataset.counted AS SELECT COUNT(tag) AS n FROM dataset.tagged")
    assert [row["n"] for row in events.query_and_wait("SELECT n FROM dataset.counted")] == [2]


def test_long_results_come_in_pages(double: BigQueryDouble, client: Client) -> None:
    found = client.query("SELECT x FROM UNNEST(GENERATE_ARRAY(1, 25000)) AS x").result()
    assert found.total_rows == 25_000
    assert [row["x"] for row in found] == [*range(1, 25_001)]
    assert len([path for _, path in double.requests.rest if "/queries/" in path]) >= 3
    found = client.query("SELECT x FROM UNNEST(GENERATE_ARRAY(1, 25)) AS x").result(page_size=10)
    assert [len(list(page)) for page in found.pages] == [10, 10, 5]


REFUSED: list[tuple[str, str, type[GoogleAPICallError], str]] = [
    ("no SQL", "SELEC 1", BadRequest, "SELEC"),
    ("no such column", f"SELECT zork FROM `{TABLE}`", BadRequest, "zork"),
    ("no such table", "SELECT 1 FROM dataset.zork", NotFound, "Not found: Table project:dataset.zork"),
    ("a table without a dataset", "SELECT 1 FROM events", BadRequest, "must be qualified with a dataset"),
    ("two columns of one name", "SELECT 1 AS a, 2 AS A", BadRequest, "Duplicate column names"),
    ("UPDATE of everything", f"UPDATE `{TABLE}` SET id = 'x'", BadRequest, "UPDATE must have a WHERE clause"),
    ("DELETE of everything", f"DELETE FROM `{TABLE}`", BadRequest, "DELETE must have a WHERE clause"),
    ("NULL in a REQUIRED column", f"UPDATE `{TABLE}` SET id = NULL WHERE TRUE", BadRequest, "Required field id"),
    ("a parameter that was not given", "SELECT @p AS x", BadRequest, "'p' not found"),
    ("a table that is there", f"CREATE TABLE `{TABLE}` (x STRING)", GoogleAPICallError, "Already Exists"),
    ("an enforced key", "CREATE TABLE dataset.t (x STRING, PRIMARY KEY (x))", BadRequest, "NOT ENFORCED"),
]


@pytest.mark.parametrize(("sql", "error", "words"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
def test_what_bigquery_refuses_is_refused(
    double: BigQueryDouble, events: Client, sql: str, error: type[GoogleAPICallError], words: str
) -> None:
    before = double.rows(TABLE)
    with pytest.raises(error, match=words):
        events.query_and_wait(sql)
    with pytest.raises(error, match=words):
        events.query(sql).result()
    assert double.rows(TABLE) == before


def test_a_failed_job_says_why(client: Client) -> None:
    job = client.query("SELECT zork")
    with pytest.raises(BadRequest):
        job.result()
    assert job.error_result is not None
    assert job.error_result["reason"] == "invalidQuery"
    assert client.get_job(job.job_id).state == "DONE"


def test_statements_that_change_rows_say_how_many(double: BigQueryDouble, events: Client) -> None:
    def changed(sql: str) -> int | None:
        job = events.query(sql)
        job.result()
        return job.num_dml_affected_rows

    assert changed(f"""INSERT INTO `{TABLE}` (id, properties) VALUES ('d', JSON '{{"a":1}}'), ('e', NULL)""") == 2
    assert changed(f"UPDATE `{TABLE}` SET properties = JSON '{{}}', payload = NULL WHERE id IN ('a', 'd')") == 2
    assert changed(f"DELETE FROM `{TABLE}` WHERE id = 'b'") == 1
    assert {row["id"]: row["properties"] for row in double.rows(TABLE)} == {"a": "{}", "c": None, "d": "{}", "e": None}
    assert all(row["tags"] == ([] if row["id"] != "a" else ["s", "t"]) for row in double.rows(TABLE))


def test_a_script_has_variables_and_temporary_tables(events: Client) -> None:
    found = events.query_and_wait(f"""
        DECLARE ids ARRAY<STRING> DEFAULT ['a', 'c'];
        DECLARE gone INT64;
        CREATE TEMP TABLE kept AS SELECT id FROM `{TABLE}` WHERE id NOT IN UNNEST(ids);
        BEGIN TRANSACTION;
        DELETE FROM `{TABLE}` WHERE id NOT IN (SELECT id FROM kept);
        SET gone = @@row_count;
        COMMIT TRANSACTION;
        SELECT gone, (SELECT COUNT(*) FROM `{TABLE}`) AS left_over, ids""")
    assert [tuple(row.values()) for row in found] == [(2, 1, ["a", "c"])]


@pytest.mark.parametrize("end", ["ROLLBACK TRANSACTION", "SELECT zork"])
def test_a_transaction_that_does_not_end_well_changes_nothing(double: BigQueryDouble, events: Client, end: str) -> None:
    before = double.rows(TABLE)
    script = f"BEGIN TRANSACTION; DELETE FROM `{TABLE}` WHERE TRUE; INSERT INTO `{TABLE}` (id) VALUES ('z'); {end}"
    if end.startswith("ROLLBACK"):
        events.query_and_wait(script)
    else:
        with pytest.raises(BadRequest):
            events.query_and_wait(script)
    assert double.rows(TABLE) == before


def test_a_rolled_back_insert_leaves_the_changes_as_they_were(double: BigQueryDouble, client: Client) -> None:
    client.query_and_wait("CREATE TABLE dataset.contacts (id STRING, PRIMARY KEY (id) NOT ENFORCED)")
    changes = {"id": "string", "_CHANGE_TYPE": "string", "_CHANGE_SEQUENCE_NUMBER": "string"}
    appender = Appender(double, "project.dataset.contacts", changes)
    appender.append({"id": "a", "_CHANGE_TYPE": "UPSERT", "_CHANGE_SEQUENCE_NUMBER": "2"})
    insert = "INSERT INTO dataset.contacts (id) VALUES ('b')"
    client.query_and_wait(f"BEGIN TRANSACTION; {insert}; ROLLBACK TRANSACTION")
    appender.append({"id": "a", "_CHANGE_TYPE": "DELETE", "_CHANGE_SEQUENCE_NUMBER": "1"})
    assert double.rows("project.dataset.contacts") == [{"id": "a"}]
    client.query_and_wait(insert)
    assert double.rows("project.dataset.contacts") == [{"id": "b"}, {"id": "a"}]


def test_queries_run_beside_appends(double: BigQueryDouble, client: Client) -> None:
    client.query_and_wait("CREATE TABLE dataset.contacts (id INT64, PRIMARY KEY (id) NOT ENFORCED)")
    appender = Appender(double, "project.dataset.contacts", {"id": "int64", "_CHANGE_TYPE": "string"})
    for start in range(0, 40_000, 2_000):
        appender.send(*({"id": id_, "_CHANGE_TYPE": "UPSERT"} for id_ in range(start, start + 2_000)))
    counts = [next(iter(client.query_and_wait("SELECT COUNT(*) AS n FROM dataset.contacts")))["n"] for _ in range(10)]
    assert all(count % 2_000 == 0 for count in counts), "a request is seen whole or not at all"
    for _ in range(20):
        appender.answer()
    assert len(double.rows("project.dataset.contacts")) == 40_000


def test_a_variable_named_like_a_column_is_not_guessed_at(events: Client) -> None:
    with pytest.raises(GoogleAPICallError, match="variables that are also columns"):
        events.query_and_wait(f"DECLARE id STRING DEFAULT 'a'; DELETE FROM `{TABLE}` WHERE id = id", retry=None)  # type: ignore[arg-type]


def test_ddl_makes_what_the_rest_api_tells(client: Client) -> None:
    client.query_and_wait("CREATE SCHEMA IF NOT EXISTS `project.made` OPTIONS (location = 'EU')")
    client.query_and_wait("""
        CREATE TABLE IF NOT EXISTS `project.made.calls` (
          id STRING NOT NULL OPTIONS (description = 'its id'),
          at TIMESTAMP,
          audiences ARRAY<STRUCT<key STRING NOT NULL OPTIONS (description = 'its key')>>,
          PRIMARY KEY (id) NOT ENFORCED
        ) PARTITION BY TIMESTAMP_TRUNC(at, DAY) CLUSTER BY id
        OPTIONS (description = 'Calls', max_staleness = INTERVAL 15 MINUTE, labels = [('made_by', 'test')])""")
    table = client.get_table("project.made.calls")
    assert table.location == "EU"
    assert [(each.name, each.field_type, each.mode, each.description) for each in table.schema] == [
        ("id", "STRING", "REQUIRED", "its id"),
        ("at", "TIMESTAMP", "NULLABLE", None),
        ("audiences", "RECORD", "REPEATED", None),
    ]
    assert [(each.name, each.mode, each.description) for each in table.schema[2].fields] == [
        ("key", "REQUIRED", "its key")
    ]
    assert (table.time_partitioning.field, table.clustering_fields) == ("at", ["id"])
    assert (table.description, table.labels) == ("Calls", {"made_by": "test"})
    resource = table.to_api_repr()
    assert resource["tableConstraints"] == {"primaryKey": {"columns": ["id"]}}
    assert resource["maxStaleness"] == "0-0 0 0:15:0"


def test_tables_are_altered_and_dropped(client: Client) -> None:
    client.query_and_wait(f"ALTER TABLE `{TABLE}` ADD COLUMN IF NOT EXISTS plan STRING OPTIONS (description = 'p')")
    client.query_and_wait(f"ALTER TABLE `{TABLE}` ADD COLUMN IF NOT EXISTS plan STRING")
    client.query_and_wait(f"ALTER TABLE `{TABLE}` SET OPTIONS (max_staleness = INTERVAL 90 MINUTE)")
    table = client.get_table(TABLE)
    assert (table.schema[-1].name, table.schema[-1].description) == ("plan", "p")
    assert table.to_api_repr()["maxStaleness"] == "0-0 0 1:30:0"
    with pytest.raises(BadRequest, match="already exists"):
        client.query_and_wait(f"ALTER TABLE `{TABLE}` ADD COLUMN plan STRING")
    client.query_and_wait(f"DROP TABLE `{TABLE}`")
    client.query_and_wait(f"DROP TABLE IF EXISTS `{TABLE}`")
    with pytest.raises(NotFound):
        client.query_and_wait(f"DROP TABLE `{TABLE}`")


def test_a_table_may_be_made_of_a_query(double: BigQueryDouble, events: Client) -> None:
    events.query_and_wait(f"CREATE TABLE dataset.made AS SELECT id, tags FROM `{TABLE}` WHERE id = 'a'")
    assert double.rows("project.dataset.made") == [{"id": "a", "tags": ["s", "t"]}]


DIFFERENT: list[tuple[str, str, Any]] = [
    ("JSON_VALUE of a text that is no JSON", "JSON_VALUE('no JSON', '$.a')", None),
    ("JSON_VALUE of an object", """JSON_VALUE(JSON '{"a": {}}', '$.a')""", None),
    ("JSON_VALUE of a number", """JSON_VALUE(JSON '{"a": 1}', '$.a')""", "1"),
    (
        "whole days",
        "TIMESTAMP_DIFF(TIMESTAMP '2024-01-02 00:00:00+00', TIMESTAMP '2024-01-01 12:00:00+00', DAY)",
        0,
    ),
]


@pytest.mark.parametrize(("sql", "value"), [case[1:] for case in DIFFERENT], ids=[case[0] for case in DIFFERENT])
def test_where_duckdb_differs_bigquerys_answer_is_given(client: Client, sql: str, value: Any) -> None:
    assert [row["x"] for row in client.query_and_wait(f"SELECT {sql} AS x")] == [value]
