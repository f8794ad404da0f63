from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timezone

import pytest
from google.api_core import exceptions
from google.auth.exceptions import RefreshError, TransportError
from google.cloud import bigquery

from pipeline.errors import UsageError
from pipeline.schema_command import main
from pipeline.warehouses.bigquery import catalog
from pipeline.warehouses.bigquery import ddl as bigquery_ddl
from pipeline.warehouses.bigquery.catalog import connect, create, lacking, usable
from pipeline.warehouses.bigquery.dataset import Dataset, UnusableDatasetError, dataset
from pipeline.warehouses.bigquery.warehouse import BigQueryWarehouse
from schemas import tables, views
from schemas.tables import Write
from schemas.upgrade import IncompatibleSchemaError
from tests.bigquery_double import BigQueryDouble
from tests.schemas import googlesql

SALES = Dataset("acme-data", "sales")
EVERYTHING = (
    "dataset acme-data.sales",
    *(f"table {table.name}" for table in tables.ALL),
    *(f"view {view.name}" for view in views.ALL),
    *(f"function {function.name}" for function in views.FUNCTIONS),
)


@pytest.fixture
def double(monkeypatch: pytest.MonkeyPatch) -> Iterator[BigQueryDouble]:
    with BigQueryDouble() as served:
        monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", served.rest_url)
        yield served


@pytest.fixture
def client(double: BigQueryDouble) -> bigquery.Client:
    return connect(SALES.project)


def got(client: bigquery.Client, name: str) -> bigquery.Table:
    return client.get_table(f"{SALES}.{name}")


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("bigquery://acme-data/sales", SALES),
        ("bigquery://example.com:acme-data/a_1", Dataset("example.com:acme-data", "a_1")),
        ("bigquery://p/d", Dataset("p", "d")),
        ("bigquery://acme-data", None),
        ("bigquery://acme-data/", None),
        ("bigquery:///sales", None),
        ("bigquery://acme-data/sales/contacts", None),
        ("bigquery://acme-data/sa-les", None),
        ("bigquery://Acme/sales", None),
        ("duckdb:///sales", None),
    ],
)
def test_a_url_names_a_project_and_a_dataset(url: str, expected: Dataset | None) -> None:
    assert dataset(url) == expected


def test_a_new_warehouse_has_every_table_and_view(client: bigquery.Client) -> None:
    assert create(client, SALES) == EVERYTHING
    for table in tables.ALL:
        made = got(client, table.name)
        assert [(f.name, f.mode, f.description) for f in made.schema] == [
            (c.name, c.mode.value, c.description) for c in table.columns
        ]
        assert (made.description, made.labels) == (table.description, bigquery_ddl.LABELS)
        assert (made.time_partitioning.field if made.time_partitioning else None) == table.partition_by
        assert tuple(made.clustering_fields or ()) == table.cluster_by
        assert catalog._key(made) == (table.key if table.write is Write.UPSERT else ())
        assert made.max_staleness == ("0-0 0 0:15:0" if table in tables.KEYED else None)
    for view in views.ALL:
        made = got(client, view.name)
        assert (made.description, made.labels) == (view.description, bigquery_ddl.LABELS)
        assert list(client.query_and_wait(f"SELECT * FROM {bigquery_ddl.qualified(view.name, str(SALES))}")) == []


def test_a_table_function_is_made_and_made_anew_where_it_reads_otherwise(client: bigquery.Client) -> None:
    create(client, SALES)
    (function,) = views.FUNCTIONS
    name = f"{SALES}.{function.name}"
    made = client.get_routine(name)
    assert (made.type_, made.description) == ("TABLE_VALUED_FUNCTION", function.description)
    assert made.body == bigquery_ddl.in_dataset(function.sql, str(SALES))
    assert [argument.name for argument in made.arguments] == list(function.parameters)
    made.body = "SELECT 1 AS older"
    client.update_routine(made, ["type_", "language", "body", "description", "arguments"])
    assert create(client, SALES) == (f"function {function.name}",)
    assert client.get_routine(name).body == bigquery_ddl.in_dataset(function.sql, str(SALES))


def test_who_may_not_make_functions_has_the_rest(client: bigquery.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise exceptions.Forbidden("Permission bigquery.routines.get denied")

    monkeypatch.setattr(bigquery.Client, "get_routine", refuse)
    assert create(client, SALES) == tuple(line for line in EVERYTHING if not line.startswith("function"))


@pytest.mark.parametrize(("asked", "location"), [(None, "US"), ("EU", "EU"), ("europe-west1", "europe-west1")])
def test_a_new_dataset_lies_where_it_is_wanted(client: bigquery.Client, asked: str | None, location: str) -> None:
    create(client, SALES, asked)
    made = client.get_dataset(str(SALES))
    assert (made.location, made.labels) == (location, bigquery_ddl.LABELS)


def test_a_dataset_elsewhere_is_refused(client: bigquery.Client) -> None:
    create(client, SALES, "EU")
    assert create(client, SALES, "eu") == create(client, SALES) == ()
    with pytest.raises(UnusableDatasetError, match=r"sales lies in EU, and cannot be moved"):
        create(client, SALES, "US")


def test_an_unknown_location_is_one_line(client: bigquery.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise exceptions.BadRequest("Invalid value for location: Mars is not a valid value")

    monkeypatch.setattr(client, "create_dataset", refuse)
    with pytest.raises(UnusableDatasetError, match=r"^Invalid value for location: .*; name another location$"):
        create(client, SALES, "Mars")


def test_creating_again_changes_nothing(double: BigQueryDouble, client: bigquery.Client) -> None:
    create(client, SALES)
    client.query_and_wait("INSERT INTO sales.identities VALUES ('a', 'b', NULL)")
    double.requests.clear()
    assert lacking(client, SALES) == create(client, SALES) == ()
    assert {method for method, _ in double.requests.rest} == {"GET"}
    assert double.requests.queries == []


def test_an_older_warehouse_is_upgraded_with_its_rows(double: BigQueryDouble, client: bigquery.Client) -> None:
    create(client, SALES)
    for name in ("accounts", "memberships", "users"):
        client.delete_table(f"{SALES}.{name}")
    older = bigquery_ddl.create_table(tables.ACCOUNTS, str(SALES))
    lines = [line for line in older.splitlines() if not line.startswith(("  `plan`", "  `connections`"))]
    client.query_and_wait("\n".join(lines))
    client.query_and_wait("INSERT INTO sales.accounts (account_id, name, traits) VALUES ('acme', 'Acme', JSON '{}')")
    outdated = bigquery.Table(f"{SALES}.pages")
    outdated.view_query = "SELECT 1 AS older"
    client.update_table(outdated, ["view_query"])
    added = ("column accounts.plan", "column accounts.connections")
    assert lacking(client, SALES) == (*added, "table memberships")
    assert create(client, SALES) == (*added, "table memberships", "view pages", "view users")
    types = {field.name: (field.field_type, field.mode, field.description) for field in got(client, "accounts").schema}
    assert types["plan"] == ("STRING", "NULLABLE", tables.ACCOUNTS.column("plan").description)
    assert types["connections"] == ("STRING", "REPEATED", tables.ACCOUNTS.column("connections").description)
    assert [(row["name"], row["plan"]) for row in double.rows(f"{SALES}.accounts")] == [("Acme", None)]
    assert create(client, SALES) == ()


def test_an_added_column_is_nullable_whatever_a_new_table_has(client: bigquery.Client) -> None:
    create(client, SALES)
    client.delete_table(f"{SALES}.jobs")
    client.query_and_wait(
        f"CREATE TABLE {SALES}.jobs (generation INT64 NOT NULL, PRIMARY KEY (generation) NOT ENFORCED)".replace(
            "acme-data", "`acme-data`"
        )
    )
    create(client, SALES)
    assert [field.mode for field in got(client, "jobs").schema] == [
        "REQUIRED",
        *["NULLABLE"] * (len(tables.JOBS.columns) - 1),
    ]


def test_what_is_not_ours_stays(client: bigquery.Client) -> None:
    create(client, SALES)
    contacts = got(client, "contacts")
    contacts.schema = [*contacts.schema, bigquery.SchemaField("mine", "STRING")]
    contacts.max_staleness = "0-0 0 4:0:0"
    client.update_table(contacts, ["schema", "max_staleness"])
    client.query_and_wait("CREATE TABLE sales.mine (a INT64)")
    assert create(client, SALES) == ()
    assert got(client, "contacts").schema[-1].name == "mine"
    assert got(client, "contacts").max_staleness == "0-0 0 4:0:0"


def test_a_keyed_table_without_primary_key_or_max_staleness_gets_it(client: bigquery.Client) -> None:
    create(client, SALES)
    contacts = got(client, "contacts")
    contacts.max_staleness = contacts.table_constraints = None
    client.update_table(contacts, ["max_staleness", "table_constraints"])
    assert create(client, SALES) == ("primary key of contacts", "max_staleness of contacts")
    assert got(client, "contacts").max_staleness == "0-0 0 0:15:0"
    assert catalog._key(got(client, "contacts")) == ("external_id",)
    assert create(client, SALES) == ()


DAY_MS = 86_400_000


def expiring_dataset(
    client: bigquery.Client, *, tables_ms: int | None = None, partitions_ms: int | None = None
) -> None:
    """Makes a dataset that gives new tables an expiration."""
    dataset = bigquery.Dataset(str(SALES))
    dataset.default_table_expiration_ms = tables_ms
    dataset.default_partition_expiration_ms = partitions_ms
    client.create_dataset(dataset)


def expirations(client: bigquery.Client, dataset: str = str(SALES)) -> dict[str, tuple[object, object]]:
    """Of each table and view that expires, when, and after how long its partitions do."""
    made = [client.get_table(each.reference) for each in client.list_tables(dataset)]
    found = {
        each.table_id: (each.expires, each.time_partitioning.expiration_ms if each.time_partitioning else None)
        for each in made
    }
    return {name: each for name, each in found.items() if each != (None, None)}


DEFAULTS: list[tuple[int | None, int | None]] = [(60 * DAY_MS, None), (None, 60 * DAY_MS), (60 * DAY_MS, 30 * DAY_MS)]


@pytest.mark.parametrize(("tables_ms", "partitions_ms"), DEFAULTS, ids=["tables", "partitions", "both"])
def test_what_is_made_does_not_expire_by_its_datasets_defaults(
    client: bigquery.Client, tables_ms: int | None, partitions_ms: int | None
) -> None:
    expiring_dataset(client, tables_ms=tables_ms, partitions_ms=partitions_ms)
    partitioned = "CREATE TABLE sales.mine (a TIMESTAMP) PARTITION BY TIMESTAMP_TRUNC(a, DAY)"
    client.query_and_wait(partitioned)
    assert expirations(client)
    assert create(client, SALES) == EVERYTHING[1:]
    assert set(expirations(client)) == {"mine"}
    assert create(client, SALES) == ()
    client.query_and_wait("DROP TABLE sales.mine")
    client.delete_table(f"{SALES}.events")
    client.query_and_wait(bigquery_ddl.create_table(tables.EVENTS, str(SALES)))
    client.query_and_wait(bigquery_ddl.create_view(views.ALL[0], str(SALES)))
    assert expirations(client) == {}


def test_a_log_that_forgets_is_refused_until_it_is_altered(client: bigquery.Client) -> None:
    create(client, SALES)
    for name in ("events", "identity_calls"):
        table = got(client, name)
        table.time_partitioning.expiration_ms = 400 * DAY_MS
        table.time_partitioning = table.time_partitioning
        client.update_table(table, ["time_partitioning"])
    for refusing in (create, lacking):
        with pytest.raises(UnusableDatasetError) as error:
            refusing(client, SALES)
        assert str(error.value) == (
            "table identity_calls, which contacts and accounts are made from, loses its rows after 400 days; to keep "
            "what they hold, run: ALTER TABLE `acme-data`.`sales`.`identity_calls` SET OPTIONS (expiration_timestamp = "
            "NULL, partition_expiration_days = NULL)"
        )
    client.query_and_wait(str(error.value).partition(" run: ")[2])
    assert create(client, SALES) == ()
    assert set(expirations(client)) == {"events"}, "how long events are kept is the user's"


@pytest.mark.parametrize("makes_what_is_missing", [True, False])
def test_a_job_does_not_start_on_a_log_that_forgets(client: bigquery.Client, makes_what_is_missing: bool) -> None:
    create(client, SALES)
    client.query_and_wait("ALTER TABLE sales.identity_calls SET OPTIONS (partition_expiration_days = 60)")
    warehouse = BigQueryWarehouse(SALES, makes_what_is_missing)
    with pytest.raises(UsageError, match=r"^--warehouse=bigquery://acme-data/sales: .* loses its rows after 60 days; "):
        warehouse.start(bounded=True, runner="a", options="", history=True)


def test_tables_that_expire_are_refused_with_the_statement_for_each(client: bigquery.Client) -> None:
    create(client, SALES)
    for name in ("contacts", "events"):
        table = got(client, name)
        table.expires = datetime(2031, 2, 3, tzinfo=timezone.utc)
        client.update_table(table, ["expires"])
    with pytest.raises(UnusableDatasetError, match=r"^table events expires on 2031-02-03; table contacts ") as error:
        create(client, SALES)
    statements = str(error.value).partition(" run: ")[2].split("; ")
    assert len(statements) == 2
    analyzer = googlesql.available()
    for known in (tables.EVENTS, tables.CONTACTS):
        analyzer.create(bigquery_ddl.create_table(known, str(SALES)))
    for statement in statements:
        analyzer.analyze(statement)
        client.query_and_wait(statement)
    assert create(client, SALES) == ()


def without(table: tables.Table, name: str, instead: str) -> str:
    """The DDL of a table in which a column's line is another."""
    lines = bigquery_ddl.create_table(table, str(SALES)).splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith(f"  `{name}`"))
    end = start + (len(tables.Column.__struct_fields__) if table.column(name).fields else 1)
    return "\n".join([*lines[:start], *([instead] if instead else []), *lines[end:]])


INCOMPATIBLE = [
    (
        "a column of another type",
        "accounts",
        without(tables.ACCOUNTS, "employees", "`employees` FLOAT64,"),
        ["table accounts, column employees: is FLOAT64, which cannot become INT64"],
    ),
    (
        "a struct with other fields",
        "contacts",
        without(tables.CONTACTS, "audiences", "`audiences` ARRAY<STRUCT<a STRING>>,"),
        [
            "table contacts, column audiences: is ARRAY<STRUCT<a STRING>>, which cannot become"
            f" {bigquery_ddl.type_name(tables.CONTACTS.column('audiences'))}"
        ],
    ),
    (
        "a column that must have a value, where a row may have none",
        "events",
        without(tables.EVENTS, "sent_at", "`sent_at` TIMESTAMP NOT NULL, `mine` STRING NOT NULL,"),
        [
            "table events, column sent_at: is NOT NULL, and not every row has a value for it",
            "table events, column mine: is NOT NULL, and not every row has a value for it",
        ],
    ),
    (
        "a table of the same name that is somebody else's",
        "jobs",
        "CREATE TABLE sales.jobs (id INT64, runner DATE, PRIMARY KEY (id) NOT ENFORCED)",
        [
            "table jobs, column generation: is missing, and a key column cannot be added",
            "table jobs, column runner: is DATE, which cannot become STRING",
            "table jobs: its primary key is id, which cannot become generation",
        ],
    ),
    (
        "a view for a table",
        "jobs",
        "CREATE VIEW sales.jobs AS SELECT 1 AS a",
        ["table jobs: there is a view of that name"],
    ),
    (
        "a table for a view",
        "pages",
        "CREATE TABLE sales.pages (a INT64)",
        ["view pages: there is a table of that name"],
    ),
]


@pytest.mark.parametrize(("what", "name", "statement", "lines"), INCOMPATIBLE, ids=[case[0] for case in INCOMPATIBLE])
def test_an_incompatible_warehouse_is_refused_and_left_as_it_was(
    client: bigquery.Client, what: str, name: str, statement: str, lines: list[str]
) -> None:
    create(client, SALES)
    for each in (name, "identities"):
        client.delete_table(f"{SALES}.{each}")
    client.query_and_wait(statement)
    with pytest.raises(IncompatibleSchemaError) as error:
        create(client, SALES)
    assert list(error.value.lines) == lines
    assert "identities" not in {each.table_id for each in client.list_tables(str(SALES))}


@pytest.mark.parametrize(
    ("raised", "said"),
    [
        (RefreshError("Reauthentication is needed."), "gcloud auth application-default login"),
        (
            exceptions.Forbidden("Access Denied: Project a: no permission\nmore"),
            "roles/bigquery.jobUser",
        ),
        (exceptions.NotFound("Not found: Project a"), "Not found: Project a; name a project and a dataset that exist"),
        (
            exceptions.PreconditionFailed("Precondition check failed."),
            "somebody else has just changed it",
        ),
        (TransportError("no route"), "BigQuery cannot be reached: no route"),
        (exceptions.RetryError("Timeout of 30.0s exceeded", None), "BigQuery cannot be reached: Timeout of 30.0s"),
    ],
    ids=lambda case: type(case).__name__ if isinstance(case, Exception) else "",
)
def test_what_a_user_can_put_right_is_said_in_one_line(raised: Exception, said: str) -> None:
    with pytest.raises(UnusableDatasetError) as error, usable():
        raise raised
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_without_credentials_it_is_said_how_to_log_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BIGQUERY_EMULATOR_HOST", raising=False)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/missing.json")
    with pytest.raises(UnusableDatasetError, match="gcloud auth application-default login"):
        connect("acme-data")


def test_a_bug_is_no_mistake_of_the_users() -> None:
    with pytest.raises(exceptions.BadRequest), usable():
        raise exceptions.BadRequest("Syntax error")


def test_the_command_creates_upgrades_and_refuses(
    double: BigQueryDouble, client: bigquery.Client, capsys: pytest.CaptureFixture[str]
) -> None:
    url = "bigquery://acme-data/sales"
    summary = f"{url} has {len(tables.ALL)} tables and {len(views.ALL)} views"
    assert main(["create", f"--warehouse={url}", "--location=EU"]) == 0
    assert capsys.readouterr().out.splitlines() == [*(f"created {line}" for line in EVERYTHING), summary]
    assert client.get_dataset(str(SALES)).location == "EU"
    assert main(["create", f"--warehouse={url}"]) == 0
    assert capsys.readouterr().out.splitlines() == [summary]
    client.delete_table(f"{SALES}.jobs")
    client.query_and_wait("CREATE TABLE sales.jobs (runner DATE)")
    assert main(["create", f"--warehouse={url}"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert all(line.startswith(f"--warehouse={url}: table jobs") for line in lines)
    assert all(line.endswith("; name another dataset, or move this one away") for line in lines)


def test_what_is_made_is_what_the_ddl_says(double: BigQueryDouble, client: bigquery.Client) -> None:
    create(client, SALES)
    client.create_dataset("by_hand")
    for table in tables.ALL:
        client.query_and_wait(bigquery_ddl.create_table(table, "acme-data.by_hand"))
    for name in tables.BY_NAME:
        made, said = (client.get_table(f"acme-data.{each}.{name}").to_api_repr() for each in ("sales", "by_hand"))
        for each in (made, said):
            for own in ("etag", "id", "tableReference", "creationTime"):
                del each[own]
        assert made == said
