"""The dbt package on 30,000 generated calls, and odd ones among them, that come in two loads, in DuckDB."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from random import Random
from typing import Any, Final

import duckdb
import pytest

from examples.generate import main as generate
from pipeline.__main__ import main as run_pipeline
from tests.dbt import counted, environment
from tests.dbt.counted import Row, day_of
from tests.histories import Alphabet, history, line
from tests.warehouse import EXAMPLES

CALLS: Final = 30_000
ODD_CALLS: Final = 2_000
ALPHABET: Final = Alphabet(ids=[f"p{number}" for number in range(60)], seconds=4_000_000)
"""Of the odd ones, which are a year older."""
MODELS: Final = sorted(file.stem for file in environment.PACKAGE.glob("models/**/*.sql"))
STEPS: Final = [("Page", "Pricing"), ("Action", "Signed Up"), ("Action", "Demo Requested")]
VARIABLES: Final = {
    "funnel_steps": [{"type": type_, "name": name} for type_, name in STEPS],
    "funnel_days": 7,
    "risk_days": 7,
    "adoption_days": 14,
    "purge_days": 0,
}


DAYS: Final = "metric_time__day"
OF_SESSIONS: Final = (
    "sessions visitors bounces bounce_rate session_seconds seconds_per_session pageviews pages_per_session"
)
OF_ACTIVITY: Final = "events active_people active_accounts account_events events_per_active_account"
OF_PEOPLE: Final = "new_people new_contacts identified_share"
ASKED: Final = [
    *((metric, by) for by in ("", DAYS, "session__connection") for metric in OF_SESSIONS.split()),
    *((metric, by) for by in ("", DAYS, "account__plan", "activity__name") for metric in OF_ACTIVITY.split()),
    *((metric, by) for by in ("", DAYS, "person__is_contact") for metric in OF_PEOPLE.split()),
    ("weekly_active_people", DAYS),
]
"""The metrics, and what each is grouped by."""


@dataclass(frozen=True, kw_only=True)
class Built:
    """A warehouse with the models in the schemas `two_loads`, and `analytics`, of a full refresh after them; the
    outcomes of dbt's first build; and MetricFlow's answers, as CSV, by metric and group. `target` has dbt's files."""

    connection: duckdb.DuckDBPyConnection
    first: Mapping[str, Any]
    newest_of_first: str
    metrics: Mapping[tuple[str, str], str]
    target: Path

    def rows(self, sql: str) -> list[dict[str, Any]]:
        cursor = self.connection.execute(sql)
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def load(lines: list[str], file: Path, warehouse: Path) -> None:
    file.write_text("".join(lines), "utf-8")
    connections = f"--connections={EXAMPLES.with_name('connections.yaml')}"
    assert run_pipeline([f"--input={file}", connections, f"--warehouse=duckdb:///{warehouse}"]) == 0


def dbt(command: str, warehouse: Path, *options: str) -> dict[str, Any]:
    return environment.dbt(
        command, *options, project=environment.PACKAGE, target=warehouse.with_name("target"), variables=VARIABLES,
        SEGMENT_DUCKDB=str(warehouse),
    )  # fmt: skip


def two_loads(lines: list[str]) -> tuple[list[str], list[str]]:
    """The lines before and after three fifths, but in the second also 200 of the last 2,000 of the first, which are
    late, and 200 of all others, which are later than an incremental run expects them."""
    end = len(lines) * 3 // 5
    late = {*Random(1).sample(range(end - 2000, end), 200), *Random(2).sample(range(end - 2000), 200)}
    first = [line for number, line in enumerate(lines[:end]) if number not in late]
    return first, [*(lines[number] for number in sorted(late)), *lines[end:]]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Built]:
    environment.require()
    folder = tmp_path_factory.mktemp("models")
    warehouse = folder / "warehouse.duckdb"
    generate([f"--calls={CALLS}", "--seed=3", f"--output={folder / 'all.jsonl'}"])
    lines = (folder / "all.jsonl").read_text("utf-8").splitlines(keepends=True)
    for odd in history(Random(4), ODD_CALLS, ALPHABET):
        lines.insert(Random(len(lines)).randrange(len(lines)), f"{line(odd).decode()}\n")
    first, second = two_loads(lines)
    load(first, folder / "first.jsonl", warehouse)
    outcomes = dbt("build", warehouse)
    with duckdb.connect(str(warehouse)) as connection:
        connection.execute("CREATE TABLE identities_of_first AS FROM identities")
        connection.execute("CREATE TABLE events_of_first AS SELECT message_id FROM events")
        connection.execute("CREATE VIEW late_events AS FROM events ANTI JOIN events_of_first USING (message_id)")
        ((newest,),) = connection.execute("SELECT max(received_at)::VARCHAR FROM events").fetchall()
    load(second, folder / "second.jsonl", warehouse)
    dbt("run", warehouse)
    with duckdb.connect(str(warehouse)) as connection:
        connection.execute("CREATE SCHEMA two_loads")
        for model in MODELS:
            connection.execute(f"CREATE TABLE two_loads.{model} AS FROM analytics.{model}")
    dbt("run", warehouse, "--full-refresh")
    target = folder / "target"
    options = [
        ["--quiet", f"--csv={environment.CSV}", f"--metrics={metric}", f"--group-by={by}"] for metric, by in ASKED
    ]
    answers = environment.metric_answers(options, target=target, SEGMENT_DUCKDB=str(warehouse))
    metrics = dict(zip(ASKED, answers, strict=True))
    with duckdb.connect(str(warehouse), read_only=True) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        yield Built(connection=connection, first=outcomes, newest_of_first=newest, metrics=metrics, target=target)


@pytest.fixture(scope="module")
def events(built: Built) -> Sequence[Row]:
    return built.rows(
        "SELECT message_id, type, name, timestamp, external_id, account_id, channel, connection,"
        " coalesce(user_id, anonymous_id) AS sent_id FROM events_resolved"
    )


def test_the_second_load_has_late_events_and_merges_people_of_the_first(built: Built) -> None:
    merged = built.rows(
        "SELECT count(DISTINCT id) AS n FROM two_loads.int_visits AS visit JOIN identities ON id = sent_id"
        " LEFT JOIN identities_of_first AS before USING (id)"
        " WHERE before.external_id IS DISTINCT FROM identities.external_id"
        f" AND visit.ended_at < TIMESTAMPTZ '{built.newest_of_first}'"
    )
    assert merged[0]["n"] > 10
    for late_by, expected in (("0 days", 200), ("5 days", 100)):
        newest = f"TIMESTAMPTZ '{built.newest_of_first}' - INTERVAL {late_by}"
        assert built.rows(f"SELECT count(*) AS n FROM late_events WHERE received_at < {newest}")[0]["n"] > expected


@pytest.mark.parametrize("model", MODELS)
def test_two_loads_give_what_a_full_refresh_gives(built: Built, model: str) -> None:
    for one, other in (("two_loads", "analytics"), ("analytics", "two_loads")):
        assert built.rows(f"FROM {one}.{model} EXCEPT ALL FROM {other}.{model} LIMIT 3") == [], one
    if model not in ("accounts_at_risk",):
        assert built.rows(f"SELECT count(*) AS n FROM analytics.{model}")[0]["n"] > 0


def test_sessions_are_those_of_people_with_all_their_ids(built: Built, events: Sequence[Row]) -> None:
    expected = {
        session.events[0]["message_id"]: (
            session.external_id,
            session.events[0]["timestamp"],
            session.events[-1]["timestamp"],
            len(session.events),
            sum(event["type"] == "Page" for event in session.events),
            sum(event["type"] == "Action" for event in session.events),
            len({event["sent_id"] for event in session.events}),
            session.entry["name"] if session.entry is not None else None,
        )
        for session in counted.sessions(events)
    }
    columns = "external_id, started_at, ended_at, events, pages, actions, ids, entry_name"
    found = {
        row.pop("session_id"): tuple(row.values())
        for row in built.rows(f"SELECT session_id, {columns} FROM analytics.sessions")
    }
    assert found == expected
    assert any(ids > 1 for *_, ids, _ in found.values())


def test_a_session_belongs_to_the_company_of_its_events(built: Built, events: Sequence[Row]) -> None:
    companies = {
        session.events[0]["message_id"]: {event["account_id"] for event in session.events}
        for session in counted.sessions(events)
    }
    for row in built.rows("SELECT session_id, account_id FROM analytics.sessions"):
        if len(companies[row["session_id"]]) == 1:
            assert companies[row["session_id"]] == {row["account_id"]}


def test_the_first_touch_counts_what_was_seen_before_the_identify(built: Built, events: Sequence[Row]) -> None:
    rows = built.rows("SELECT external_id, message_id, is_before_identify FROM analytics.first_touch")
    assert {row["external_id"]: row["message_id"] for row in rows} == counted.first_pages(events)
    assert sum(row["is_before_identify"] for row in rows) > 100


def test_activity_is_that_of_events_resolved(built: Built) -> None:
    keys = "external_id, account_id, connection, type, name"
    ours = f"SELECT day, {keys}, sum(events)::BIGINT FROM analytics.activity_daily GROUP BY ALL"
    theirs = f"SELECT CAST(timestamp AS DATE), {keys}, count(*) FROM events_resolved GROUP BY ALL"
    assert built.rows(f"({ours}) EXCEPT ({theirs})") == built.rows(f"({theirs}) EXCEPT ({ours})") == []


def test_companies_by_week(built: Built, events: Sequence[Row]) -> None:
    rows = built.rows(
        "SELECT account_id, week, people, active_days, events, server_events FROM analytics.accounts_weekly"
    )
    found = {(row.pop("account_id"), row.pop("week")): tuple(row.values()) for row in rows}
    assert found == counted.accounts_weekly(events)


def test_the_plan_of_a_week_is_that_of_its_end(built: Built) -> None:
    rows = built.rows("SELECT account_id, week, plan_then FROM analytics.accounts_weekly")
    changes = built.rows("SELECT * FROM account_trait_changes WHERE trait = 'plan'")
    for row in rows:
        monday = f"{row['week'] + timedelta(days=7)} 00:00:00+00:00"
        plans = [
            change["value_text"]
            for change in changes
            if change["account_id"] == row["account_id"]
            and str(change["valid_from"]) < monday
            and (change["valid_to"] is None or str(change["valid_to"]) >= monday)
        ]
        assert plans == ([] if row["plan_then"] is None else [row["plan_then"]])
    assert any(row["plan_then"] is not None for row in rows)


def test_retention(built: Built, events: Sequence[Row]) -> None:
    contacts = [row["external_id"] for row in built.rows("SELECT external_id FROM contacts")]
    rows = built.rows("SELECT cohort_week, week, cohort_people, people FROM analytics.retention")
    found = {(row["cohort_week"], row["week"]): (row["cohort_people"], row["people"]) for row in rows}
    assert found == counted.retention(events, contacts)
    assert built.rows("SELECT * FROM analytics.retention WHERE weeks_since * 7 != week - cohort_week") == []


def test_the_funnel(built: Built, events: Sequence[Row]) -> None:
    rows = built.rows("SELECT people FROM analytics.funnel ORDER BY step")
    assert [row["people"] for row in rows] == counted.funnel(events, STEPS, 7)
    assert rows[-1]["people"] > 0


def newest_day(events: Sequence[Row]) -> date:
    return max(map(day_of, events))


def test_adoption_by_plan(built: Built, events: Sequence[Row]) -> None:
    plans = {
        row["account_id"]: row["plan"] or "none" for row in built.rows("SELECT account_id, plan FROM accounts_resolved")
    }
    rows = built.rows("SELECT plan, feature, accounts, accounts_using FROM analytics.adoption_by_plan")
    found = {(row["plan"], row["feature"]): row["accounts_using"] for row in rows if row["accounts_using"]}
    assert found == counted.adoption(events, plans, newest_day(events), 14)
    assert all(row["accounts"] == [*plans.values()].count(row["plan"]) for row in rows)


def test_accounts_at_risk(built: Built, events: Sequence[Row]) -> None:
    rows = built.rows("SELECT account_id, events, events_before FROM analytics.accounts_at_risk")
    found = {row["account_id"]: (row["events"], row["events_before"]) for row in rows}
    assert found == counted.at_risk(events, newest_day(events), days=7, share=0.5, minimum=10)
    assert found


def test_leads_are_matched_by_the_domain_of_their_address(built: Built) -> None:
    contacts = built.rows("SELECT external_id, email, account_id FROM contacts_resolved")
    members = [row["external_id"] for row in built.rows("SELECT external_id FROM memberships")]
    accounts = built.rows("SELECT account_id, domain FROM accounts_resolved")
    found = {row["external_id"]: row["account_id"] for row in built.rows("SELECT * FROM analytics.leads")}
    assert found == counted.leads(contacts, members, accounts)


def test_the_models_are_described_in_the_warehouse(built: Built) -> None:
    tables = built.rows("SELECT table_name, comment FROM duckdb_tables() WHERE schema_name = 'analytics'")
    assert [row["table_name"] for row in tables if not row["comment"]] == []
    columns = built.rows(
        "SELECT table_name, column_name FROM duckdb_columns() WHERE schema_name = 'analytics' AND comment IS NULL"
        " AND table_name NOT LIKE 'stg_%' AND table_name NOT LIKE 'int_%' AND column_name NOT LIKE 'step_%'"
    )
    assert columns == []


def test_the_data_of_the_generator_pass_the_tests_that_fail_a_build(built: Built) -> None:
    outcomes = {outcome["status"] for outcome in built.first.values()}
    assert outcomes <= {"success", "pass", "warn"}
    assert {"success", "pass"} <= outcomes


@pytest.fixture(scope="module")
def values(built: Built, events: Sequence[Row]) -> Mapping[str, counted.Values]:
    """The values of metrics, counted plainly, by how they are grouped."""
    contacts = [row["external_id"] for row in built.rows("SELECT external_id FROM contacts")]
    plans = {row["account_id"]: row["plan"] for row in built.rows("SELECT account_id, plan FROM accounts_resolved")}
    return {
        "": {
            **counted.session_metrics(events, lambda _: None),
            **counted.activity_metrics(events, lambda _: None),
            **counted.people_metrics(events, contacts, lambda *_: None),
        },
        DAYS: {
            **counted.session_metrics(events, lambda session: day_of(session.events[0])),
            **counted.activity_metrics(events, day_of),
            **counted.people_metrics(events, contacts, lambda first, _: day_of(first)),
            "weekly_active_people": counted.weekly_active_people(events),
        },
        "session__connection": counted.session_metrics(events, lambda session: session.events[0]["connection"]),
        "account__plan": counted.activity_metrics(events, lambda event: plans.get(event["account_id"])),
        "activity__name": counted.activity_metrics(events, lambda event: event["name"]),
        "person__is_contact": counted.people_metrics(events, contacts, lambda _, is_contact: is_contact),
    }


@pytest.mark.parametrize(("metric", "by"), ASKED)
def test_a_metric_is_what_a_plain_count_gives(
    built: Built, values: Mapping[str, counted.Values], metric: str, by: str
) -> None:
    _, *rows = csv.reader(io.StringIO(built.metrics[metric, by]))
    found = {row[0].removesuffix(" 00:00:00") if by else "": float(row[-1]) if row[-1] else None for row in rows}
    assert found == pytest.approx({text(group): value for group, value in values[by][metric].items()})
    assert any(found.values())


def text(group: Hashable) -> str:
    return "" if group is None else str(group)


def test_every_metric_is_asked(built: Built) -> None:
    manifest = json.loads((built.target / environment.MANIFEST).read_text("utf-8"))
    assert {metric["name"] for metric in manifest["metrics"]} == {metric for metric, _ in ASKED}
