"""The double's REST API makes, changes and refuses datasets, tables and views as BigQuery does."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest
from google.api_core.exceptions import (
    BadRequest,
    Conflict,
    GoogleAPICallError,
    MethodNotImplemented,
    NotFound,
    PreconditionFailed,
)
from google.cloud.bigquery import Client, Dataset, SchemaField, Table, TableReference, TimePartitioning
from google.cloud.bigquery.table import PrimaryKey, TableConstraints

from tests.bigquery_double import BigQueryDouble, clients
from tests.bigquery_double.conftest import NOW

TABLE = "project.dataset.contacts"


@pytest.fixture
def client(double: BigQueryDouble) -> Client:
    return clients.rest(double)


def columns() -> list[SchemaField]:
    audience = [
        SchemaField("key", "STRING", "REQUIRED", description="the audience's key"),
        SchemaField("is_member", "BOOL", "REQUIRED"),
    ]
    return [
        SchemaField("id", "STRING", "REQUIRED", description="its label"),
        SchemaField("seen_at", "TIMESTAMP", description="when it was seen"),
        SchemaField("employees", "INT64"),
        SchemaField("traits", "JSON", "REQUIRED"),
        SchemaField("audiences", "STRUCT", "REPEATED", fields=audience),
    ]


def make(client: Client, name: str = TABLE) -> Table:
    table = Table(name, columns())
    table.description = "One person"
    table.labels = {"made_by": "test"}
    table.time_partitioning = TimePartitioning(field="seen_at")
    table.clustering_fields = ["id"]
    table.table_constraints = TableConstraints(PrimaryKey(["id"]), None)
    table._properties["maxStaleness"] = "0-0 0 0:15:0"
    return client.create_table(table)


def test_a_dataset_is_made_once(client: Client) -> None:
    dataset = Dataset("project.made")
    dataset.location = "EU"
    client.create_dataset(dataset)
    assert client.get_dataset("project.made").location == "EU"
    client.create_dataset("project.made", exists_ok=True)
    with pytest.raises(Conflict, match="Already Exists: Dataset project:made"):
        client.create_dataset("project.made")
    assert [each.dataset_id for each in client.list_datasets()] == ["dataset", "made"]


def test_a_table_is_as_it_was_made(double: BigQueryDouble, client: Client) -> None:
    make(client)
    table = client.get_table(TABLE)
    assert table.schema == [
        SchemaField("id", "STRING", "REQUIRED", description="its label"),
        SchemaField("seen_at", "TIMESTAMP", description="when it was seen"),
        SchemaField("employees", "INTEGER"),
        SchemaField("traits", "JSON", "REQUIRED"),
        SchemaField("audiences", "RECORD", "REPEATED", fields=table.schema[4].fields),
    ]
    assert [field.field_type for field in table.schema[4].fields] == ["STRING", "BOOLEAN"]
    assert table.schema[4].fields[0].description == "the audience's key"
    assert table.description == "One person"
    assert table.labels == {"made_by": "test"}
    assert table.time_partitioning.field == "seen_at"
    assert table.clustering_fields == ["id"]
    assert table.table_constraints is not None
    assert table.table_constraints.primary_key is not None
    assert table.table_constraints.primary_key.columns == ["id"]
    assert table.to_api_repr()["maxStaleness"] == "0-0 0 0:15:0"
    assert (table.table_type, table.location, table.num_rows) == ("TABLE", "US", 0)
    assert table.created is not None
    assert table.created.timestamp() == NOW / 1e6
    assert double.requests.rest[-1] == ("GET", "/bigquery/v2/projects/project/datasets/dataset/tables/contacts")


def test_tables_are_listed_and_deleted(client: Client) -> None:
    make(client)
    make(client, "project.dataset.others")
    assert [each.table_id for each in client.list_tables("dataset")] == ["contacts", "others"]
    client.delete_table(TABLE)
    client.delete_table(TABLE, not_found_ok=True)
    assert [each.table_id for each in client.list_tables("dataset")] == ["others"]


def test_a_dataset_is_deleted_when_it_is_empty(client: Client) -> None:
    make(client)
    with pytest.raises(BadRequest, match="still in use"):
        client.delete_dataset("dataset")
    client.delete_dataset("dataset", delete_contents=True)
    with pytest.raises(NotFound):
        client.get_table(TABLE)


def test_a_view_has_the_columns_of_its_query(client: Client) -> None:
    make(client)
    view = Table("project.dataset.members")
    view.view_query = f"SELECT id, audience.key FROM `{TABLE}`, UNNEST(audiences) AS audience"
    view.description = "Who is in which audience"
    made = client.create_table(view)
    assert (made.table_type, made.view_query) == ("VIEW", view.view_query)
    assert [(field.name, field.field_type) for field in made.schema] == [("id", "STRING"), ("key", "STRING")]
    made.view_query = f"SELECT employees FROM `{TABLE}`"
    assert [field.name for field in client.update_table(made, ["view_query"]).schema] == ["employees"]


Act = Callable[[Client], Any]


def create(**properties: Any) -> Act:
    def act(client: Client) -> Any:
        table = Table(TABLE, columns())
        table._properties.update(properties)
        return client.create_table(table)

    return act


def key(*names: str) -> dict[str, Any]:
    return {"primaryKey": {"columns": list(names)}}


REFUSED: list[tuple[str, Act, type[GoogleAPICallError], str]] = [
    ("no such dataset", lambda client: client.get_dataset("zork"), NotFound, "Not found: Dataset project:zork"),
    ("no such table", lambda client: client.get_table(TABLE), NotFound, "Not found: Table project:dataset.contacts"),
    ("a table in no dataset", lambda client: make(client, "project.zork.t"), NotFound, "Not found: Dataset"),
    ("tables of no dataset", lambda client: list(client.list_tables("zork")), NotFound, "Not found: Dataset"),
    ("a dataset's name with a dash", lambda client: client.create_dataset("a-b"), BadRequest, "Invalid dataset ID"),
    ("a key that is no column", create(tableConstraints=key("zork")), BadRequest, "does not exist"),
    ("JSON in a key", create(tableConstraints=key("traits")), BadRequest, "primary key"),
    ("an ARRAY in a key", create(tableConstraints=key("audiences")), BadRequest, "primary key"),
    ("clustering by JSON", create(clustering={"fields": ["traits"]}), BadRequest, "clustered by"),
    ("clustering by 5 columns", create(clustering={"fields": ["id"] * 5}), BadRequest, "at most 4"),
    ("partitioning by text", create(timePartitioning={"type": "DAY", "field": "id"}), BadRequest, "partitioned by"),
    ("an unknown type", create(schema={"fields": [{"name": "x", "type": "ZORK"}]}), BadRequest, "ZORK"),
    (
        "a column twice",
        create(schema={"fields": [{"name": "x", "type": "STRING"}, {"name": "X", "type": "STRING"}]}),
        BadRequest,
        "Duplicate",
    ),
    (
        "a column of a reserved name",
        create(schema={"fields": [{"name": "_CHANGE_TYPE", "type": "STRING"}]}),
        BadRequest,
        "reserved",
    ),
]


@pytest.mark.parametrize(("act", "error", "words"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
def test_what_cannot_be_is_refused(client: Client, act: Act, error: type[GoogleAPICallError], words: str) -> None:
    with pytest.raises(error, match=words):
        act(client)


def test_an_error_is_in_bigquerys_json(double: BigQueryDouble) -> None:
    url = f"{double.rest_url}/bigquery/v2/projects/project/datasets/zork"
    with pytest.raises(urllib.request.HTTPError) as raised:
        urllib.request.urlopen(url)
    error = json.load(raised.value)["error"]
    assert error["code"] == raised.value.code == 404
    assert error["errors"] == [{"message": error["message"], "domain": "global", "reason": "notFound"}]


def test_a_bug_of_the_double_is_told_at_once(client: Client) -> None:
    with pytest.raises(MethodNotImplemented, match=r"(?s)this double failed: .*KeyError: 'query'"):
        client._connection.api_request("POST", "/projects/project/jobs", data={"configuration": {"query": {}}})


def test_columns_are_added_and_relaxed(client: Client) -> None:
    table = make(client)
    first, *others = table.schema
    table.schema = [
        SchemaField("plan", "STRING", description="is put last"),
        SchemaField(first.name, first.field_type, "NULLABLE", description="now optional"),
        *others,
    ]
    changed = client.update_table(table, ["schema"])
    assert [field.name for field in changed.schema] == [first.name, *(each.name for each in others), "plan"]
    assert (changed.schema[0].mode, changed.schema[0].description) == ("NULLABLE", "now optional")


INCOMPATIBLE: list[tuple[str, Callable[[list[SchemaField]], list[SchemaField]], str]] = [
    ("a column is left out", lambda old: old[1:], "id is missing in new schema"),
    ("another type", lambda old: [*old[:2], SchemaField("employees", "STRING"), *old[3:]], "from INTEGER to STRING"),
    ("made REQUIRED", lambda old: [*old[:2], SchemaField("employees", "INT64", "REQUIRED"), *old[3:]], "changed mode"),
    ("a REQUIRED column more", lambda old: [*old, SchemaField("x", "STRING", "REQUIRED")], "Cannot add required"),
]


@pytest.mark.parametrize(
    ("change", "words"), [case[1:] for case in INCOMPATIBLE], ids=[case[0] for case in INCOMPATIBLE]
)
def test_an_incompatible_schema_is_refused(
    client: Client, change: Callable[[list[SchemaField]], list[SchemaField]], words: str
) -> None:
    table = make(client)
    before = list(table.schema)
    table.schema = change(before)
    with pytest.raises(BadRequest, match=words):
        client.update_table(table, ["schema"])
    assert client.get_table(TABLE).schema == before


def test_other_properties_are_changed_or_removed(client: Client) -> None:
    table = make(client)
    table.description = "Another text"
    table.labels = {"more": "x"}
    changed = client.update_table(table, ["description", "labels"])
    assert (changed.description, changed.labels) == ("Another text", {"made_by": "test", "more": "x"})
    changed.description = None
    changed.labels["made_by"] = None
    changed = client.update_table(changed, ["description", "labels"])
    assert (changed.description, changed.labels) == (None, {"more": "x"})


def test_a_label_is_of_few_characters(client: Client) -> None:
    table = make(client)
    table.labels = {"more": "Not: a label"}
    with pytest.raises(BadRequest, match="characters that a label cannot have"):
        client.update_table(table, ["labels"])


def test_a_change_of_what_another_has_changed_is_refused(client: Client) -> None:
    mine, theirs = make(client), client.get_table(TABLE)
    theirs.description = "theirs"
    client.update_table(theirs, ["description"])
    mine.description = "mine"
    with pytest.raises(PreconditionFailed):
        client.update_table(mine, ["description"])


def test_projects_are_apart(double: BigQueryDouble, client: Client) -> None:
    other = clients.rest(double, "other-project")
    other.create_dataset("dataset")
    make(client)
    assert [each.table_id for each in other.list_tables("dataset")] == []
    with pytest.raises(NotFound):
        other.get_table(TableReference.from_string("other-project.dataset.contacts"))
