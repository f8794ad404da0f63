"""Each view against a plain count over random inputs, in DuckDB."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import astuple
from datetime import datetime, timezone
from itertools import product
from pathlib import Path
from random import Random
from typing import Any

import duckdb
import msgspec
import pytest

from judge import Config, ConnectionRules, MappingRules, canonical, parse
from pipeline.audit import configuration
from pipeline.options import parse as parse_options
from pipeline.run import run
from pipeline.warehouses.duckdb import ddl
from schemas.tables import ALL, BY_NAME, Type
from tests.histories import CONFIGS, Alphabet, Message, history, line
from tests.schemas.counted import Counted, moment
from tests.warehouse import EXAMPLES
from transforms.core.connections import Connections, account_mappings

HISTORIES = int(os.environ.get("QUESTION_HISTORIES", "3"))
"""Of each configuration; `make fuzz` has more."""
ALPHABET = Alphabet(seconds=200_000)
"""Times over two days, so that days differ."""


@pytest.fixture(scope="module")
def empty() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'America/New_York'")
        for statement in ddl.statements():
            connection.execute(statement)
        yield connection


def fill(connection: duckdb.DuckDBPyConnection, counted: Counted) -> None:
    """Gives the tables the rows that the replay makes, and the job that had its configuration."""
    tables = counted.tables
    connections = msgspec.convert(counted.config.document(), Connections)
    mappings = {"account_mappings": json.loads(account_mappings(connections))}
    identities = [{"id": id_, "external_id": label} for id_, label in tables.identities.items()]
    rows: dict[str, Iterable[Any]] = {
        "events": tables.events.values(),
        "identity_calls": ({"payload": "", **row} for row in tables.identity_calls.values()),
        "contacts": tables.contacts.values(),
        "accounts": tables.accounts.values(),
        "memberships": tables.memberships.values(),
        "identities": identities,
        "jobs": [{"generation": 1, "started_at": 0, "runner": "", "options": "", "history_done": True, **mappings}],
    }
    for table in ALL:
        connection.execute(f"DELETE FROM {table.name}")
    for name, given in rows.items():
        columns = BY_NAME[name].columns
        values = [[_value(row.get(column.name), column.type) for column in columns] for row in given]
        if values:
            row = f"({', '.join('?' * len(columns))})"
            statement = f"INSERT INTO {name} VALUES {', '.join([row] * len(values))}"
            connection.execute(statement, [value for each in values for value in each])


def _value(value: Any, type_: Type) -> Any:
    if value is None:
        return None
    if type_ is Type.JSON:
        return json.dumps(value, ensure_ascii=False)
    if type_ is Type.TIMESTAMP:
        return moment(value)
    if type_ is Type.STRUCT:
        return [{**each, "updated_at": moment(each["updated_at"])} for each in value]
    return value


def rows(connection: duckdb.DuckDBPyConnection, sql: str) -> list[tuple[Any, ...]]:
    found = connection.execute(sql).fetchall()
    return [tuple(v.astimezone(timezone.utc) if isinstance(v, datetime) else v for v in row) for row in found]


def check(connection: duckdb.DuckDBPyConnection, counted: Counted) -> None:
    """That every view gives what the count gives."""

    def equal(sql: str, expected: Iterable[tuple[Any, ...]]) -> None:
        assert sorted(rows(connection, sql), key=repr) == sorted(expected, key=repr), sql

    events = list(counted.events())
    equal(
        "SELECT message_id, external_id, account_id, contact_account_id, email, contact_name FROM events_resolved",
        events,
    )
    by_segment = {"pages": "Page", "screens": "Screen", "tracks": "Action"}
    for name, type_ in by_segment.items():
        ids = {key for key, row in counted.tables.events.items() if row["type"] == type_}
        equal(f"SELECT id, external_id, account_id FROM {name}", [row[:3] for row in events if row[0] in ids])
    for name, type_ in {"identifies": "identify", "groups": "group", "aliases": "alias"}.items():
        calls = [row for row in counted.tables.identity_calls.values() if row["type"] == type_]
        equal(
            f"SELECT id, user_id, connection FROM {name}",
            [(r["message_id"], r["user_id"], r["connection"]) for r in calls],
        )
    equal("SELECT id, external_id, timestamp, account_id FROM users", counted.users())
    equal("SELECT account_id, name, account_ids FROM accounts_resolved", counted.companies())
    equal("SELECT external_id, account_id, account_name FROM contacts_resolved", counted.contacts())
    equal("SELECT * EXCLUDE (account_source, updated_at) FROM contact_accounts", counted.memberships())
    equal("SELECT * FROM contact_activity", counted.contact_activity())
    equal("SELECT * FROM contact_activity_daily", counted.contact_activity_daily())
    equal("SELECT * FROM account_activity_daily", counted.account_activity_daily())
    equal("SELECT * FROM contact_audiences", counted.contact_audiences())
    equal("SELECT * FROM audience_changes", counted.audience_changes())
    changes = rows(
        connection,
        "SELECT external_id, trait, value, epoch_us(valid_from), epoch_us(valid_to), message_id, id FROM trait_changes",
    )
    assert Counter(_canonical(changes)) == Counter(map(astuple, counted.trait_changes()))
    standing: dict[str, dict[str, Any]] = {}
    for external_id, trait, value, _, valid_to, *_ in changes:
        if valid_to is None:
            standing.setdefault(external_id, {})[trait] = parse(value)
    for external_id, contact in counted.tables.contacts.items():
        assert canonical(standing.get(external_id, {})) == canonical(contact["traits"]), external_id
    check_account_traits(connection, counted)
    times = sorted(row["timestamp"] for row in counted.tables.events.values())
    if times:
        first, end = times[len(times) // 3], times[-1]
        between = (
            f"events_between('{moment(first).isoformat()}'::TIMESTAMPTZ, '{moment(end).isoformat()}'::TIMESTAMPTZ)"
        )
        assert {key for (key,) in rows(connection, f"SELECT message_id FROM {between}")} == counted.between(first, end)


@pytest.mark.parametrize("zone", ["UTC", "America/New_York"])
def test_the_clocks_of_a_session_change_nothing_between_two_times(empty: duckdb.DuckDBPyConnection, zone: str) -> None:
    """New York's clocks go forward on 9 March 2025; this event happened a day, but a minute, after it was received."""
    empty.execute("DELETE FROM events")
    empty.execute(
        "INSERT INTO events (message_id, type, name, timestamp, received_at, connection, properties, context)"
        " VALUES ('m', 'Page', '', '2025-03-10 00:00:00+00', '2025-03-09 00:01:00+00', 'web', '{}', '{}')"
    )
    cursor = empty.cursor()
    cursor.execute(f"SET TimeZone = '{zone}'")
    for end, expected in (("2025-03-10 00:00:00+00", []), ("2025-03-10 00:00:01+00", [("m",)])):
        between = f"SELECT message_id FROM events_between('2025-03-10 00:00:00+00', '{end}')"
        assert cursor.execute(between).fetchall() == expected


def check_account_traits(connection: duckdb.DuckDBPyConnection, counted: Counted) -> None:
    changes = rows(
        connection,
        "SELECT account_id, trait, value, epoch_us(valid_from), epoch_us(valid_to), message_id, NULL"
        " FROM account_trait_changes",
    )
    expected = [(*astuple(change)[:-1], None) for change in counted.account_trait_changes()]
    assert Counter(_canonical(changes)) == Counter(expected)


def _canonical(changes: Iterable[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
    for holder, trait, value, *others in changes:
        yield holder, trait, canonical(parse(value)), *others


@pytest.mark.parametrize(
    "config",
    ["group", "group + fallback", "identify_traits", "identify_traits + fallback", "email_domain", "mixed"],
)
def test_views_give_what_a_plain_count_gives(empty: duckdb.DuckDBPyConnection, config: str) -> None:
    for seed in range(HISTORIES):
        messages = history(Random(f"{config} {seed}"), 60, ALPHABET)
        counted = Counted([line(message) for message in messages], CONFIGS[config])
        fill(empty, counted)
        with _named(f"{config} {seed}"):
            check(empty, counted)


@pytest.mark.parametrize("config", ["group", "identify_traits + fallback"])
def test_accounts_tell_how_they_are_mapped_where_no_job_has_entered_it(
    empty: duckdb.DuckDBPyConnection, config: str
) -> None:
    for seed in range(HISTORIES):
        messages = history(Random(f"{config} {seed}"), 60, ALPHABET)
        counted = Counted([line(message) for message in messages], CONFIGS[config])
        fill(empty, counted)
        empty.execute("UPDATE jobs SET account_mappings = NULL")
        with _named(f"{config} {seed}"):
            check_account_traits(empty, counted)


ACCOUNTS: list[Any] = [
    " acme\t",
    "acme",
    "\u00a0Globex\u2003",
    7,
    7.0,
    "7",
    "null",
    "",
    None,
    True,
    ["acme"],
    {"id": "acme"},
]


@pytest.mark.parametrize("path", ["org", "org.id", "a/b.~c", "org.unit.id", "org.unit.of.id"])
def test_traits_of_accounts_follow_the_path_of_the_configuration(empty: duckdb.DuckDBPyConnection, path: str) -> None:
    """The id at the path, at the path as one key, or at another one; some of the objects on the way are none."""
    rng = Random(path)
    config = Config((ConnectionRules("web", None, MappingRules("identify_traits", id=path)),))
    messages = []
    for number in range(200):
        keys = rng.choice([path.split(".")] * 8 + [["company", "id"], path.split(".")[:-1] or ["org"]])
        value = rng.choice(ACCOUNTS)
        for depth, key in enumerate(reversed(keys)):
            value = {key: value, "plan": rng.choice(["free", "team", None]), "id" * (depth % 2 + 1): value}
        traits = value if rng.random() < 0.9 else {**value, path: rng.choice(ACCOUNTS)}
        messages.append(identify(number, traits))
    counted = Counted([line(message) for message in messages], config)
    fill(empty, counted)
    check(empty, counted)
    assert bool(counted.account_trait_changes()) == ("." in path)


def identify(number: int, traits: Message) -> Message:
    timestamp = moment(1_700_000_000_000_000 + number * 1_000_000).isoformat()
    return {
        "type": "identify",
        "messageId": f"m{number}",
        "userId": f"u{number % 5}",
        "timestamp": timestamp,
        "traits": traits,
    }


@contextmanager
def _named(seed: str) -> Iterator[None]:
    try:
        yield
    except AssertionError as error:
        raise AssertionError(f"seed {seed}: {error}") from None


def test_views_of_a_job_on_the_examples_give_what_a_plain_count_gives(tmp_path: Path) -> None:
    file, configured = tmp_path / "warehouse.duckdb", EXAMPLES.with_name("connections.yaml")
    settings, options = parse_options(
        [f"--input={EXAMPLES}", f"--connections={configured}", f"--warehouse=duckdb:///{file}"]
    )
    run(settings, options, "")
    counted = Counted(EXAMPLES.read_bytes().splitlines(), configuration(settings.connections))
    with duckdb.connect(str(file), read_only=True) as connection:
        check(connection, counted)


REPEATED = [
    (
        "identify",
        '"traits": {"color": "red", "color": "blue", "company": {"id": "x", "id": "acme", "plan": 1, "plan": 2}}',
    ),
    ("identify", '"traits": {"color": "blue", "color": null, "email": "a@b.example", "email": "c@d.example"}'),
    ("group", '"groupId": "globex", "traits": {"plan": "free", "plan": "team", "name": "G", "name": "Globex"}'),
    ("group", '"groupId": "globex", "traits": {"plan": "team", "plan": "free"}'),
    (
        "track",
        '"event": "Audience", "properties": {"audience_key": "x", "audience_key": "vip", "vip": true, "vip": false},'
        '"context": {"personas": {"computation_class": "trait", "computation_class": "audience"}}',
    ),
]


def test_of_a_repeated_key_views_have_the_value_that_counts(tmp_path: Path) -> None:
    config = Config(
        (
            ConnectionRules("web", ("s1",), MappingRules("group")),
            ConnectionRules("app", None, MappingRules("identify_traits")),
        )
    )
    lines = [
        f'{{"type": "{type_}", "messageId": "m{number}", "userId": "ann", "projectId": "{project}",'
        f' "timestamp": "2024-01-01T00:00:{number:02}Z", {fields}}}'
        for number, ((type_, fields), project) in enumerate(product(REPEATED, ("s1", "s2")))
    ]
    (tmp_path / "calls.jsonl").write_text("\n".join(lines))
    (tmp_path / "connections.yaml").write_text(json.dumps(config.document()))
    options = [
        f"--{name}={tmp_path}/{file}" for name, file in (("input", "calls.jsonl"), ("connections", "connections.yaml"))
    ]
    run(*parse_options([*options, f"--warehouse=duckdb:///{tmp_path}/warehouse.duckdb"]), "")
    counted = Counted([line.encode() for line in lines], config)
    assert len(counted.account_trait_changes()) > 3
    with duckdb.connect(str(tmp_path / "warehouse.duckdb"), read_only=True) as connection:
        check(connection, counted)
