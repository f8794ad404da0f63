"""Each view's rows, on the same small tables in DuckDB and in GoogleSQL's reference evaluator."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import duckdb
import pytest
from msgspec import Raw
from sqlglot.errors import UnsupportedError

from pipeline.warehouses.bigquery import ddl as bigquery_ddl
from pipeline.warehouses.duckdb import ddl as duckdb_ddl
from pipeline.warehouses.duckdb import file as duckdb_file
from schemas import tables, views
from schemas.tables import Account, Contact, Event, Identity, IdentityCall, Membership, Row, Table, Timestamp
from tests.schemas import googlesql

DAY = 86_400_000_000
MAY_1 = Timestamp(1_714_521_600_000_000)
VIEWS = {view.name: view for view in views.ALL}
JSON_COLUMNS = {"properties", "context", "integrations", "traits", "extra", "promoted", "value"}


def raw(value: object) -> Raw:
    return Raw(json.dumps(value).encode())


def event(message_id: str, type_: str, name: str, **fields: object) -> Event:
    given = {"timestamp": MAY_1, "received_at": MAY_1, "connection": "default", **fields}
    optional = dict.fromkeys(("sent_at", "user_id", "anonymous_id", "group_id", "integrations"))
    documents = {"properties": raw({}), "context": raw({})}
    return Event(message_id=message_id, type=type_, name=name, **{**optional, **documents, **given})  # type: ignore[arg-type]


def call(message_id: str, type_: str, **fields: object) -> IdentityCall:
    given = {"timestamp": MAY_1, "received_at": MAY_1, "connection": "default", **fields}
    optional = dict.fromkeys(("user_id", "anonymous_id", "previous_id", "group_id", "properties"))
    documents = {"traits": raw({}), "context": raw({}), "payload": "{}"}
    return IdentityCall(message_id=message_id, type=type_, **{**optional, **documents, **given})  # type: ignore[arg-type]


WEB = {
    "active": True,
    "campaign": {"name": "spring", "source": "mail", "medium": "cpc", "term": "shoes", "content": "b"},
    "ip": "8.8.8.8",
    "library": {"name": "analytics.js", "version": "2.11.1"},
    "locale": "en-US",
    "page": {
        "path": "/p",
        "referrer": "https://g.example/",
        "search": "?q=1",
        "title": "P",
        "url": "https://a.example/p?q=1",
    },
    "timezone": "Europe/Paris",
    "userAgent": 'Mozilla/5.0 "é"',
    "userAgentData": {"mobile": False, "platform": "macOS", "brands": [{"brand": "x"}]},
    "groupId": "g1",
}
MOBILE = {
    "app": {"name": "Shop", "version": "1.2", "build": "3", "namespace": "com.shop"},
    "device": {
        "id": "d",
        "adTrackingEnabled": True,
        "advertisingId": "ad",
        "manufacturer": "M",
        "model": "X",
        "name": "x",
    },
    "location": {"city": "Paris", "latitude": 48.85, "longitude": -2, "speed": None},
    "network": {"bluetooth": False, "carrier": "T", "cellular": True, "wifi": "yes"},
    "os": {"name": "iOS", "version": "17.4"},
    "screen": {"width": 320, "height": 568.5, "density": "2"},
    "locale": {"not": "a scalar"},
    "timezone": None,
    "ip": ["8.8.8.8"],
}
PROPERTIES = {"url": "https://a.example/p", "path": "/p", "title": "P", "referrer": "", "search": "?q=1", "other": 1}
TRAITS = {
    "email": "ann@acme.example",
    "name": None,
    "firstName": "Ann",
    "last_name": "Lee",
    "age": 42,
    "address": {"city": "Paris", "postalCode": 75001},
    "company": {"id": 7, "name": "Acme", "employee_count": "ten"},
    "createdAt": "2024-04-01T12:00:00+02:00",
    "custom": [1],
}
PROMOTED = raw(
    {
        "email": "ann@acme.example",
        "name": "Ann Lee",
        "first_name": "Ann",
        "last_name": "Lee",
        "created_at": "2024-04-01T10:00:00.000000Z",
    }
)

SLUGS = {
    "Order Completed": "order_completed",
    "Signed In": "signed_in",
    "signedUp": "signed_up",
    "inviteYourCustomers": "invite_your_customers",
    "HTTP Error 500": "http_error_500",
    "SAMPLE 2 TEXT": "sample_2_text",
    "Completed Last30Days": "completed_last30_days",
    "___$$Base64Encode": "base64_encode",
    "  Über   uns! ": "ber_uns",
    "already_snake___case": "already_snake_case",
    "注文": "",
}
"""Event names and their slugs, as Segment's go-snakecase makes them."""

ROWS: Mapping[Table, Sequence[Row]] = {
    tables.EVENTS: (
        event(
            "page",
            "Page",
            "Pricing",
            anonymous_id="anon",
            sent_at=MAY_1 - 1,
            properties=raw(PROPERTIES),
            context=raw(WEB),
        ),
        event("bare page", "Page", "", anonymous_id="nobody"),
        event(
            "screen", "Screen", "Cart", user_id="ann", anonymous_id="anon", context=raw(MOBILE), integrations=raw({})
        ),
        event("track", "Action", "Order Completed", user_id="ann_old", timestamp=MAY_1 - DAY),
        event("shared device", "Action", "Signed In", user_id="bob", anonymous_id="anon"),
        *(event(f"track {name}", "Action", name, user_id="bob") for name in SLUGS),
    ),
    tables.IDENTITY_CALLS: (
        call(
            "identify",
            "identify",
            sent_at=MAY_1 + 1_234_567,
            original_timestamp=MAY_1 - 1,
            promoted=PROMOTED,
            user_id="ann",
            anonymous_id="anon",
            timestamp=MAY_1 - DAY,
            traits=raw(TRAITS),
            context=raw(WEB),
        ),
        call("identify again", "identify", user_id="ann", context=raw({"ip": "9.9.9.9"})),
        call("identify of old", "identify", user_id="ann_old"),
        call("identify of anonymous", "identify", anonymous_id="anon", traits=raw(TRAITS), promoted=PROMOTED),
        call(
            "identify with half a surrogate pair", "identify", user_id="bob", payload=r'{"sentAt": "x", "y": "\ud800"}'
        ),
        call("identify of deleted", "identify", user_id="gone"),
        call("delete", "delete", user_id="gone"),
        call("alias", "alias", user_id="ann", previous_id="ann_old", anonymous_id="anon"),
        call(
            "group",
            "group",
            user_id="ann",
            group_id="acme",
            traits=raw({"name": "Acme Inc", "Employees": "12", "PLAN": "pro", "address": {"city": "Lyon"}}),
            promoted=raw({"name": "Acme Inc", "employees": 12, "plan": "pro"}),
        ),
        call(
            "engage",
            "track",
            user_id="ann",
            properties=raw({"audience_key": "VIPs 2024", "VIPs 2024": "true"}),
            context=raw({"personas": {"computation_class": "audience", "computation_key": "ignored"}}),
        ),
        call(
            "engage group",
            "group",
            user_id="ann",
            group_id="acme",
            timestamp=MAY_1 + DAY,
            traits=raw({"email": "x", 'a.b/c~"d': [1, {"e": None}]}),
            context=raw({"personas": {"computation_class": "trait", "computation_key": 7}}),
        ),
    ),
    tables.CONTACTS: (
        Contact(
            "ann",
            email="ann@acme.example",
            name="Ann Lee",
            account_id="acme",
            first_name="Ann",
            created_at=Timestamp(MAY_1 - 30 * DAY),
            traits=raw(TRAITS),
            audiences=(tables.Audience("vip", True, MAY_1),),
            previous_ids=("ann_old", "anon"),
            updated_at=MAY_1,
        ),
        Contact("bob", name="Bob"),
        Contact("cy", account_id="acme.example", account_source="email_domain"),
        Contact("di", account_id="two.example", account_source="email_domain"),
    ),
    tables.ACCOUNTS: (
        Account(
            "acme",
            "Acme Inc",
            domain="acme.example",
            employees=12,
            account_source="group",
            connections=("default",),
        ),
        Account("acme.example", "acme.example", domain="acme.example", account_source="email_domain"),
        Account("Acme.Example", "A", domain="other.example", account_source="identify_traits"),
        Account("one", "One", domain="two.example", account_source="group"),
        Account("two", "Two", domain="two.example", account_source="identify_traits"),
        Account("two.example", "two.example", domain="two.example", account_source="email_domain"),
        Account("alone.example", "alone.example", domain="alone.example", account_source="email_domain"),
        Account("none", "None", account_source="group"),
    ),
    tables.IDENTITIES: (Identity("anon", "ann"), Identity("ann_old", "ann")),
    tables.MEMBERSHIPS: (
        Membership("ann", "acme", "group", MAY_1, MAY_1),
        Membership("visitor", "nowhere", "email_domain", MAY_1, MAY_1),
    ),
}

Query = Callable[[str], list[Mapping[str, object]]]


@pytest.fixture(scope="module")
def in_duckdb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Query]:
    """The views from a second connection, that has nothing but the file, and another time zone."""
    file = str(tmp_path_factory.mktemp("views") / "warehouse.duckdb")
    with duckdb_file.connect(file) as connection:
        duckdb_file.create(connection)
        for table, rows in ROWS.items():
            connection.executemany(
                f"INSERT INTO {table.name} VALUES ({', '.join('?' * len(table.columns))})",
                [[googlesql.python(getattr(row, c.name), c) for c in table.columns] for row in rows],
            )
    with duckdb.connect() as connection:
        connection.execute(
            f"SET TimeZone = 'America/New_York'; ATTACH '{file}' AS elsewhere (READ_ONLY); USE elsewhere"
        )

        def query(sql: str) -> list[Mapping[str, object]]:
            cursor = connection.execute(sql.replace("`", '"'))
            names = [each[0] for each in cursor.description]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

        yield query


@pytest.fixture(scope="module")
def in_googlesql() -> Query:
    """The views where keys are not enforced: every identity call is there twice. Events are written exactly once."""
    dataset = googlesql.available()
    for table in tables.ALL:
        dataset.create(bigquery_ddl.create_table(table))
        rows = ROWS.get(table, ())
        dataset.insert(table, [*rows, *rows] if table is tables.IDENTITY_CALLS else rows)
    for view in views.ALL:
        dataset.create(bigquery_ddl.create_view(view))
        dataset.query(view.sql, into=view.name)
    return dataset.query


@pytest.fixture(params=["duckdb", "googlesql"])
def query(request: pytest.FixtureRequest) -> Query:
    engine: Query = request.getfixturevalue(f"in_{request.param}")
    return engine


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=timezone.utc)


RESOLVED = "SELECT external_id, account_id, email, contact_name FROM events_resolved WHERE message_id = "
ANN = ("ann", "acme", "ann@acme.example", "Ann Lee")

CASES = [
    ("an anonymous_id is resolved through identities", f"{RESOLVED} 'page'", [ANN]),
    ("a userId comes before the anonymousId", f"{RESOLVED} 'shared device'", [("bob", None, None, "Bob")]),
    ("a label resolves to itself", f"{RESOLVED} 'screen'", [ANN]),
    ("a userId that was absorbed is resolved", f"{RESOLVED} 'track'", [ANN]),
    ("an id without a row stands for itself", f"{RESOLVED} 'bare page'", [("nobody", None, None, None)]),
    ("each event is there once", "SELECT COUNT(*) AS n FROM events_resolved", [(5 + len(SLUGS),)]),
    (
        "events_resolved keeps the event's own name",
        "SELECT name FROM events_resolved WHERE message_id = 'page'",
        [("Pricing",)],
    ),
    ("each identity call is there once", "SELECT COUNT(*) AS n FROM identity_calls_unique", [(11,)]),
    (
        "a membership has names, also without contact or account",
        "SELECT external_id, account_id, email, contact_name, account_name, domain FROM contact_accounts ORDER BY 1",
        [
            ("ann", "acme", "ann@acme.example", "Ann Lee", "Acme Inc", "acme.example"),
            ("visitor", "nowhere", None, None, None, None),
        ],
    ),
    (
        "a company is one, whatever it goes by",
        "SELECT account_id, name, ARRAY_TO_STRING(account_ids, ' ') AS ids FROM accounts_resolved ORDER BY 1",
        [
            ("Acme.Example", "A", "Acme.Example"),
            ("acme", "Acme Inc", "acme acme.example"),
            ("alone.example", "alone.example", "alone.example"),
            ("none", "None", "none"),
            ("one", "One", "one"),
            ("two", "Two", "two"),
            ("two.example", "two.example", "two.example"),
        ],
    ),
    (
        "a contact has its company",
        "SELECT external_id, account_id, account_name FROM contacts_resolved ORDER BY 1",
        [
            ("ann", "acme", "Acme Inc"),
            ("bob", None, None),
            ("cy", "acme", "Acme Inc"),
            ("di", "two.example", "two.example"),
        ],
    ),
    (
        "a page has its properties",
        "SELECT id, user_id, anonymous_id, name, url, path, title, referrer, search FROM pages ORDER BY 1",
        [
            ("bare page", None, "nobody", None, None, None, None, None, None),
            ("page", None, "anon", "Pricing", "https://a.example/p", "/p", "P", "", "?q=1"),
        ],
    ),
    (
        "a page has its times",
        "SELECT received_at, sent_at, timestamp FROM pages WHERE id = 'page'",
        [(at("2024-05-01"), at("2024-04-30T23:59:59.999999"), at("2024-05-01"))],
    ),
    (
        "a context is flattened",
        "SELECT context_campaign_name, context_campaign_source, context_campaign_medium, context_campaign_term,"
        " context_campaign_content, context_ip, context_user_agent, context_locale, context_library_name,"
        " context_page_url, context_group_id, context_user_agent_data_mobile, context_active, context_os_name"
        " FROM pages WHERE id = 'page'",
        [
            (
                *("spring", "mail", "cpc", "shoes", "b", "8.8.8.8", 'Mozilla/5.0 "é"', "en-US", "analytics.js"),
                *("https://a.example/p?q=1", "g1", False, True, None),
            )
        ],
    ),
    (
        "numbers and booleans of a context have their types",
        "SELECT context_screen_width, context_screen_height, context_screen_density, context_location_latitude,"
        " context_location_longitude, context_network_bluetooth, context_network_cellular,"
        " context_device_ad_tracking_enabled FROM screens",
        [(320.0, 568.5, 2.0, 48.85, -2.0, False, True, True)],
    ),
    (
        "what is no scalar, no boolean or null in a context is NULL",
        "SELECT context_locale, context_timezone, context_ip, context_network_wifi, context_location_speed"
        " FROM screens",
        [(None, None, None, None, None)],
    ),
    (
        "a screen has its name",
        "SELECT id, user_id, anonymous_id, name FROM screens",
        [("screen", "ann", "anon", "Cart")],
    ),
    (
        "a track has the event's slug and its text",
        "SELECT id, user_id, anonymous_id, event, event_text FROM tracks"
        " WHERE id IN ('track', 'shared device') ORDER BY 1",
        [
            ("shared device", "bob", "anon", "signed_in", "Signed In"),
            ("track", "ann_old", None, "order_completed", "Order Completed"),
        ],
    ),
    (
        "an identify has the traits that it carried",
        "SELECT email, name, first_name, last_name, age, address_city, address_postal_code, company_id, company_name,"
        " company_employee_count, created_at FROM identifies WHERE id = 'identify'",
        [
            (
                *("ann@acme.example", "Ann Lee", "Ann", "Lee", 42, "Paris", "75001", "7", "Acme", None),
                at("2024-04-01T10:00:00"),
            )
        ],
    ),
    (
        "an identify has its times",
        "SELECT id, sent_at, original_timestamp FROM identifies ORDER BY 1",
        [
            ("identify", at("2024-05-01T00:00:01.234567"), at("2024-04-30T23:59:59.999999")),
            ("identify again", None, None),
            ("identify of anonymous", None, None),
            ("identify of deleted", None, None),
            ("identify of old", None, None),
            ("identify with half a surrogate pair", None, None),
        ],
    ),
    (
        "an alias has both ids",
        "SELECT id, user_id, previous_id, anonymous_id FROM aliases",
        [("alias", "ann", "ann_old", "anon")],
    ),
    (
        "a group has its traits",
        "SELECT id, user_id, group_id, name, employees, plan, address_city, industry FROM `groups` WHERE id = 'group'",
        [("group", "ann", "acme", "Acme Inc", 12, "pro", "Lyon", None)],
    ),
    (
        "a user_id that was identified and not deleted is a user, with its contact's traits",
        "SELECT id, email, first_name, created_at, context_ip FROM users ORDER BY 1",
        [
            ("ann", "ann@acme.example", "Ann", at("2024-04-01"), "9.9.9.9"),
            ("ann_old", "ann@acme.example", "Ann", at("2024-04-01"), None),
            ("bob", None, None, None, None),
        ],
    ),
]


@pytest.mark.parametrize(("what", "sql", "expected"), CASES, ids=[case[0] for case in CASES])
def test_a_view_gives_the_rows(query: Query, what: str, sql: str, expected: list[tuple[object, ...]]) -> None:
    assert [tuple(row.values()) for row in query(sql)] == expected, what


def test_a_track_has_the_slug_that_segment_gives_its_event(query: Query) -> None:
    assert {row["event_text"]: row["event"] for row in query("SELECT event_text, event FROM tracks")} == SLUGS


@pytest.mark.parametrize("name", VIEWS)
def test_duckdb_and_googlesql_give_one_answer(in_duckdb: Query, in_googlesql: Query, name: str) -> None:
    ours, theirs = (
        decoded(rows) for rows in (in_duckdb(f"SELECT * FROM `{name}`"), in_googlesql(f"SELECT * FROM `{name}`"))
    )
    assert ours == theirs
    assert ours


def decoded(rows: list[Mapping[str, object]]) -> list[dict[str, object]]:
    """The rows in one order, with JSON as its value."""
    return sorted(
        (
            {
                name: json.loads(value) if name in JSON_COLUMNS and isinstance(value, str) else value
                for name, value in row.items()
            }
            for row in rows
        ),
        key=repr,
    )


COMMON = "id received_at sent_at timestamp context_ip context_user_agent context_locale context_library_name"
SEGMENT = {
    "pages": "anonymous_id user_id url path title search referrer name context_page_url context_campaign_source"
    " context_campaign_medium context_campaign_name context_campaign_term context_campaign_content",
    "screens": "anonymous_id user_id name context_app_version context_device_ad_tracking_enabled context_screen_width",
    "tracks": "anonymous_id user_id event event_text",
    "identifies": "anonymous_id user_id original_timestamp email name first_name last_name created_at company_id",
    "aliases": "user_id previous_id original_timestamp",
    "users": "original_timestamp email name first_name last_name created_at company_id",
    "groups": "anonymous_id user_id group_id original_timestamp name industry employees plan website",
}
"""Columns of Segment's own warehouse, of `pages` all that the dbt package dbt-labs/segment reads."""


@pytest.mark.parametrize("name", SEGMENT)
def test_a_view_has_the_columns_of_segments_warehouse(query: Query, name: str) -> None:
    columns = query(f"SELECT * FROM `{name}`")[0].keys()
    assert {*COMMON.split(), *SEGMENT[name].split()} <= columns
    assert len({column.lower() for column in columns}) == len(columns)


def test_users_has_no_anonymous_id(in_duckdb: Query) -> None:
    assert "anonymous_id" not in in_duckdb("FROM users")[0]


def test_every_file_of_sql_is_a_view_or_is_included() -> None:
    files = {file.stem: file.read_text("utf-8") for file in Path(views.__file__).parent.glob("sql/*.sql")}
    functions = {function.name for function in views.FUNCTIONS}
    assert {name for name in files if not name.startswith("_")} == VIEWS.keys() | functions
    for name in files:
        if name.startswith("_"):
            assert any(f"-- include {name}.sql" in text for text in files.values()), name
    assert not any("-- include" in view.sql for view in views.ALL)


def test_every_view_is_valid_googlesql_in_a_dataset() -> None:
    dataset = googlesql.available()
    for table in tables.ALL:
        dataset.create(bigquery_ddl.create_table(table, "a-project.a_dataset"))
    for view in views.ALL:
        statement = dataset.create(bigquery_ddl.create_view(view, "a-project.a_dataset"))
        assert list(googlesql.inherited(statement, "name_path")) == ["a-project", "a_dataset", view.name]
        assert googlesql.options(statement)["description"] == view.description
        assert view.description.endswith(".")
    for function in views.FUNCTIONS:
        statement = dataset.analyze(bigquery_ddl.create_function(function, "a-project.a_dataset"))
        assert list(googlesql.inherited(statement, "name_path")) == ["a-project", "a_dataset", function.name]


def test_a_view_has_its_description_in_duckdb(in_duckdb: Query) -> None:
    comments = in_duckdb("SELECT view_name, comment FROM duckdb_views() WHERE NOT internal")
    assert {row["view_name"]: row["comment"] for row in comments} == {view.name: view.description for view in views.ALL}


COPIES = (
    event("late", "Page", "late copy", received_at=MAY_1 + DAY),
    event("late", "Page", "first", received_at=MAY_1),
    event("late", "Page", "later copy", received_at=MAY_1 + 2 * DAY),
    event("again", "Page", "written twice"),
    event("again", "Page", "written twice"),
    event("once", "Page", "once"),
)


def test_a_message_that_came_again_is_in_events_unique_once_as_it_came_first() -> None:
    dataset = googlesql.available()
    dataset.create(bigquery_ddl.create_table(tables.EVENTS))
    dataset.insert(tables.EVENTS, COPIES)
    dataset.create(bigquery_ddl.create_view(VIEWS["events_unique"]))
    dataset.query(VIEWS["events_unique"].sql, into="events_unique")
    rows = dataset.query("SELECT message_id, name FROM events_unique ORDER BY 1")
    assert [tuple(row.values()) for row in rows] == [("again", "written twice"), ("late", "first"), ("once", "once")]


UNIT = {"id": " unit-7 ", "plan": "team", "size": 3}
PATH = {"id": "org.unit.id", "key_1": "org", "key_2": "unit", "key_3": "id"}
PATHS = {"connections": {"web": {"method": "identify_traits", **PATH}}, "others": {"method": "group"}}
OF_PATHS: Mapping[Table, Sequence[Row]] = {
    tables.JOBS: (
        tables.Job(1, MAY_1, None, "", "", True, account_mappings=raw({"others": {"method": "email_domain"}})),
        tables.Job(2, MAY_1, None, "", "", True, account_mappings=raw(PATHS)),
        tables.Job(3, MAY_1, None, "", "", True),
    ),
    tables.ACCOUNTS: (
        Account("unit-7", "Unit 7", account_source="identify_traits", connections=("gone", "web")),
        Account("8", "Eight", account_source="group", connections=("gone", "web")),
    ),
    tables.IDENTITY_CALLS: (
        call("deep", "identify", user_id="ann", connection="web", traits=raw({"org": {"unit": UNIT, "name": "O"}})),
        call("number", "identify", user_id="bob", connection="web", traits=raw({"org": {"unit": {"id": 8.0, "x": 1}}})),
        call(
            "literal",
            "identify",
            user_id="cy",
            connection="web",
            traits=raw({"org.unit.id": "8", "org": {"unit": UNIT}}),
        ),
        call("no object", "identify", user_id="di", connection="web", traits=raw({"org": {"unit": "unit-7"}})),
        call("other way", "group", user_id="ann", group_id="8", connection="web", traits=raw({"plan": "free"})),
        call("no longer", "group", user_id="ann", group_id="8", connection="gone", traits=raw({"plan": "pro"})),
    ),
}


@pytest.mark.parametrize("dialect", ["duckdb", "googlesql"])
def test_traits_of_accounts_are_where_the_newest_job_says(dialect: str) -> None:
    asked = "SELECT account_id, trait, value_text, message_id FROM account_trait_changes ORDER BY 1, 2"
    if dialect == "googlesql":
        dataset = googlesql.available()
        for table in tables.ALL:
            dataset.create(bigquery_ddl.create_table(table))
            dataset.insert(table, OF_PATHS.get(table, ()))
        for name in ("identity_calls_unique", "account_trait_changes"):
            dataset.create(bigquery_ddl.create_view(VIEWS[name]))
            dataset.query(VIEWS[name].sql, into=name)
        rows = [tuple(row.values()) for row in dataset.query(asked)]
    else:
        with duckdb.connect() as connection:
            for statement in duckdb_ddl.statements():
                connection.execute(statement)
            for table, given in OF_PATHS.items():
                connection.executemany(
                    f"INSERT INTO {table.name} VALUES ({', '.join('?' * len(table.columns))})",
                    [[googlesql.python(getattr(row, c.name), c) for c in table.columns] for row in given],
                )
            rows = connection.execute(asked).fetchall()
    assert rows == [
        ("8", "plan", "pro", "no longer"),
        ("8", "x", "1", "number"),
        ("unit-7", "plan", "team", "deep"),
        ("unit-7", "size", "3", "deep"),
    ]


@pytest.mark.parametrize("name", views.COPIES_REMOVED)
def test_where_keys_are_enforced_a_view_that_removes_copies_is_its_table(in_duckdb: Query, name: str) -> None:
    assert "OVER" not in duckdb_ddl.create_view(VIEWS[name])
    assert in_duckdb(f"SELECT * FROM {name}") == in_duckdb(f"SELECT * FROM {views.COPIES_REMOVED[name]}")


EARLY = "TIMESTAMPTZ '2024-04-30 12:00:00+00'"
"""A time that tables do not tell by their least and greatest values that all rows are after."""
PUSHED = {
    "events_unique": (f"received_at > {EARLY} AND type = 'Action' AND name = 'Signed In'", "events"),
    "events_resolved": (f"received_at > {EARLY} AND type = 'Action' AND name = 'Signed In'", "events"),
    "pages": (f"received_at > {EARLY}", "events"),
    "screens": (f"received_at > {EARLY}", "events"),
    "tracks": (f"received_at > {EARLY} AND event_text = 'Signed In'", "events"),
    "identity_calls_unique": (f"received_at > {EARLY} AND type = 'group'", "identity_calls"),
    "identity_calls_resolved": (f"received_at > {EARLY} AND type = 'group'", "identity_calls"),
    "identifies": (f"received_at > {EARLY}", "identity_calls"),
    "groups": (f"received_at > {EARLY}", "identity_calls"),
    "aliases": (f"received_at > {EARLY}", "identity_calls"),
}
"""A filter on each view whose rows are calls, and the table that it is to reach."""


@pytest.fixture
def spread(tmp_path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """Tables whose least and greatest values say nothing about the filters."""
    with duckdb_file.connect(str(tmp_path / "spread.duckdb")) as connection:
        duckdb_file.create(connection)
        calls = ("alias", "group", "identify", "track", "zoom")
        for number, type_ in enumerate(("Page", "Screen", "Action", "Zoom", "Action")):
            at = f"TIMESTAMPTZ '2024-0{number + 3}-01 00:00:00+00'"
            name = ("Aa", "Signed In", "Zz")[number % 3]
            connection.execute(
                "INSERT INTO events (message_id, type, name, timestamp, received_at, connection, properties, context)"
                f" VALUES ('{number}', '{type_}', '{name}', {at}, {at}, 'web', '{{}}', '{{}}')"
            )
            connection.execute(
                "INSERT INTO identity_calls (message_id, type, timestamp, received_at, connection, traits, context,"
                f" payload) VALUES ('{number}', '{calls[number]}', {at}, {at}, 'web', '{{}}', '{{}}', '{{}}')"
            )
        yield connection


def scan_filters(node: Mapping[str, Any], table: str) -> Iterator[str]:
    """The filters of each scan of a table in DuckDB's plan."""
    info = node["extra_info"]
    if str(info.get("Table", "")).endswith(table):
        yield str(info.get("Filters", ""))
    for child in node["children"]:
        yield from scan_filters(child, table)


@pytest.mark.parametrize("view", PUSHED)
def test_a_filter_reaches_the_scan(spread: duckdb.DuckDBPyConnection, view: str) -> None:
    condition, table = PUSHED[view]
    plan = spread.execute(f'EXPLAIN (FORMAT JSON) SELECT * FROM "{view}" WHERE {condition}').fetchall()[0][1]
    (filters,) = scan_filters(json.loads(plan)[0], table)
    assert "received_at>" in filters
    assert "type=" in filters
    if "Signed In" in condition:
        assert "name='Signed In'" in filters


def test_a_function_of_times_reads_no_older_partitions(spread: duckdb.DuckDBPyConnection) -> None:
    times = "TIMESTAMPTZ '2024-05-02 00:00:00+00', TIMESTAMPTZ '2024-06-02 00:00:00+00'"
    plan = spread.execute(f"EXPLAIN (FORMAT JSON) SELECT * FROM events_between({times})").fetchall()[0][1]
    (filters,) = scan_filters(json.loads(plan)[0], "events")
    assert "received_at>='2024-05-01" in filters
    assert "timestamp>='2024-05-02" in filters


def test_every_view_of_calls_is_asked_for_its_filters() -> None:
    aggregates = {"contact_activity", "contact_activity_daily", "account_activity_daily", "users"}
    changes = {"audience_changes", "trait_changes", "account_trait_changes"}
    of_keyed_tables = {"accounts_resolved", "contacts_resolved", "contact_accounts", "contact_audiences"}
    judged = {*PUSHED, *aggregates, *changes, *of_keyed_tables}
    assert judged <= VIEWS.keys()
    assert [name for name in VIEWS.keys() - judged if "received_at" in VIEWS[name].sql] == []


def test_sql_that_duckdb_cannot_say_is_refused() -> None:
    with pytest.raises(UnsupportedError):
        duckdb_ddl.create_view(
            views.View("a", "", "SELECT ARRAY_AGG(user_id ORDER BY timestamp LIMIT 1) AS x FROM events")
        )
