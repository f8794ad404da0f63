"""`python -m pipeline.purge`: removes what a deleted person left behind (`docs/semantics.md`, section 7).

Every step leaves the warehouse such that the same command, run again, finishes what was interrupted: the ids of the
person are read from `identities`, which is made anew last.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

import msgspec
from rich.console import Console

from pipeline import commands
from pipeline.command_line import INTERRUPTED_STATUS
from pipeline.errors import UsageError
from pipeline.options import options_without_secrets, parse
from pipeline.run import run
from pipeline.warehouses import open_warehouse
from pipeline.warehouses.base import GoogleSql, Warehouse
from schemas import purge
from schemas.tables import DEAD_LETTERS, EVENTS, IDENTITIES, IDENTITY_CALLS
from transforms.core import emails, times
from transforms.core.hashed_ids import keyed_hash, promoted, replaced
from transforms.core.named_ids import named_calls
from transforms.core.stamps import Stamp

_OWN_JOB: Final = "pipeline.purge"
"""What the options of a job begin with that a purge has run."""
_KEY: Final = "SEGMENT_PURGE_KEY"
_LETTERS_A_STATEMENT: Final = 1_000
_CALLS_A_STATEMENT: Final = 500
_BYTES_A_STATEMENT: Final = 1_000_000
_KEYED_TABLES: Final = "contacts, accounts, identities and memberships"
_decode_attributes: Final = msgspec.json.Decoder(dict[str, object]).decode


@dataclass(frozen=True, kw_only=True)
class Person:
    """A deleted person. `plain` are the ids as they were sent that the tables have now, `ids` those and their hashes.
    `deleted` is the stamp of the newest delete that names one of them."""

    plain: frozenset[str]
    ids: frozenset[str]
    deleted: Stamp

    @property
    def parameters(self) -> Mapping[str, int | str | Sequence[str]]:
        """Of the statements that need ids and delete."""
        deleted_at, delete_id = self.deleted
        return {"ids": sorted(self.ids), "deleted_at": deleted_at, "delete_id": delete_id}


@dataclass(frozen=True, kw_only=True)
class DeadLetters:
    """The dead letters that name a person: ids of those up to the delete, or of no known time; how many came after."""

    old: tuple[str, ...]
    later: int


@dataclass(frozen=True, kw_only=True)
class Removed:
    """What a purge changed: rows by table, and where hashes took the place of ids."""

    events: int
    dead_letters: int
    calls: int
    hashed_events: int
    hashed_calls: int


@dataclass(frozen=True, kw_only=True)
class Remains:
    """What the tables hold of a person: `old` up to the delete, `later` after it, by table; `plain` is how many
    events, and calls of the log, still carry an id that must be a hash."""

    old: Mapping[str, int]
    later: Mapping[str, int]
    plain: Mapping[str, int]


def main(argv: Sequence[str] | None = None, program: str = "") -> int:
    """Purges a person. Returns 0, or 1 where no delete call of the log names the person or something is left, or 2 for
    a mistake."""
    parser = commands.WarehouseParser(
        "pipeline.purge",
        "Removes a deleted person's events and dead letters, and strips the person's calls in the log of all but ids "
        "and times, up to the newest delete call that names one of the person's ids; then makes contacts, accounts, "
        "identities and memberships anew from the log. Safe to run again.",
    )
    parser.add_connections()
    parser.add_argument(
        "--id", required=True, type=commands.id_text, metavar="ID", help="A userId or an anonymousId of the person."
    )
    parser.add_argument(
        "--hash_ids",
        action="store_true",
        help="Puts a keyed hash (HMAC-SHA256) in the place of each id of the person in what is kept: the key is the "
        f"environment variable {_KEY}. The same key gives the same hashes.",
    )
    parser.add_argument(
        "--no_rebuild",
        action="store_true",
        help=f"Leaves {_KEYED_TABLES} as they are until the next job.",
    )
    return commands.run(parser, _purge, argv, program)


def _purge(options: argparse.Namespace) -> int:
    console = Console()
    id = options.id
    hashed = _hashed() if options.hash_ids else None
    connections = commands.connections_of(options)
    warehouse = open_warehouse(options.warehouse)
    with warehouse.googlesql() as sql:
        person = find_person(sql, id, hashed)
        if person is None:
            line = f"No delete call of the log names {id} or another id of the same contact: nothing was purged"
            commands.say(console, line, "bold red")
            return 1
        last_options = next((text for (text,) in sql.rows(purge.LAST_OPTIONS)), "")
        hindrance = _running(warehouse, last_options) or _unknown_configuration(
            sql, last_options, options, {connection.name for connection in connections.connections}
        )
        if hindrance is not None and hashed is not None:
            raise UsageError(hindrance.problem, hindrance.remedy, option="--hash_ids")
        removed = purge_person(sql, person, hashed)
    _report(console, removed, hashed is not None)
    if hindrance is None and not options.no_rebuild:
        _rebuild(options)
    with warehouse.googlesql() as sql:
        remains = look(sql, find_person(sql, id, hashed) or person, person.plain if hashed else ())
    warehouse.erase_removed()
    if hindrance is not None:
        line = f"{_KEYED_TABLES} are as they were until the next job makes them anew: {hindrance.problem}"
        commands.say(console, line[0].upper() + line[1:], "yellow")
    return _conclude(console, id, person, remains, hashed is not None)


def find_person(sql: GoogleSql, id: str, hashed: Callable[[str], str] | None) -> Person | None:
    """The person that an id belongs to, None where no delete in the log names one of the person's ids. Where ids are
    hashed, those that were hashed before are the person's as well."""
    plain = _contact(sql, [id])
    ids = set(plain)
    if hashed is not None:
        ids |= _contact(sql, [hashed(id)]) | {hashed(known) for known in plain}
    newest = next(iter(sql.rows(purge.NEWEST_DELETE, {"ids": sorted(ids)})), None)
    if newest is None:
        return None
    deleted_at, delete_id = newest
    return Person(plain=frozenset(plain), ids=frozenset(ids), deleted=(deleted_at, delete_id))


def _contact(sql: GoogleSql, ids: Sequence[str]) -> set[str]:
    """All ids of the contacts of these."""
    labels = {*ids, *(label for (label,) in sql.newest_rows(IDENTITIES, purge.LABELS, {"ids": ids}))}
    members = sql.newest_rows(IDENTITIES, purge.MEMBERS, {"ids": sorted(labels)})
    return labels.union(id for (id,) in members)


def purge_person(sql: GoogleSql, person: Person, hashed: Callable[[str], str] | None) -> Removed:
    """Removes and strips up to the delete, and gives hashes to what is kept, where there is a hash."""
    letters = find_dead_letters(sql, person)
    for batch in _batches(letters.old, _LETTERS_A_STATEMENT):
        sql.change(purge.REMOVE_DEAD_LETTERS, {"ids": batch})
    events = sql.change(purge.REMOVE_EVENTS, person.parameters)
    calls = sql.change(purge.STRIP_CALLS, person.parameters)
    hashes = {} if hashed is None else {id: hashed(id) for id in person.plain}
    return Removed(
        events=events,
        dead_letters=len(letters.old),
        calls=calls,
        hashed_events=_hash_in_events(sql, hashes) if hashes else 0,
        hashed_calls=_hash_in_calls(sql, hashes) if hashes else 0,
    )


def find_dead_letters(sql: GoogleSql, person: Person) -> DeadLetters:
    """Reads every dead letter: it is the person's where one of its calls names one of the ids. It stays only where all
    of those calls say that they came after the delete."""
    old: set[str] = set()
    later: set[str] = set()
    for letter_id, payload, attributes in sql.rows(purge.DEAD_LETTERS_READ):
        calls = [call for call in named_calls(payload, _attributes(attributes)) if not call.ids.isdisjoint(person.ids)]
        if calls:
            (later if all(call.is_after(person.deleted) for call in calls) else old).add(letter_id)
    return DeadLetters(old=tuple(sorted(old)), later=len(later))


def look(sql: GoogleSql, person: Person, unwanted: Iterable[str]) -> Remains:
    """What the tables hold of a person, and of `unwanted` ids."""
    ((events, old_events),) = sql.rows(purge.EVENTS_OF, person.parameters)
    ((calls, old_calls, unstripped),) = sql.rows(purge.CALLS_OF, person.parameters)
    letters = find_dead_letters(sql, person)
    unwanted = frozenset(unwanted)
    plain = {}
    if unwanted:
        carriers = sql.rows(purge.CARRIERS, {"ids": sorted(unwanted)})
        plain[IDENTITY_CALLS.name] = sum(not unwanted.isdisjoint(ids) for _, *ids, _ in carriers)
        ((plain[EVENTS.name],),) = sql.rows(purge.CARRYING_EVENTS, {"ids": sorted(unwanted)})
    return Remains(
        old={EVENTS.name: old_events, IDENTITY_CALLS.name: unstripped, DEAD_LETTERS.name: len(letters.old)},
        later={
            EVENTS.name: events - old_events,
            IDENTITY_CALLS.name: calls - old_calls,
            DEAD_LETTERS.name: letters.later,
        },
        plain=plain,
    )


def _hash_in_events(sql: GoogleSql, hashes: Mapping[str, str]) -> int:
    extras = sorted(set(_changed_extras(sql.rows(purge.EXTRAS, {"ids": sorted(hashes)}), hashes)))
    for batch in _batches(extras, _CALLS_A_STATEMENT, _BYTES_A_STATEMENT):
        sql.change(purge.REPLACE_IN_EXTRAS, {"changes": batch})
    changes = [msgspec.json.encode({"id": id, "new_id": new}).decode() for id, new in sorted(hashes.items())]
    columns = ("user_id", "anonymous_id")
    return sum(sql.change(purge.replace_in_events(column), {"changes": changes}) for column in columns)


def _hash_in_calls(sql: GoogleSql, hashes: Mapping[str, str]) -> int:
    changes = sorted(set(_changed_calls(sql.rows(purge.CARRIERS, {"ids": sorted(hashes)}), hashes)))
    batches = _batches(changes, _CALLS_A_STATEMENT, _BYTES_A_STATEMENT)
    return sum(sql.change(purge.REPLACE_IN_CALLS, {"changes": batch}) for batch in batches)


def _changed_calls(rows: Iterable[tuple[str, ...]], hashes: Mapping[str, str]) -> Iterator[str]:
    """The changes that put hashes in the place of ids, where a row holds any."""
    for message_id, user_id, anonymous_id, previous_id, payload in rows:
        before = (user_id, anonymous_id, previous_id, payload)
        after = (*(hashes.get(id, id) for id in before[:3]), _replaced(payload, hashes))
        if after != before:
            names = ("user_id", "anonymous_id", "previous_id", "payload")
            new = {**dict(zip(names, after, strict=True)), "promoted": promoted(after[3])}
            digest = hashlib.sha256(payload.encode()).hexdigest()
            yield msgspec.json.encode({"message_id": message_id, "old_digest": digest, **new}).decode()


def _changed_extras(rows: Iterable[tuple[str, ...]], hashes: Mapping[str, str]) -> Iterator[str]:
    """The changes that put hashes in the place of ids among an event's other fields."""
    for message_id, extra in rows:
        new = replaced(extra, hashes)
        if new != extra:
            yield msgspec.json.encode({"message_id": message_id, "extra": new}).decode()


def _replaced(payload: str, hashes: Mapping[str, str]) -> str:
    try:
        return replaced(payload, hashes)
    except msgspec.DecodeError:  # written by rules that took it for a call
        return payload


def _batches(items: Sequence[str], longest: int, most_bytes: int = sys.maxsize) -> Iterator[Sequence[str]]:
    """The items in order, at most so many and so many bytes together, or one that is larger."""
    rest = iter(items)
    batch = list(islice(rest, 1))
    size = sum(map(len, batch))
    for item in rest:
        if len(batch) == longest or size + len(item) > most_bytes:
            yield batch
            batch, size = [], 0
        batch.append(item)
        size += len(item)
    if batch:
        yield batch


def _rebuild(options: argparse.Namespace) -> None:
    """Makes the keyed tables anew from the log, as a job with `--rebuild` does."""
    arguments = ["--rebuild", f"--warehouse={options.warehouse}"]
    if options.connections is not None:
        arguments.append(f"--connections={options.connections}")
    settings, beam_options = parse(arguments)

    def end_interrupted(*_: object) -> None:
        os.write(sys.stderr.fileno(), f"{options.program}: interrupted; the same command finishes it\n".encode())
        os._exit(INTERRUPTED_STATUS)

    before = signal.signal(signal.SIGINT, end_interrupted)  # as an exception it would be the failure of some step
    try:
        run(settings, beam_options, f"{_OWN_JOB} {options_without_secrets(arguments)}")
    finally:
        signal.signal(signal.SIGINT, before)


def _attributes(text: str | None) -> Mapping[str, object]:
    try:
        return _decode_attributes(text or "{}")
    except msgspec.DecodeError:
        return {}


@dataclass(frozen=True, kw_only=True)
class _Hindrance:
    """Why the keyed tables cannot be made anew now, and what to do."""

    problem: str
    remedy: str


def _running(warehouse: Warehouse, last_options: str) -> _Hindrance | None:
    since = warehouse.running_since()
    if since is None or last_options.startswith(_OWN_JOB):  # which a purge began that broke off
        return None
    problem = f"the job started at {times.iso(since)} has not entered its end, and keeps the ids while it runs"
    return _Hindrance(
        problem=problem, remedy="drain or stop it first; where it was killed, run `python -m pipeline --rebuild`"
    )


def _unknown_configuration(
    sql: GoogleSql, last_options: str, options: argparse.Namespace, known: set[str]
) -> _Hindrance | None:
    """Whether the log was written under a configuration that the command does not have."""
    logged = {name for (name,) in sql.rows(purge.CONNECTIONS)}
    remedy = "give the connections file of the last job with --connections"
    if options.connections is None and "--connections" in last_options:
        return _Hindrance(problem="the last job had a connections file", remedy=remedy)
    if options.connections is None and logged - known:
        name = min(logged - known)
        return _Hindrance(problem=f"the log names the connection {name!r}, which is not configured", remedy=remedy)
    return None


def _hashed() -> Callable[[str], str]:
    """The hash of ids. Raises UsageError where there is no key."""
    key = os.fsencode(os.environ.get(_KEY, "").strip())
    if not key:
        problem = f"the environment variable {_KEY} is not set"
        raise UsageError(problem, "set it to a secret of yours, the same for every purge", option="--hash_ids")
    return lambda id: keyed_hash(id, key)


def _report(console: Console, removed: Removed, hashed: bool) -> None:
    commands.say(console, f"{removed.events:,} removed from events")
    commands.say(console, f"{removed.dead_letters:,} removed from dead_letters")
    commands.say(console, f"{removed.calls:,} of identity_calls keep nothing but ids and times")
    if hashed:
        line = f"Hashes took the place of ids in {removed.hashed_calls:,} of identity_calls"
        commands.say(console, f"{line}, and of {removed.hashed_events:,} ids of events")


def _conclude(console: Console, id: str, person: Person, remains: Remains, hashed: bool) -> int:
    """Says what is left. Returns the exit status."""
    again = "they came while this ran, so run it again"
    for name, rows in remains.old.items():
        if rows:
            commands.say(console, f"{rows:,} of {name} up to the delete are left: {again}", "bold red")
    for name, rows in remains.plain.items():
        if rows:
            commands.say(console, f"{rows:,} of {name} carry ids that are not hashes: {again}", "bold red")
    for name, rows in remains.later.items():
        if rows:
            commands.say(console, f"{rows:,} of {name} are left: they came after the delete", "yellow")
    addresses = 0 if hashed else sum(emails.domain(known) is not None for known in person.ids)
    if addresses:
        are = "is an e-mail address, which stays" if addresses == 1 else "are e-mail addresses, which stay"
        line = f"{addresses:,} of the ids {are} in what is kept of ids: --hash_ids puts hashes in their place"
        commands.say(console, line, "yellow")
    if any(remains.old.values()) or any(remains.plain.values()):
        return 1
    if not any(remains.later.values()) and not addresses:
        commands.say(console, f"Nothing is left of {id} up to the delete, and nothing came after it", "green")
    return 0


if __name__ == "__main__":
    sys.exit(main())
