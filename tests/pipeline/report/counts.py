"""What a report has to show, counted in plain Python from a warehouse's rows."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import duckdb

from pipeline.report.queries import DAY_US, Period
from tests.warehouse import rows

Row = Mapping[str, Any]
Rows = list[tuple[Any, ...]]
EPOCH = date(1970, 1, 1)
ADDRESS = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")


def day(timestamp: int) -> date:
    return EPOCH + timedelta(days=timestamp // DAY_US)


def monday(timestamp: int) -> date:
    found = day(timestamp)
    return found - timedelta(days=found.weekday())


class Held:
    """The rows of a warehouse's file; its events and calls are those that were received in the period."""

    def __init__(self, file: Path, period: Period) -> None:
        with duckdb.connect(str(file), read_only=True) as connection:
            connection.execute("SET TimeZone = 'UTC'")
            self.all_events = list(rows(connection, "events"))
            self.all_calls = list(rows(connection, "identity_calls"))
            self.contacts = {row["external_id"]: row for row in rows(connection, "contacts")}
            self.identities = {row["id"]: row["external_id"] for row in rows(connection, "identities")}
            self.memberships = list(rows(connection, "memberships"))
            self.letters = list(rows(connection, "dead_letters"))
            self.accounts = {row["account_id"] for row in rows(connection, "accounts")}
            found = connection.execute(
                "SELECT account_id, domain, name, epoch_us(first_named_at) FROM accounts_resolved"
            )
            self.companies = found.fetchall()
            found = connection.execute("SELECT message_id, account_id FROM events_resolved")
            self.company_of_event = dict(found.fetchall())
        self.period = period
        self.events = [row for row in self.all_events if self.is_within(row["received_at"])]
        self.calls = [row for row in self.all_calls if self.is_within(row["received_at"])]

    def is_within(self, timestamp: int) -> bool:
        return self.period.since <= timestamp < self.period.until

    def person(self, event: Row) -> str:
        id = event["anonymous_id"] if event["user_id"] is None else event["user_id"]
        assert isinstance(id, str)
        return self.identities.get(id, id)

    def company(self, event: Row) -> str | None:
        return self.company_of_event[event["message_id"]]


def totals(held: Held) -> Rows:
    people = {held.person(event) for event in held.events}
    counts = (held.contacts, held.companies, held.identities, held.memberships, held.calls, held.events, people)
    return [tuple(map(len, counts))]


def traffic(held: Held) -> Rows:
    counts = Counter((day(row["received_at"]), row["type"]) for row in (*held.events, *held.calls))
    return [(*key, count) for key, count in counts.items()]


def top_events(held: Held) -> Rows:
    named = _grouped(held.events, lambda event: (event["type"], event["name"]))
    found = [
        (type_, name, len(events), len(set(map(held.person, events))), _known(map(held.company, events)), len(named))
        for (type_, name), events in named.items()
    ]
    return sorted(found, key=lambda row: (-row[2], row[0], row[1]))[:20]


def active(held: Held) -> Rows:
    found = []
    for week, events in _grouped(held.events, lambda event: monday(event["received_at"])).items():
        people = set(map(held.person, events))
        found.append((week, len(people), len(people & set(held.contacts)), _known(map(held.company, events))))
    return found


def growth(held: Held) -> Rows:
    contacts = Counter(_weeks(held, (row["first_identified_at"] for row in held.contacts.values())))
    accounts = Counter(_weeks(held, (first for *_, first in held.companies)))
    return [(week, contacts[week], accounts[week]) for week in {*contacts, *accounts}]


def lifecycle(held: Held) -> Rows:
    by_person = _grouped(held.events, held.person)
    identified = {person for person in by_person if person in held.contacts}
    at_accounts = {person for person in identified if held.contacts[person]["account_id"] is not None}
    returned = {person for person in at_accounts if len({day(row["timestamp"]) for row in by_person[person]}) > 1}
    return [(len(by_person), len(identified), len(at_accounts), len(returned))]


def retention(held: Held) -> Rows:
    came: dict[tuple[date, int], set[str]] = defaultdict(set)
    for event in held.events:
        person = held.person(event)
        contact = held.contacts.get(person)
        if contact is None or not held.is_within(contact["first_identified_at"]):
            continue
        first, week = monday(contact["first_identified_at"]), monday(event["timestamp"])
        if week >= first:
            came[first, (week - first).days].add(person)
    return [(*key, len(people)) for key, people in came.items()]


def audiences(held: Held) -> Rows:
    said = [audience for contact in held.contacts.values() for audience in contact["audiences"]]
    found = [
        (
            key,
            sum(audience["is_member"] for audience in of_key),
            sum(not audience["is_member"] for audience in of_key),
            max(audience["updated_at"] for audience in of_key),
        )
        for key, of_key in _grouped(said, lambda audience: audience["audience_key"]).items()
    ]
    return sorted(found, key=lambda row: (-row[1], row[0]))[:50]


def dead_letters(held: Held) -> Rows:
    """Without the newest of each: all are written at once."""
    by_reason = _grouped(held.letters, lambda letter: letter["reason"])
    return [(reason, len(letters), sum(row["retryable"] for row in letters)) for reason, letters in by_reason.items()]


def merges(held: Held) -> Rows:
    first: dict[str, int] = {}
    for call in held.all_calls:
        id = call["anonymous_id"] if call["previous_id"] is None else call["previous_id"]
        is_edge = call["type"] in ("alias", "identify") and call["user_id"] not in (None, id)
        if is_edge and id in held.identities:
            first[id] = min(call["timestamp"], first.get(id, call["timestamp"]))
    return [*Counter(day(at) for at in first.values() if held.is_within(at)).items()]


def contact_sizes(held: Held) -> Rows:
    ids = Counter(held.identities.values())
    return [*Counter(count + 1 for count in ids.values()).items()]


def largest_contacts(held: Held) -> Rows:
    ids = Counter(held.identities.values())
    largest = sorted(ids.items(), key=lambda item: (-item[1], item[0]))[:10]
    none = {"name": None, "email": None}
    return [
        (id, count + 1, *(held.contacts.get(id, none)[column] for column in ("name", "email"))) for id, count in largest
    ]


def ids_by_kind(held: Held) -> Rows:
    sent = {
        (field, ADDRESS.fullmatch(row[field]) is not None, row[field])
        for row in (*held.events, *held.calls)
        for field in ("user_id", "anonymous_id", "previous_id")
        if row.get(field) is not None
    }
    return [(*kind, count) for kind, count in Counter((field, is_address) for field, is_address, _ in sent).items()]


def coverage(held: Held) -> Rows:
    return [
        (
            type_,
            len(events),
            sum(held.person(event) in held.contacts for event in events),
            sum(held.company(event) is not None for event in events),
            sum(event["user_id"] is None for event in events),
        )
        for type_, events in _grouped(held.events, lambda event: event["type"]).items()
    ]


def shared_addresses(held: Held) -> Rows:
    addresses = Counter(row["email"].strip().lower() for row in held.contacts.values() if row["email"] is not None)
    return _first_shared([(address, count) for address, count in addresses.items()])


def doubled_accounts(held: Held) -> Rows:
    domains = Counter(("domain", domain.lower()) for _, domain, _, _ in held.companies if domain is not None)
    names = Counter(("name", name.strip().lower()) for _, _, name, _ in held.companies)
    return _first_shared([(*what, count) for what, count in (domains + names).items()])


def unknown_groups(held: Held) -> Rows:
    groups = [event["group_id"] for event in held.events if event["group_id"] is not None]
    unknown = Counter(group for group in groups if group not in held.accounts)
    found = sorted(unknown.items(), key=lambda item: (-item[1], item[0]))[:20]
    return [(*item, len(unknown)) for item in found]


def clocks(held: Held) -> Rows:
    late = [row["received_at"] - row["timestamp"] for row in held.events]
    off = [abs(row["sent_at"] - row["received_at"]) for row in held.events if row["sent_at"] is not None]
    return [
        (
            len(late),
            sum(each < -300_000_000 for each in late),
            sum(each > DAY_US for each in late),
            sum(each > 7 * DAY_US for each in late),
            sum(each > 3_600_000_000 for each in off),
        )
    ]


COUNTS: Mapping[str, Callable[[Held], Rows]] = {
    count.__name__: count
    for count in (
        totals,
        traffic,
        top_events,
        active,
        growth,
        lifecycle,
        retention,
        audiences,
        dead_letters,
        merges,
        contact_sizes,
        largest_contacts,
        ids_by_kind,
        coverage,
        shared_addresses,
        doubled_accounts,
        unknown_groups,
        clocks,
    )
}
"""The rows that each query has to give, by its name, but for those that tell when rows were written."""


def funnel(held: Held, names: Sequence[str]) -> Rows:
    """How many people did these events one after the other: (step, people)."""
    by_person = _grouped(sorted(held.events, key=lambda event: event["timestamp"]), held.person)
    reached = Counter(step for events in by_person.values() for step in range(1, _steps(events, names) + 1))
    return [(step, reached[step]) for step in range(1, len(names) + 1)]


def _steps(events: Sequence[Row], names: Sequence[str]) -> int:
    """How many of the steps a person did, each at the earliest time at which it can be."""
    done_at, done = -(10**20), 0
    for step, name in enumerate(names):
        is_again = step > 0 and names[step - 1] == name
        times = [
            event["timestamp"] for event in events if event["name"] == name and event["timestamp"] >= done_at + is_again
        ]
        if not times:
            break
        done_at, done = min(times), done + 1
    return done


def _grouped(values: Iterable[Any], key: Callable[[Any], Any]) -> Mapping[Any, list[Any]]:
    groups: dict[Any, list[Any]] = {}
    for value in values:
        groups.setdefault(key(value), []).append(value)
    return groups


def _known(values: Iterable[str | None]) -> int:
    return len({value for value in values if value is not None})


def _weeks(held: Held, timestamps: Iterable[int | None]) -> list[date]:
    return [monday(at) for at in timestamps if at is not None and held.is_within(at)]


def _first_shared(counts: Rows) -> Rows:
    several = [row for row in counts if row[-1] > 1]
    return [(*row, len(several)) for row in sorted(several, key=lambda row: (-row[-1], row[:-1]))[:20]]
