"""What would become of messages: read and mapped by the rules of the job, counted, and written nowhere."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import judge
from pipeline.audit import configuration
from schemas.segment import GROUP, IDENTIFY, MAX_CLOCK_AHEAD_US
from schemas.tables import DeadLetter, Event, IdentityCall, Timestamp
from transforms.core import call_rows, ids
from transforms.core.accounts import Way
from transforms.core.connections import Connection, Connections
from transforms.core.dead_letters import Refused
from transforms.core.facts import learned
from transforms.core.fields import MessageFields, parse_item
from transforms.core.reader import Call, Disabled, Reader, Received
from transforms.core.rows import LogEntry

_ID_FIELDS: Final = ("userId", "anonymousId", "previousId", "groupId")
_VARYING: Final = re.compile(r"'[^']*'|\"[^\"]*\"|\d+")
"""What differs between the details of two refusals of one kind."""
_COMMON: Final = 0.25
_COMMON_FROM: Final = 40
"""An id that stands in more than this part of the calls, where there are so many, is likely to be nobody's."""


@dataclass
class Refusals:
    """Calls that are refused for one reason: how many, and the first of them: where it stands, why, and its bytes."""

    reason: str
    detail: str
    place: str
    payload: bytes
    count: int = 0


class Findings:
    """What would become of the messages that were added, if a job without history read them. `now` is the time by which
    some are in the future."""

    def __init__(self, connections: Connections, connection: str | None, now: Timestamp) -> None:
        self._connections = connections
        self._reader = Reader.of(connections, connection)
        self._now = now
        self._events: set[str] = set()
        self._calls: dict[str, tuple[str, str]] = {}
        self._ids: Counter[str] = Counter()
        self.messages = 0
        self.calls = 0
        self.types: Counter[str] = Counter()
        self.outcomes: Counter[str] = Counter()
        self.refusals: dict[tuple[str, str], Refusals] = {}
        self.by_connection: Counter[str] = Counter()
        self.projects: defaultdict[str, Counter[str]] = defaultdict(Counter)
        """How many calls of each connection came from each of its sources, where they say from which."""
        self.user_ids: set[str] = set()
        self.anonymous_ids: set[str] = set()
        self.anonymous = 0
        self.accounts: defaultdict[Way, Counter[str]] = defaultdict(Counter)
        """How many calls named each account, by the way in which they did."""
        self.without_account = 0
        self.without_effect = 0
        self.unusable: Counter[str] = Counter()
        self.placeholders: Counter[tuple[str, str]] = Counter()
        self.in_future = 0

    def add(self, place: str, received: Received) -> None:
        """Reads one message; `place` says where it stands."""
        self.messages += 1
        for outcome in self._reader.read(received):
            self.calls += 1
            if isinstance(outcome, DeadLetter):
                self._add_refused(place, outcome)
                continue
            self.types[outcome.type] += 1
            if isinstance(outcome, Disabled):
                self.outcomes["disabled"] += 1
            else:
                self._add_call(place, outcome)

    def connections(self) -> tuple[Connection, ...]:
        """Those of the configuration, in its order."""
        return self._connections.connections

    @cached_property
    def tables(self) -> judge.Tables:
        """Contacts, accounts, identities and memberships, by a replay of the calls."""
        return judge.replay_log(self._calls.values(), configuration(self._connections))

    def common_id(self) -> tuple[str, int] | None:
        """The id in the most calls, and in how many, where those are suspiciously many."""
        ((id, count),) = self._ids.most_common(1) or [("", 0)]
        return (id, count) if count > _COMMON * self.calls and self.calls >= _COMMON_FROM else None

    def _add_call(self, place: str, call: Call) -> None:
        self.by_connection[call.connection.name] += 1
        if call.project_id is not None:
            self.projects[call.connection.name][call.project_id] += 1
        self.unusable.update(call.unusable)
        self._note_placeholders(parse_item(call.message))
        try:
            event, entry = call_rows.rows(call)
        except Refused as refused:
            self._add_refused(place, call_rows.refused_call(call, refused))
            return
        if self._is_repeated(event.row if event is not None else None, entry):
            return
        self.in_future += call.timestamp > self._now + MAX_CLOCK_AHEAD_US
        self._add_ids(call)
        if entry is not None:
            self._add_facts(call)

    def _is_repeated(self, event: object, entry: LogEntry | None) -> bool:
        """Counts the first outcome of a call, and returns whether the tables have it already."""
        logged = None if entry is None else entry.append.row
        if isinstance(event, Event):
            repeated = event.message_id in self._events
            self._events.add(event.message_id)
            self.outcomes["duplicate" if repeated else "event"] += 1
            if repeated:
                return True
        if not isinstance(logged, IdentityCall):
            return False
        content = logged.payload, logged.connection
        known = self._calls.setdefault(logged.message_id, content)
        repeated = known is not content
        if not isinstance(event, Event):
            outcome = "identity_call" if not repeated else "duplicate" if known == content else "conflicting"
            self.outcomes[outcome] += 1
        return repeated

    def _add_ids(self, call: Call) -> None:
        if call.user_id is not None:
            self.user_ids.add(call.user_id)
        else:
            self.anonymous += 1
        if call.anonymous_id is not None:
            self.anonymous_ids.add(call.anonymous_id)
        self._ids.update({id for id in (call.user_id, call.anonymous_id) if id is not None})

    def _add_facts(self, call: Call) -> None:
        facts = learned(call, self._connections)
        self.without_effect += facts.without_effect
        if facts.account is not None:
            account_id, known = facts.account
            for way in known.seen:
                self.accounts[way][account_id] += 1
        elif call.type in (IDENTIFY, GROUP) and not facts.without_effect:
            self.without_account += 1

    def _add_refused(self, place: str, letter: DeadLetter) -> None:
        self.outcomes["dead_letter"] += 1
        kind = letter.reason, _VARYING.sub("", letter.detail)
        refusals = self.refusals.get(kind)
        if refusals is None:
            refusals = self.refusals[kind] = Refusals(letter.reason, letter.detail, place, letter.payload)
        refusals.count += 1
        try:
            self._note_placeholders(parse_item(letter.payload))
        except Refused:
            return

    def _note_placeholders(self, fields: MessageFields) -> None:
        """Counts the ids that name nobody: they count as absent."""
        for field in _ID_FIELDS:
            value = getattr(fields, field)
            name = value.strip() if isinstance(value, str) else ""
            if name and ids.is_placeholder(name, self._reader.placeholder_ids):
                self.placeholders[field, name] += 1
