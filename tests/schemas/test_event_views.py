"""A view for each event: its columns, their types, and names that are hard to hold."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import duckdb
import pytest
from google.cloud import bigquery

from pipeline.schema_command import main
from pipeline.warehouses.bigquery import ddl
from pipeline.warehouses.bigquery.catalog import connect, create
from pipeline.warehouses.bigquery.dataset import Dataset
from pipeline.warehouses.duckdb import file as duckdb_file
from schemas import event_views, tables, views
from schemas.event_views import EventProperty
from tests.bigquery_double import BigQueryDouble
from tests.schemas import googlesql

MAY = "2024-05-01T00:00:00+00:00"
ORDER: dict[str, Any] = {
    "orderTotal": 12.5,
    "order_total": 3,
    "id": "o1",
    "timestamp": 7,
    "context_ip": "own",
    "paid": True,
    "at": "2024-05-01T02:00:00.5+02:00",
    "day": "2024-05-01",
    "day not there": "2024-02-30T00:00:00Z",
    "number": 1234567890123456789,
    "mixed": 1,
    "products": [{"sku": "a"}],
    "coupon": {"code": "X", "percent off": 10},
    "a.b": {'c"d': {"e/f~g": "deep"}},
    "levels": {"one": {"two": {"three": {"four": [1]}, "list": [{"x": 1}]}}},
    "1st": None,
    "select": "word",
    "": 0,
    "注文": "order",
}
OF_SQL = "x FROM tracks AS y JOIN events"
"""An event that is named like SQL."""
EVENTS: list[tuple[str, dict[str, Any]]] = [
    ("Order Completed", ORDER),
    ("Order Completed", {"mixed": "text", "orderTotal": 4, "coupon": "none"}),
    ("order_completed", {"total": 1}),
    ("ORDER completed", {}),
    ("", {"x": 1}),
    ("注文", {}),
    ("SELECT", {"from": "where"}),
    ('it\'s "quoted" `so` \\ \n\U0001f389', {"n": 1}),
    ("long " * 150, {}),
    ("longer " * 150, {}),
    ("2nd", {}),
    ("tracks", {}),
    (OF_SQL, {"FROM tracks AS ": 1, "at": "2024-05-01T02:00:00+99:00"}),
]
COLUMNS = {
    "order_total": 3,
    "order_total_2": 12.5,
    "id_2": "o1",
    "timestamp_2": 7,
    "context_ip_2": "own",
    "paid": True,
    "at": datetime(2024, 5, 1, 0, 0, 0, 500_000, timezone.utc),
    "day": "2024-05-01",
    "day_not_there": "2024-02-30T00:00:00Z",
    "number": 1234567890123456789,
    "mixed": "1",
    "products": '[{"sku":"a"}]',
    "coupon": None,
    "coupon_code": "X",
    "coupon_percent_off": 10,
    "a_b_c_d_e_f_g": "deep",
    "levels_one_two_list": '[{"x":1}]',
    "levels_one_two_three": '{"four":[1]}',
    "_1st": None,
    "select": "word",
    "property": 0,
    "property_2": "order",
}
NAMES = {
    "order_completed": "order_completed",
    "order_completed_2": "ORDER completed",
    "order_completed_3": "Order Completed",
    "event": "",
    "event_2": "注文",
    "select": "SELECT",
    "it_s_quoted_so": EVENTS[7][0],
    "_2nd": "2nd",
    "tracks": "tracks",
    "x_from_tracks_as_y_join_events": OF_SQL,
    ("long_" * 150)[:128].strip("_"): "long " * 150,
}
"""Views by name, and their events."""


def insert(connection: duckdb.DuckDBPyConnection, *events: tuple[str, dict[str, Any]]) -> None:
    connection.executemany(
        "INSERT INTO events (message_id, type, name, timestamp, received_at, connection, properties, context)"
        " VALUES (uuid()::VARCHAR, 'Action', ?, ?, ?, 'web', ?, '{}')",
        [(name, MAY, MAY, json.dumps(properties)) for name, properties in events],
    )


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "warehouse.duckdb"
    with duckdb_file.connect(str(path)) as connection:
        duckdb_file.create(connection)
        insert(connection, *EVENTS)
    return path


def views_of(file: Path, schema: str = "by_event") -> dict[str, str | None]:
    with duckdb.connect(str(file)) as connection:
        found = connection.execute(f"SELECT view_name, comment FROM duckdb_views() WHERE schema_name = '{schema}'")
        return {name: event_views.event_of(comment) for name, comment in found.fetchall()}


def test_every_event_has_a_view(file: Path) -> None:
    assert main(["event_views", f"--warehouse=duckdb:///{file}"]) == 0
    assert views_of(file) == NAMES
    with duckdb.connect(str(file)) as connection:
        for view, name in NAMES.items():
            rows = connection.execute(f'SELECT DISTINCT event_text FROM by_event."{view}"').fetchall()
            assert rows == [(name,)], view


def test_properties_are_columns_of_the_types_that_were_seen(file: Path) -> None:
    main(["event_views", f"--warehouse=duckdb:///{file}"])
    with duckdb.connect(str(file)) as connection:
        connection.execute("SET TimeZone = 'America/New_York'")
        cursor = connection.execute("SELECT * FROM by_event.order_completed_3 ORDER BY paid NULLS LAST")
        names = [each[0] for each in cursor.description]
        first, second = (dict(zip(names, row, strict=True)) for row in cursor.fetchall())
        assert names[: -len(COLUMNS)] == [each[0] for each in connection.execute("FROM tracks").description]
    assert {name: first[name] for name in names[-len(COLUMNS) :]} == COLUMNS
    assert (second["mixed"], second["order_total_2"], second["coupon"]) == ("text", 4.0, "none")
    assert second["paid"] is None


def test_a_name_that_is_like_sql_stays_as_it_is(file: Path) -> None:
    main(["event_views", f"--warehouse=duckdb:///{file}"])
    with duckdb.connect(str(file)) as connection:
        asked = 'SELECT event_text, from_tracks_as, "at" FROM by_event.x_from_tracks_as_y_join_events'
        assert connection.execute(asked).fetchall() == [(OF_SQL, 1, "2024-05-01T02:00:00+99:00")]
    (view,) = event_views.event_views([OF_SQL], {OF_SQL: (EventProperty(("FROM events",), "INT64"),)}, {})
    query = ddl.view_query(view, "p.sales")
    assert f"'{OF_SQL}'" in query
    assert "['FROM events']" in query
    assert "FROM `p`.`sales`.`tracks` AS track" in query


def test_renewing_changes_only_what_has_changed(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    url = f"--warehouse=duckdb:///{file}"
    main(["event_views", url, "--into=named"])
    assert len(capsys.readouterr().out.splitlines()) == len(NAMES) + 1
    main(["event_views", url, "--into=named"])
    assert capsys.readouterr().out.splitlines() == [f"duckdb:///{file} has {len(NAMES)} views of events in named"]
    with duckdb.connect(str(file)) as connection:
        insert(connection, ("2nd", {"new": 1}), ("A new one", {}), ("2ND", {}))
        connection.execute("DELETE FROM events WHERE name = 'SELECT'")
    main(["event_views", url, "--into=named"])
    assert sorted(capsys.readouterr().out.splitlines()[:-1]) == [
        "changed view named._2nd",
        "created view named._2nd_2",
        "created view named.a_new_one",
    ]
    assert views_of(file, "named")["select"] == "SELECT"
    main(["event_views", url, "--into=named", "--drop"])
    assert capsys.readouterr().out.splitlines()[:-1] == ["dropped view named.select"]
    assert "select" not in views_of(file, "named")


def test_an_event_keeps_its_views_name_when_another_folds_alike(file: Path) -> None:
    with duckdb.connect(str(file)) as connection:
        insert(connection, ("Signed Up", {}))
    main(["event_views", f"--warehouse=duckdb:///{file}"])
    with duckdb.connect(str(file)) as connection:
        insert(connection, ("signed_up", {}))
    main(["event_views", f"--warehouse=duckdb:///{file}"])
    found = views_of(file)
    assert (found["signed_up"], found["signed_up_2"]) == ("Signed Up", "signed_up")


@pytest.mark.parametrize("into", ["main", "Internal", "a-b", "", "1a"])
def test_a_schema_that_is_not_for_views_is_refused(file: Path, into: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["event_views", f"--warehouse=duckdb:///{file}", f"--into={into}"]) == 2
    assert "cannot be the name of a schema for views" in capsys.readouterr().err


def test_a_file_that_is_missing_is_not_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["event_views", f"--warehouse=duckdb:///{tmp_path}/none.duckdb"]) == 2
    assert "there is no such file" in capsys.readouterr().err
    assert not (tmp_path / "none.duckdb").exists()


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Iterator[bigquery.Client]:
    with BigQueryDouble() as served:
        monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", served.rest_url)
        yield connect("acme-data")


def test_bigquery_has_them_in_a_dataset_beside(client: bigquery.Client, capsys: pytest.CaptureFixture[str]) -> None:
    sales = Dataset("acme-data", "sales")
    create(client, sales, "EU")
    client.query_and_wait(
        f"INSERT INTO `{sales}.events` (message_id, type, name, timestamp, received_at, connection, properties,"
        " context) VALUES ('1', 'Action', 'Order Completed', TIMESTAMP '2024-05-01 00:00:00+00',"
        """ TIMESTAMP '2024-05-01 00:00:00+00', 'web', JSON '{"total": 2, "a.b": {"c": true}}', JSON '{}')"""
    )
    for changed in [["created view sales_by_event.order_completed"], []]:
        assert main(["event_views", "--warehouse=bigquery://acme-data/sales"]) == 0
        assert capsys.readouterr().out.splitlines()[:-1] == changed
    assert client.get_dataset("acme-data.sales_by_event").location == "EU"
    (row,) = client.query_and_wait("SELECT id, total, a_b_c FROM `acme-data.sales_by_event.order_completed`")
    assert row.values() == ("1", 2, True)


def test_googlesql_takes_the_views_and_what_they_are_made_of() -> None:
    dataset = googlesql.available()
    for table in tables.ALL:
        dataset.create(ddl.create_table(table, "p.sales"))
    for view in views.ALL:
        dataset.create(ddl.create_view(view, "p.sales"))
    for statement in (event_views.SHAPES, event_views.NAMES):
        dataset.analyze(ddl.in_dataset(statement, "p.sales"))
    shapes = {name: tuple(EventProperty((key,), "STRING") for key in ORDER) for name, _ in EVENTS}
    types = ("BOOL", "INT64", "FLOAT64", "TIMESTAMP")
    shapes["2nd"] = tuple(EventProperty(("a", type_), type_) for type_ in types)
    for view in event_views.event_views(shapes, shapes, {}):
        dataset.analyze(ddl.create_view(view, "p.sales"))
