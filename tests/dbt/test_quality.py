"""The package installed in a project, as docs/dbt.md says: its tests of quality pass on data without faults, and each
finds its own; nothing stays of days that are gone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from textwrap import dedent
from typing import Any, Final

import duckdb
import pytest

from pipeline.warehouses.duckdb import file as duckdb_file
from tests.dbt import environment

QUALITY: Final = sorted(file.stem for file in environment.PACKAGE.glob("tests/quality/*.sql"))
CLEAN: Final = """
    INSERT INTO events
        (message_id, type, name, timestamp, received_at, user_id, group_id, connection, properties, context)
    SELECT 'e' || n, 'Page', 'Home', noon, noon, 'ann', 'acme', 'web', '{}', '{}'
    FROM (SELECT n, TIMESTAMPTZ '2025-01-01 12:00:00+00' + to_days(n::INTEGER) AS noon FROM range(100) AS numbers(n));
    INSERT INTO contacts (external_id, email, traits, audiences, previous_ids, connections)
    VALUES ('ann', 'ann@acme.example', '{}', [], [], []), ('bob', 'bob@b.example', '{}', [], [], []);
    INSERT INTO accounts (account_id, name, domain, account_source, traits, connections)
    VALUES ('acme', 'Acme', 'acme.example', 'group', '{}', []);
    INSERT INTO identities (id, external_id) VALUES ('browser', 'ann');
"""
PLANTED: Final = {
    "contacts_that_share_an_address": """
        INSERT INTO contacts BY NAME SELECT * REPLACE ('ann 2' AS external_id, 'Ann@acme.example' AS email)
        FROM contacts WHERE external_id = 'ann'
    """,
    "accounts_that_double": """
        INSERT INTO accounts BY NAME SELECT * REPLACE ('acme-2' AS account_id, 'ACME ' AS name, NULL AS domain)
        FROM accounts
    """,
    "group_ids_without_an_account": """
        INSERT INTO events BY NAME SELECT * REPLACE ('named' AS message_id, 'nobody' AS group_id)
        FROM events WHERE message_id = 'e99'
    """,
    "ids_with_many_members": """
        INSERT INTO identities (id, external_id) SELECT 'id ' || n, 'bob' FROM range(26) AS numbers(n)
    """,
    "deletes_not_purged": """
        INSERT INTO events BY NAME SELECT * REPLACE ('of hers' AS message_id, 'gone' AS user_id, NULL AS group_id)
        FROM events WHERE message_id = 'e10';
        INSERT INTO identity_calls
            (message_id, type, timestamp, received_at, user_id, connection, traits, context, payload)
        VALUES ('d', 'delete', '2025-02-01', '2025-02-01', 'gone', 'web', '{}', '{}', '{}')
    """,
    "messages_that_are_there_twice": """
        CREATE OR REPLACE TABLE events AS FROM events;
        INSERT INTO events FROM events WHERE message_id = 'e99'
    """,
}
"""What each test is to find, one row each."""


PROJECT: Final = {
    "dbt_project.yml": """
        name: ours
        profile: segment_bigquery
        models: {segment_bigquery: {marts: {leads: {+enabled: false}}}}
        vars: {segment_bigquery: {segment_schema: main}}
    """,
    "models/ours.sql": """
        select session.session_id, event.message_id
        from {{ ref('segment_bigquery', 'sessions') }} as session
        inner join {{ source('segment', 'events_resolved') }} as event on event.message_id = session.session_id
    """,
    "profiles.yml": environment.PACKAGE.joinpath("profiles.yml").read_text("utf-8"),
}
"""A project of a user."""


def build(file: Path) -> Mapping[str, Any]:
    project = file.with_name("project")
    return environment.dbt("build", project=project, target=file.with_name("target"), SEGMENT_DUCKDB=str(file))


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    environment.require()
    path = tmp_path_factory.mktemp("quality") / "warehouse.duckdb"
    for name, text in PROJECT.items():
        path.with_name("project").joinpath(name).parent.mkdir(parents=True, exist_ok=True)
        path.with_name("project").joinpath(name).write_text(dedent(text), "utf-8")
    packages = path.with_name("project") / "dbt_packages"
    packages.mkdir()
    (packages / "segment_bigquery").symlink_to(environment.PACKAGE)
    with duckdb_file.connect(str(path)) as connection:
        duckdb_file.create(connection)
        connection.execute(CLEAN)
    return path


@pytest.fixture(scope="module")
def clean(file: Path) -> Mapping[str, Any]:
    return build(file)


@pytest.fixture(scope="module")
def planted(file: Path, clean: Mapping[str, Any]) -> Mapping[str, Any]:
    """The outcomes after the faults were planted, and the events of the first day removed."""
    assert clean
    with duckdb.connect(str(file)) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        for statement in PLANTED.values():
            connection.execute(statement)
        connection.execute("DELETE FROM events WHERE message_id = 'e0'")
    return build(file)


def test_each_test_has_a_fault() -> None:
    assert sorted(PLANTED) == QUALITY


def test_data_without_faults_pass(clean: Mapping[str, Any]) -> None:
    assert {outcome["status"] for outcome in clean.values()} == {"success", "pass"}
    assert {"ours", "sessions", *QUALITY} <= clean.keys()
    assert "leads" not in clean


@pytest.mark.parametrize("name", QUALITY)
def test_a_fault_is_found(planted: Mapping[str, Any], name: str) -> None:
    assert (planted[name]["status"], planted[name]["failures"]) == ("warn", 1)


def test_nothing_else_is_found(planted: Mapping[str, Any]) -> None:
    warned = {name for name, outcome in planted.items() if outcome["status"] == "warn"}
    assert warned == {*QUALITY}


def test_a_day_that_is_gone_leaves_nothing(file: Path, planted: Mapping[str, Any]) -> None:
    assert planted
    with duckdb.connect(str(file), read_only=True) as connection:
        for model in ("int_visits", "int_activity"):
            first = connection.execute(f"SELECT min(received_day)::VARCHAR FROM analytics.{model}").fetchall()
            assert first == [("2025-01-02",)]
        copied = connection.execute("SELECT sum(events) FROM analytics.int_activity").fetchall()
        assert copied == connection.execute("SELECT count(*) FROM events").fetchall()
