"""`python -m pipeline.audit`: whether the keyed tables are what the log says.

Every call of `identity_calls` is replayed in order by `pipeline.replay`, which shares no code with the stages that
wrote the tables, and the outcome is compared with contacts, accounts, identities and memberships.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from msgspec.structs import replace
from rich.console import Console

from pipeline import commands, replay
from pipeline.replay import canonical
from pipeline.warehouses import Contents, open_warehouse
from schemas.tables import ACCOUNTS, CONTACTS, IDENTITIES, JOBS, KEYED, MEMBERSHIPS, Column, Mode, Table, Type
from transforms.core import times
from transforms.core.connections import Connections

Key = tuple[str, ...]
Row = Mapping[str, Any]
"""A row's values by column, as JSON has them; timestamps as RFC 3339."""

_LONGEST: Final = 200
"""Characters of a value that are shown."""
_ABSENT: Final = object()


@dataclass(frozen=True)
class Difference:
    """Where the warehouse and the replay differ: in a value, at a column or a path in one (`traits.color`), or where
    `path` is empty in that only one has the row.

    `found` is what the table has and `expected` what the replay has, as JSON; None where there is no such row.
    """

    table: str
    key: Key
    path: str
    found: str | None
    expected: str | None

    def __str__(self) -> str:
        place = f"{self.table} {', '.join(map(canonical, self.key))}"
        if self.found is None:
            return f"{place}: no row in the table, in the replay {_cut(self.expected)}"
        if self.expected is None:
            return f"{place}: no row in the replay, in the table {_cut(self.found)}"
        return f"{place}: {self.path} is {_cut(self.found)} in the table, {_cut(self.expected)} in the replay"


def main(argv: Sequence[str] | None = None) -> int:
    """Compares, and prints what differs. Returns 0 where nothing does, 1 where something does, 2 for a mistake."""
    parser = commands.WarehouseParser(
        "pipeline.audit",
        "Replays every call of the table identity_calls one by one, and says where contacts, accounts, identities and "
        "memberships differ from that. Exits with 0 where they do not, with 1 where they do.",
    )
    parser.add_connections()
    parser.add_argument(
        "--show", type=int, default=100, metavar="NUMBER", help="How many differences are shown. Default: 100."
    )
    return commands.run(parser, _audit, argv)


def _audit(options: argparse.Namespace) -> int:
    connections = commands.connections_of(options)
    console = Console()
    counts: Counter[str] = Counter()
    with open_warehouse(options.warehouse).contents() as contents:
        log = list(contents.log())
        tables = replay.replay_log(log, configuration(connections))
        for difference in differences(contents, tables):
            counts[difference.table] += 1
            if counts.total() <= options.show:
                commands.say(console, str(difference))
        last_job = max(contents.rows(JOBS), key=lambda job: job["generation"], default=None)
    if counts.total() > options.show:
        commands.say(console, f"and {counts.total() - options.show:,} more")
    for reason, count in Counter(reason for reason, _ in tables.dead_letters).items():
        commands.say(console, f"{_counted(count, 'call')} of the log cannot be read any more: {reason}", "yellow")
    for name in sorted({name for _, name in log}.difference(each.name for each in connections.connections)):
        commands.say(console, f"The configuration has no connection {name!r}, which the log names.", "yellow")
    if counts and last_job is not None and last_job["ended_at"] is None:
        commands.say(console, "The last job did not end: what it logged is in the tables after the next one.", "yellow")
    replayed = f"{_counted(len(log), 'call')} of identity_calls replayed"
    if not counts:
        rows = ", ".join(f"{table.name} ({len(_expected(tables, table)):,})" for table in KEYED)
        commands.say(console, f"{replayed}: no difference in {rows}", "green")
        return 0
    by_table = ", ".join(f"{count:,} in {name}" for name, count in counts.items())
    commands.say(console, f"{replayed}: {_counted(counts.total(), 'difference')}, {by_table}", "bold red")
    return 1


def configuration(connections: Connections) -> replay.Config:
    """The configuration as the replay takes it."""
    return msgspec.convert(connections, replay.Config, from_attributes=True)


def differences(contents: Contents, tables: replay.Tables) -> Iterator[Difference]:
    """What differs, by table and key."""
    for table in KEYED:
        there = {_key(table, row): _parsed(table, row) for row in contents.rows(table)}
        due = _expected(tables, table)
        for key in sorted(there.keys() | due.keys()):
            found, expected = (_values(table, rows.get(key)) for rows in (there, due))
            if found is not None and expected is not None:
                for column in found:
                    yield from _compare(table, key, column, found[column], expected[column])
            else:
                yield Difference(table.name, key, "", _shown_row(found), _shown_row(expected))


def _compare(table: Table, key: Key, path: str, found: Any, expected: Any) -> Iterator[Difference]:
    """Where two values differ; of two objects, key by key."""
    if isinstance(found, dict) and isinstance(expected, dict):
        for name in sorted(found.keys() | expected.keys()):
            values = (value.get(name, _ABSENT) for value in (found, expected))
            yield from _compare(table, key, f"{path}.{name}", *values)
    elif _shown(found) != _shown(expected):
        yield Difference(table.name, key, path, _shown(found), _shown(expected))


def _expected(tables: replay.Tables, table: Table) -> Mapping[Key, Row]:
    """The rows of a keyed table by the replay."""
    rows: Mapping[str, Mapping[Key, Row]] = {
        CONTACTS.name: {(external_id,): row for external_id, row in tables.contacts.items()},
        ACCOUNTS.name: {(account_id,): row for account_id, row in tables.accounts.items()},
        IDENTITIES.name: {(id,): {"id": id, "external_id": label} for id, label in tables.identities.items()},
        MEMBERSHIPS.name: {(*key,): row for key, row in tables.memberships.items()},
    }
    return rows[table.name]


def _key(table: Table, row: Row) -> Key:
    return tuple(row[name] for name in table.key)


def _parsed(table: Table, row: Row) -> Row:
    """A row of the warehouse with its JSON parsed, as the replay has it."""
    documents = [column.name for column in table.columns if column.type is Type.JSON and row[column.name] is not None]
    return {**row, **{name: replay.parse(row[name]) for name in documents}}


def _values(table: Table, row: Row | None) -> Row | None:
    """What is compared of a row: all but its key, and when it was written."""
    if row is None:
        return None
    apart = (*table.key, table.written)
    return {column.name: _value(column, row[column.name]) for column in table.columns if column.name not in apart}


def _value(column: Column, value: Any) -> Any:
    if value is None:
        return None
    if column.mode is Mode.REPEATED:
        return [_value(replace(column, mode=Mode.NULLABLE), each) for each in value]
    if column.type is Type.STRUCT:
        return {each.name: _value(each, value[each.name]) for each in column.fields}
    return times.iso(value) if column.type is Type.TIMESTAMP else value


def _shown(value: Any) -> str:
    """The value as canonical JSON, which tells 1 from 1.0 and from true."""
    return "absent" if value is _ABSENT else canonical(value)


def _shown_row(row: Row | None) -> str | None:
    return None if row is None else canonical({name: each for name, each in row.items() if each not in (None, [], {})})


def _cut(text: str | None) -> str:
    text = text or ""
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'s' * (count != 1)}"


if __name__ == "__main__":
    sys.exit(main())
