"""`python -m schemas`: prints the DDL of a warehouse, or creates or upgrades one."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator, Sequence
from typing import Final

from pipeline import command_line, warehouses
from pipeline.command_line import CommandParser
from pipeline.errors import UsageError, printable, value_without_secrets
from pipeline.plurals import counted
from schemas import compact, event_views, tables, views
from schemas.upgrade import IncompatibleSchemaError

_PROGRAM = "python -m schemas"
_EVENT_VIEWS: Final = "by_event"
_SCHEMA: Final = re.compile(r"[A-Za-z]\w{0,127}", re.ASCII)
_OWN_SCHEMAS: Final = ("main", "internal", "information_schema", "pg_catalog")
_DIALECTS = {kind.dialect: kind for kind in warehouses.KINDS}


def main(argv: Sequence[str] | None = None, program: str = _PROGRAM) -> int:
    """Runs one command and returns the exit status: 2, with a line for each problem, where it cannot be done."""
    return command_line.run(program, lambda: _command(_parser(program).parse_args(argv)))


def _command(options: argparse.Namespace) -> int:
    try:
        if options.command == "ddl":
            print("\n\n".join(_DIALECTS[options.dialect].ddl(options.dataset)))
        elif options.command == "compact":
            print(_compaction(options.warehouse) if options.print else _compact(options.warehouse))
        elif options.command == "event_views":
            print("\n".join(_event_views(options.warehouse, options.into, options.drop)))
        else:
            print("\n".join(_create(options.warehouse, options.location)))
    except IncompatibleSchemaError as error:
        shown = value_without_secrets(options.warehouse)
        noun = warehouses.kind_of(options.warehouse).noun
        for line in error.lines:
            problem = f"--warehouse={shown}: {line}; name another {noun}, or move this one away"
            command_line.print_error(printable(problem))
        return command_line.USAGE_STATUS
    return 0


def _parser(program: str) -> CommandParser:
    parser = CommandParser(prog=program, description="The tables and views of a warehouse.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    purpose = "print the DDL of every table and view"
    command = commands.add_parser("ddl", help=purpose, description=purpose)
    default = warehouses.DEFAULT_DIALECT
    command.add_argument("--dialect", choices=sorted(_DIALECTS), default=default, help=f"default: {default}")
    command.add_argument("--dataset", metavar="[PROJECT.]DATASET", help="the dataset that the tables are in")

    purpose = "create the tables, columns and views that are missing; nothing is dropped"
    command = commands.add_parser("create", help=purpose, description=purpose)
    command.add_argument("--warehouse", required=True, metavar="URL", help=warehouses.url_forms())
    purpose = "where a new dataset is to lie, such as EU or europe-west1; default: the multi-region US"
    command.add_argument("--location", metavar="LOCATION", help=purpose)

    purpose = "remove the copies of events that came after the memory of their first"
    command = commands.add_parser("compact", help=purpose, description=purpose)
    command.add_argument("--warehouse", required=True, metavar="URL", help=warehouses.url_forms())
    purpose = "print the script that does it, for a scheduled query, and change nothing"
    command.add_argument("--print", action="store_true", help=purpose)

    purpose = "make or renew a view for each event that was seen, with its properties as typed columns"
    command = commands.add_parser("event_views", help=purpose, description=purpose)
    command.add_argument("--warehouse", required=True, metavar="URL", help=warehouses.url_forms())
    purpose = f"the schema that they are made in, or the dataset; default: {_EVENT_VIEWS}, or DATASET_{_EVENT_VIEWS}"
    command.add_argument("--into", metavar="NAME", help=purpose)
    command.add_argument("--drop", action="store_true", help="drop the views of events that no longer occur")
    return parser


def _event_views(url: str, into: str | None, drop: bool) -> Iterator[str]:
    """Makes the views that are missing or read otherwise; gives a line for each that it changes."""
    kind = warehouses.kind_of(url)
    if into is None:
        into = _EVENT_VIEWS if kind.is_local else f"{url.rpartition('/')[2]}_{_EVENT_VIEWS}"
    if not _SCHEMA.fullmatch(into) or into.lower() in _OWN_SCHEMAS:
        remedy = f"letters, digits and _, and none of {', '.join(_OWN_SCHEMAS)}"
        raise UsageError("cannot be the name of a schema for views", remedy, option="--into", value=into)
    with kind.view_schema(url, into) as schema:
        existing = schema.existing()
        shapes = event_views.properties(schema.rows(event_views.SHAPES))
        names = [name for (name,) in schema.rows(event_views.NAMES)]
        wanted = list(event_views.event_views(names, shapes, existing))
        for view in wanted:
            if existing.get(view.name) != view.description:  # which ends in the digest of its query
                schema.make(view)
                yield f"{'changed' if view.name in existing else 'created'} view {into}.{view.name}"
        gone = {name for name, text in existing.items() if event_views.event_of(text) is not None}
        for name in sorted(gone - {view.name for view in wanted}) if drop else ():
            schema.drop(name)
            yield f"dropped view {into}.{name}"
    yield f"{value_without_secrets(url)} has {counted(len(wanted), 'view')} of events in {into}"


def _compaction(url: str) -> str:
    return warehouses.kind_of(url).compaction(url)


def _compact(url: str) -> str:
    """Removes copies; returns what it did, in one line. Jobs may run meanwhile: what they append later is left."""
    warehouse = warehouses.open_warehouse(url, create=False)
    shown = value_without_secrets(url)
    if warehouse.enforces_keys:
        return f"{shown} holds each message once"
    with warehouse.googlesql() as sql:
        copies, first_at, last_at = next(iter(sql.rows(compact.COPIES)))
        if copies:
            sql.change(compact.REMOVE_COPIES, {"first_at": first_at, "last_at": last_at})
    return f"{shown}: {counted(copies or 0, 'copy', 'copies')} of events removed"


def _create(url: str, location: str | None) -> Iterator[str]:
    yield from (f"created {line}" for line in warehouses.kind_of(url).create(url, location))
    yield f"{value_without_secrets(url)} has {len(tables.ALL)} tables and {len(views.ALL)} views"


if __name__ == "__main__":
    sys.exit(main())
