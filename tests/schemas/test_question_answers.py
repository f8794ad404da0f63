"""The queries of docs/questions.md: each is GoogleSQL, and its answer on the sample is what a plain count over the
sample's messages gives. That the document shows that answer is seen to by `tests/test_readme.py`."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import duckdb
import pytest

from judge import Row
from pipeline.audit import configuration
from pipeline.options import parse as parse_options
from pipeline.run import run
from pipeline.warehouses.bigquery import ddl as bigquery_ddl
from schemas import tables, views
from tests.schemas import googlesql
from tests.schemas.counted import Counted, day, moment, monday
from tests.warehouse import EXAMPLES

DOCUMENT = Path(__file__).parents[2] / "docs" / "questions.md"
QUERIES = {
    int(number): sql
    for number, sql in re.findall(
        r"^### (\d+)\. .*\n\n```sql\n((?:(?!```).*\n)*)```$", DOCUMENT.read_text("utf-8"), re.MULTILINE
    )
}
Answer = list[tuple[Any, ...]]


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=timezone.utc).timestamp()) * 1_000_000


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file, configured = tmp_path_factory.mktemp("questions") / "warehouse.duckdb", EXAMPLES.with_name("connections.yaml")
    run(*parse_options([f"--input={EXAMPLES}", f"--connections={configured}", f"--warehouse=duckdb:///{file}"]), "")
    return file


@pytest.fixture(scope="module", params=["UTC", "America/New_York"])
def sample(request: pytest.FixtureRequest, file: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """The sample's warehouse, in a session of each time zone."""
    with duckdb.connect(str(file), read_only=True) as connection:
        connection.execute(f"SET TimeZone = '{request.param}'")
        yield connection


@pytest.fixture(scope="module")
def counted() -> Counted:
    configured = EXAMPLES.with_name("connections.yaml")
    settings, _ = parse_options(
        [f"--input={EXAMPLES}", f"--connections={configured}", "--warehouse=duckdb:////x.duckdb"]
    )
    return Counted(EXAMPLES.read_bytes().splitlines(), configuration(settings.connections))


def events(counted: Counted, type_: str | None = None, name: str | None = None) -> list[Row]:
    """In the order of time."""
    rows = sorted(counted.tables.events.values(), key=lambda row: (row["timestamp"], row["message_id"]))
    return [row for row in rows if type_ in (None, row["type"]) and name in (None, row["name"])]


def firsts(counted: Counted, rows: Iterable[Row]) -> dict[str, Row]:
    """Each person's first of these."""
    of: dict[str, Row] = {}
    for row in rows:
        of.setdefault(counted.person(row), row)
    return of


def own(rows: Iterable[Row]) -> list[Row]:
    return [row for row in rows if row["channel"] != "server"]


def week(row: Row) -> date:
    return monday(day(row["timestamp"]))


def new_people(counted: Counted) -> Answer:
    weeks = {person: week(row) for person, row in firsts(counted, events(counted)).items()}
    known = Counter(on for person, on in weeks.items() if person in counted.tables.contacts)
    return [(on, people, known[on]) for on, people in sorted(Counter(weeks.values()).items())]


def active(counted: Counted) -> Answer:
    people, acting, companies = defaultdict(set), defaultdict(set), defaultdict(set)
    for row in events(counted):
        person, on = counted.person(row), week(row)
        people[on].add(person)
        if row["channel"] != "server":
            acting[on].add(person)
        companies[on].add(counted.contact_account(person))
    return [(on, len(people[on]), len(acting[on]), len(companies[on] - {None})) for on in sorted(people)]


def activated(counted: Counted) -> Answer:
    signups = firsts(counted, events(counted, "Action", "Signed Up"))
    signups = {person: row for person, row in signups.items() if row["timestamp"] < at("2025-03-26")}
    tasks = [
        person
        for row in events(counted, "Action", "Task Completed")
        if (person := counted.person(row)) in signups
        and 0 <= row["timestamp"] - signups[person]["timestamp"] < 7 * 86_400_000_000
    ]
    return [(len(signups), len(set(tasks)), round(len(set(tasks)) / len(signups), 2))]


def funnel(counted: Counted) -> Answer:
    steps = [
        [row for row in events(counted, "Page") if row["properties"].get("path") == "/pricing"],
        events(counted, "Action", "Signed Up"),
        events(counted, "Action", "Task Completed"),
    ]
    reached: dict[str, int] = dict.fromkeys(map(counted.person, events(counted)), 0)
    numbers = []
    for step in steps:
        times = defaultdict(list)
        for row in step:
            times[counted.person(row)].append(row["timestamp"])
        later = {p: [t for t in times[p] if t >= since] for p, since in reached.items()}
        reached = {person: min(of) for person, of in later.items() if of}
        numbers.append(len(reached))
    return [tuple(numbers)]


def retention(counted: Counted) -> Answer:
    weeks = defaultdict(set)
    for row in own(events(counted)):
        weeks[counted.person(row)].add(week(row))
    cohorts = Counter(min(of) for of in weeks.values())

    def back(cohort: date, later: int) -> int:
        return sum(min(of) == cohort and cohort + timedelta(weeks=later) in of for of in weeks.values())

    return [
        (cohort, people, *(back(cohort, later) for later in (1, 2, 3))) for cohort, people in sorted(cohorts.items())
    ]


def adoption(counted: Counted) -> Answer:
    exported = {counted.account(row) for row in events(counted, "Action", "Report Exported")}
    companies, using = Counter[str](), Counter[str]()
    for company, *_ in counted.companies():
        plan = counted.tables.accounts[company]["plan"] or "unknown"
        companies[plan] += 1
        using[plan] += company in exported
    return sorted(
        ((plan, number, using[plan]) for plan, number in companies.items()), key=lambda row: (-row[1], row[0])
    )


def plan_then(counted: Counted) -> Answer:
    changes = [change for change in counted.account_trait_changes() if change.trait == "plan"]
    exports, companies = Counter[str](), defaultdict(set)
    for row in events(counted, "Action", "Report Exported"):
        account, time = counted.account(row), row["timestamp"]
        if account is None:
            continue
        plans = [
            change.value.strip('"')
            for change in changes
            if change.holder == account and change.valid_from <= time and (change.valid_to or 2**62) > time
        ]
        plan = plans[0] if plans else "unknown"
        exports[plan] += 1
        companies[plan].add(account)
    return [
        (plan, number, len(companies[plan])) for plan, number in sorted(exports.items(), key=lambda i: (-i[1], i[0]))
    ]


def quiet(counted: Counted) -> Answer:
    people: dict[tuple[str, bool], set[str]] = defaultdict(set)
    for row in own(events(counted)):
        account = counted.account(row)
        if account is not None and at("2025-03-06") <= row["timestamp"] < at("2025-04-03"):
            people[account, row["timestamp"] < at("2025-03-20")].add(counted.person(row))
    rows = [
        (counted.tables.accounts[account]["name"], len(people[account, True]), len(people[account, False]))
        for account, *_ in counted.companies()
    ]
    fewer = [row for row in rows if row[1] >= 2 and row[2] < row[1]]
    return sorted(fewer, key=lambda row: (row[2] - row[1], row[0]))[:5]


def health(counted: Counted) -> Answer:
    last = {counted.person(row): day(row["timestamp"]) for row in own(events(counted))}
    members = defaultdict(set)
    for external_id, account_id in counted.tables.memberships:
        members[counted.company(account_id)].add(external_id)
    rows = []
    for account, people in members.items():
        row, seen = counted.tables.accounts[account], [last[person] for person in people if person in last]
        recent = sum(on >= date(2025, 3, 26) for on in seen)
        rows.append((row["name"], row["plan"], len(people), recent, max(seen, default=None)))
    return sorted(rows, key=lambda row: (-row[2], row[0]))[:5]


def campaigns(counted: Counted) -> Answer:
    signed_up = firsts(counted, events(counted, "Action", "Signed Up"))
    people, converted = Counter[str](), Counter[str]()
    for person, row in firsts(counted, events(counted, "Page")).items():
        campaign = (row["context"].get("campaign") or {}).get("name") or "none"
        people[campaign] += 1
        converted[campaign] += person in signed_up
    return sorted(((name, number, converted[name]) for name, number in people.items()), key=lambda r: (-r[1], r[0]))


def seen_before(counted: Counted) -> Answer:
    signups = firsts(counted, events(counted, "Action", "Signed Up"))
    pages = firsts(counted, events(counted, "Page"))
    anonymous = firsts(counted, (row for row in events(counted, "Page") if row["user_id"] is None))

    def earlier(than: dict[str, Row], by: int = 0) -> int:
        return sum(p in than and than[p]["timestamp"] < row["timestamp"] - by for p, row in signups.items())

    return [(len(signups), earlier(pages), earlier(pages, 86_400_000_000), earlier(anonymous))]


def audiences(counted: Counted) -> Answer:
    now = {
        (external_id, each["audience_key"])
        for external_id, contact in counted.tables.contacts.items()
        for each in contact["audiences"]
        if each["is_member"]
    }
    keys, time = {row[1] for row in counted.audience_changes()}, at("2025-03-20")
    then = {
        (change.holder, change.trait)
        for change in counted.trait_changes()
        if change.trait in keys and change.value in ("true", '"true"')
        if change.valid_from <= time < (change.valid_to or 2**62)
    }
    number: Callable[[set[tuple[str, str]], str], int] = lambda pairs, key: sum(each == key for _, each in pairs)  # noqa: E731
    return [
        (key, number(now, key), number(then, key), number(now & then, key))
        for key in sorted({k for _, k in now | then})
    ]


def coverage(counted: Counted) -> Answer:
    by_connection = defaultdict(list)
    for row in events(counted):
        by_connection[row["connection"]].append(row)
    return [
        (
            connection,
            len(rows),
            sum(counted.account(row) is not None for row in rows),
            sum(row["group_id"] is not None for row in rows),
            sum(row["group_id"] is not None and row["group_id"] not in counted.tables.accounts for row in rows),
        )
        for connection, rows in sorted(by_connection.items())
    ]


def lateness(counted: Counted) -> Answer:
    by_connection = defaultdict(list)
    for row in events(counted):
        by_connection[row["connection"]].append(row)

    def late(rows: list[Row], seconds: int) -> int:
        return sum(row["received_at"] > row["timestamp"] + seconds * 1_000_000 for row in rows)

    return [
        (connection, len(rows), moment(max(r["received_at"] for r in rows)), late(rows, 3_600), late(rows, 86_400))
        for connection, rows in sorted(by_connection.items())
    ]


COUNTS: dict[int, Callable[[Counted], Answer]] = {
    1: new_people,
    2: active,
    4: activated,
    5: funnel,
    6: retention,
    8: adoption,
    9: plan_then,
    11: quiet,
    12: health,
    14: campaigns,
    15: seen_before,
    16: audiences,
    21: coverage,
    22: lateness,
}
"""A plain count for each of these questions, by its number."""


@pytest.mark.parametrize("number", COUNTS)
def test_an_answer_is_that_of_a_plain_count(number: int, sample: duckdb.DuckDBPyConnection, counted: Counted) -> None:
    answer = [
        tuple(value.astimezone(timezone.utc) if isinstance(value, datetime) else value for value in row)
        for row in sample.execute(QUERIES[number]).fetchall()
    ]
    assert answer == COUNTS[number](counted)


def test_every_question_is_in_both_dialects() -> None:
    assert list(QUERIES) == list(range(1, 23))
    dataset = googlesql.available()
    for table in tables.ALL:
        dataset.create(bigquery_ddl.create_table(table))
    for view in views.ALL:
        dataset.create(bigquery_ddl.create_view(view))
    for sql in QUERIES.values():
        dataset.analyze(sql)
