"""Analysts' questions, answered by a plain count over the messages: the judge reads them and says who is who."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from typing import Any

from judge import Config, Row, Tables, canonical
from judge.classification import is_identity_call
from judge.companies import account_named_by
from judge.message import ReplayedMessage
from judge.reading import read
from judge.sequential import tables_of
from judge.user_properties import engage_property

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


def moment(microseconds: int) -> datetime:
    return EPOCH + timedelta(microseconds=microseconds)


def day(microseconds: int) -> date:
    return moment(microseconds).date()


def monday(on: date) -> date:
    return on - timedelta(days=on.weekday())


@dataclass(frozen=True)
class Change:
    """A value of a trait: of whom, from when until when."""

    holder: str
    trait: str
    value: str  # canonical
    valid_from: int
    valid_to: int | None
    message_id: str
    id: str | None = None


class Counted:
    """The identity calls of an input, each `message_id` once, and what the replay makes of the input."""

    def __init__(self, lines: Sequence[bytes], config: Config) -> None:
        outcomes = [outcome for line in lines for outcome in read(line, config, None, None)]
        self.config = config
        self.tables: Tables = tables_of(outcomes, config, keyed_log=True)
        firsts: dict[str, ReplayedMessage] = {}
        for outcome in outcomes:
            if isinstance(outcome, ReplayedMessage) and is_identity_call(outcome):
                firsts.setdefault(outcome.message_id, outcome)
        self.messages = sorted(firsts.values(), key=lambda message: message.stamp)

    # ---- who is who ----

    def label(self, id_: str) -> str:
        return self.tables.identities.get(id_, id_)

    def company(self, account_id: str) -> str:
        """The account that has this e-mail domain by another way, if exactly one has; else itself."""
        account = self.tables.accounts.get(account_id)
        if account is None or account["account_source"] != "email_domain":
            return account_id
        owners = [
            other
            for other, row in self.tables.accounts.items()
            if row["account_source"] != "email_domain" and row["domain"] == account_id
        ]
        return owners[0] if len(owners) == 1 else account_id

    def contact_account(self, external_id: str) -> str | None:
        account_id = self.tables.contacts.get(external_id, {}).get("account_id")
        return None if account_id is None else self.company(account_id)

    def own_account(self, external_id: str) -> str | None:
        contact_account = self.contact_account(external_id)
        if contact_account is not None:
            return contact_account
        memberships = [row for (label, _), row in self.tables.memberships.items() if label == external_id]
        if not memberships:
            return None
        newest = max(
            memberships,
            key=lambda row: (row["account_source"] != "email_domain", row["last_named_at"], row["account_id"]),
        )
        return self.company(newest["account_id"])

    def account(self, row: Row) -> str | None:
        """The account of an event or a logged call."""
        if row["group_id"] in self.tables.accounts:
            return self.company(row["group_id"])
        return self.own_account(self.person(row))

    def person(self, row: Row) -> str:
        return self.label(row["user_id"] or row["anonymous_id"])

    # ---- answers ----

    def events(self) -> Iterator[tuple[Any, ...]]:
        for row in self.tables.events.values():
            person = self.person(row)
            contact = self.tables.contacts.get(person, {})
            yield (
                row["message_id"],
                person,
                self.account(row),
                self.contact_account(person),
                contact.get("email"),
                contact.get("name"),
            )

    def companies(self) -> Iterator[tuple[Any, ...]]:
        names = defaultdict(list)
        for account_id in self.tables.accounts:
            names[self.company(account_id)].append(account_id)
        for company, account_ids in names.items():
            yield company, self.tables.accounts[company]["name"], sorted(account_ids)

    def contacts(self) -> Iterator[tuple[Any, ...]]:
        for external_id in self.tables.contacts:
            company = self.contact_account(external_id)
            yield external_id, company, company and self.tables.accounts[company]["name"]

    def memberships(self) -> Iterator[tuple[Any, ...]]:
        pairs: dict[tuple[str, str], list[Row]] = defaultdict(list)
        for (external_id, account_id), row in self.tables.memberships.items():
            pairs[external_id, self.company(account_id)].append(row)
        for (external_id, company), rows in pairs.items():
            contact, account = self.tables.contacts.get(external_id, {}), self.tables.accounts[company]
            yield (
                external_id,
                company,
                moment(min(row["first_named_at"] for row in rows)),
                moment(max(row["last_named_at"] for row in rows)),
                contact.get("email"),
                contact.get("name"),
                account["name"],
                account["domain"],
            )

    def contact_activity(self) -> Iterator[tuple[Any, ...]]:
        times = defaultdict(list)
        for row in self.tables.events.values():
            times[self.person(row)].append(row["timestamp"])
        for person, of in times.items():
            yield person, moment(min(of)), moment(max(of)), len(of), len({day(time) for time in of})

    def contact_activity_daily(self) -> Iterator[tuple[Any, ...]]:
        rows: dict[tuple[str, date], list[Row]] = defaultdict(list)
        for row in self.tables.events.values():
            rows[self.person(row), day(row["timestamp"])].append(row)
        for (person, on), of in rows.items():
            types = [row["type"] for row in of]
            by_type = (types.count(type_) for type_ in ("Page", "Screen", "Action"))
            yield person, on, monday(on), len(of), *by_type, sum(row["channel"] == "server" for row in of)

    def contact_audiences(self) -> Iterator[tuple[Any, ...]]:
        for external_id, account_id, account_name in self.contacts():
            contact = self.tables.contacts[external_id]
            for audience in contact["audiences"]:
                yield (
                    external_id,
                    audience["audience_key"],
                    audience["is_member"],
                    moment(audience["updated_at"]),
                    contact["email"],
                    contact["name"],
                    account_id,
                    account_name,
                )

    def account_activity_daily(self) -> Iterator[tuple[Any, ...]]:
        rows: dict[tuple[str, date], list[Row]] = defaultdict(list)
        for row in self.tables.events.values():
            account_id = self.account(row)
            if account_id is not None:
                rows[account_id, day(row["timestamp"])].append(row)
        for (account_id, on), of in rows.items():
            types = [row["type"] for row in of]
            people = {self.person(row) for row in of}
            yield account_id, on, len(people), len(of), *(types.count(type_) for type_ in ("Page", "Screen", "Action"))

    def audience_changes(self) -> Iterator[tuple[Any, ...]]:
        for message in self.messages:
            set_ = engage_property(message)
            if set_ is None or not set_.is_membership or message.type == "group" or message.id is None:
                continue
            if set_.value is None or isinstance(set_.value, bool):
                yield (
                    self.label(message.id),
                    set_.column,
                    set_.value,
                    moment(message.timestamp),
                    message.message_id,
                    message.connection.name,
                )

    def users(self) -> Iterator[tuple[Any, ...]]:
        last, deleted = dict[str, ReplayedMessage](), dict[str, ReplayedMessage]()
        for message in self.messages:
            user_id = self.tables.identity_calls[message.message_id]["user_id"]
            if message.type == "identify" and user_id is not None:
                last[user_id] = message
            elif message.type == "delete" and message.id is not None:
                deleted[self.label(message.id)] = message
        for user_id, message in last.items():
            person = self.label(user_id)
            if person not in deleted or deleted[person].stamp < message.stamp:
                yield user_id, person, moment(message.timestamp), self.contact_account(person)

    def trait_changes(self) -> list[Change]:
        facts: list[tuple[str, ReplayedMessage, Mapping[str, Any] | None]] = []
        for message in self.messages:
            if message.id is None:
                continue
            holder = self.label(message.id)
            if message.type == "delete":
                facts.append((holder, message, None))
            elif message.type in ("identify", "track"):
                set_ = engage_property(message)
                traits = dict(message.traits) if message.type == "identify" else {}
                if set_ is not None:
                    traits = {key: value for key, value in traits.items() if key != set_.key}
                    rival = [traits[set_.column]] if set_.column in traits else []
                    traits[set_.column] = max([set_.value, *rival], key=canonical)
                facts.append((holder, message, traits))
        return list(_changes(facts))

    def account_trait_changes(self) -> list[Change]:
        facts = []
        for message in self.messages:
            naming = account_named_by(message, self.config)
            if naming is not None:
                traits: dict[str, Any] = {}
                for key, value in naming.traits:
                    traits[key] = max(value, traits[key], key=canonical) if key in traits else value
                facts.append((self.company(naming.account_id), message, traits))
        return list(_changes(facts))

    def between(self, first: int, end: int) -> set[str]:
        return {key for key, row in self.tables.events.items() if first <= row["timestamp"] < end}


def _changes(facts: Iterable[tuple[str, ReplayedMessage, Mapping[str, Any] | None]]) -> Iterator[Change]:
    """What stands, one message after the other: a fact without traits is a delete."""
    standing: dict[tuple[str, str], Change] = {}

    def end(key: tuple[str, str], at: int) -> Iterator[Change]:
        ended = standing.pop(key, None)
        if ended is not None:
            yield Change(ended.holder, ended.trait, ended.value, ended.valid_from, at, ended.message_id, ended.id)

    for holder, message, traits in facts:
        if traits is None:
            for key in [key for key in standing if key[0] == holder]:
                yield from end(key, message.timestamp)
            continue
        for trait, value in traits.items():
            text, key = canonical(value), (holder, trait)
            if key in standing and standing[key].value == text:
                continue
            yield from end(key, message.timestamp)
            if value is not None:
                standing[key] = Change(holder, trait, text, message.timestamp, None, message.message_id, message.id)
    yield from standing.values()
