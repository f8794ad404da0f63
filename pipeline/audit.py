"""`python -m pipeline.audit`: whether the keyed tables are what the log says.

Every call of `identity_calls` is replayed in order by `judge`, which shares no code with the stages that
wrote the tables, and the outcome is compared with contacts, accounts, identities and memberships.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
from msgspec.structs import replace
from rich.console import Console

import judge
from judge.comparison import Difference, Key, compare
from judge.values import Row
from pipeline import commands
from pipeline.plurals import counted
from pipeline.warehouses import Contents, open_warehouse
from schemas.tables import ACCOUNTS, CONTACTS, IDENTITIES, JOBS, KEYED, MEMBERSHIPS, Column, Mode, Table, Type
from transforms.core import times
from transforms.core.connections import Connections


def main(argv: Sequence[str] | None = None, program: str = "") -> int:
    """Compares, and prints what differs. Returns 0 where nothing does, 1 where something does, 2 for a mistake."""
    parser = commands.WarehouseParser(
        "pipeline.audit",
        "Replays every call of the table identity_calls one by one, and says where contacts, accounts, identities and "
        "memberships differ from that. Exits with 0 where they do not, with 1 where they do.",
    )
    parser.add_connections()
    parser.add_argument(
        "--show",
        type=commands.count,
        default=100,
        metavar="NUMBER",
        help="How many differences are shown. Default: 100.",
    )
    return commands.run(parser, _audit, argv, program)


def _audit(options: argparse.Namespace) -> int:
    connections = commands.connections_of(options)
    console = Console()
    counts: Counter[str] = Counter()
    with open_warehouse(options.warehouse).contents() as contents:
        log = list(contents.log())
        tables = judge.replay_log(log, configuration(connections))
        for difference in differences(contents, tables):
            counts[difference.table] += 1
            if counts.total() <= options.show:
                commands.say(console, str(difference))
        last_job = max(contents.rows(JOBS), key=lambda job: job["generation"], default=None)
    if counts.total() > options.show:
        commands.say(console, f"and {counts.total() - options.show:,} more")
    for reason, count in Counter(reason for reason, _ in tables.dead_letters).items():
        commands.say(console, f"{counted(count, 'call')} of the log cannot be read any more: {reason}", "yellow")
    for name in sorted({name for _, name in log}.difference(connection.name for connection in connections.connections)):
        commands.say(console, f"The connections file has no connection {name!r}, which the log names.", "yellow")
    if counts and last_job is not None and last_job["ended_at"] is None:
        commands.say(console, "The last job did not end: what it logged is in the tables after the next one.", "yellow")
    replayed = f"{counted(len(log), 'call')} of identity_calls replayed"
    if not counts:
        rows = ", ".join(f"{table.name} ({len(_expected(tables, table)):,})" for table in KEYED)
        commands.say(console, f"{replayed}: no difference in {rows}", "green")
        return 0
    by_table = ", ".join(f"{count:,} in {name}" for name, count in counts.items())
    commands.say(console, f"{replayed}: {counted(counts.total(), 'difference')}, {by_table}", "bold red")
    return 1


def configuration(connections: Connections) -> judge.Config:
    """The configuration as the replay takes it."""
    return msgspec.convert(connections, judge.Config, from_attributes=True)


def differences(contents: Contents, tables: judge.Tables) -> Iterator[Difference]:
    """What differs, by table and key."""
    for table in KEYED:
        stored = {_key(table, row): _values(table, _parsed(table, row)) for row in contents.rows(table)}
        expected = {key: _values(table, row) for key, row in _expected(tables, table).items()}
        yield from compare(table.name, stored, expected)


def _expected(tables: judge.Tables, table: Table) -> Mapping[Key, Row]:
    """The rows of a keyed table by the replay."""
    rows: Mapping[str, Mapping[Key, Row]] = {
        CONTACTS.name: {(external_id,): row for external_id, row in tables.contacts.items()},
        ACCOUNTS.name: {(account_id,): row for account_id, row in tables.accounts.items()},
        IDENTITIES.name: {(id,): {"id": id, "external_id": label} for id, label in tables.identities.items()},
        MEMBERSHIPS.name: {(*key,): row for key, row in tables.memberships.items()},
    }
    return rows[table.name]


def _key(table: Table, row: Mapping[str, Any]) -> Key:
    return tuple(row[name] for name in table.key)


def _parsed(table: Table, row: Mapping[str, Any]) -> Row:
    """A row of the warehouse with its JSON parsed, as the replay has it."""
    documents = [column.name for column in table.columns if column.type is Type.JSON and row[column.name] is not None]
    return {**row, **{name: judge.parse(row[name]) for name in documents}}


def _values(table: Table, row: Row) -> Row:
    """What is compared of a row: all but its key, and when it was written."""
    apart = (*table.key, table.written)
    columns = [column for column in table.columns if column.name not in apart and column.name in row]
    return {column.name: _value(column, row[column.name]) for column in columns}


def _value(column: Column, value: Any) -> Any:
    if value is None:
        return None
    if column.mode is Mode.REPEATED:
        return [_value(replace(column, mode=Mode.NULLABLE), element) for element in value]
    if column.type is Type.STRUCT:
        return {field.name: _value(field, value[field.name]) for field in column.fields}
    return times.iso(value) if column.type is Type.TIMESTAMP else value


if __name__ == "__main__":
    sys.exit(main())
