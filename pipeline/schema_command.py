"""`python -m schemas`: prints the DDL of a warehouse, or creates or upgrades one."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence

from pipeline import command_line, warehouses
from pipeline.command_line import CommandParser
from pipeline.errors import printable, value_without_secrets
from pipeline.plurals import counted
from schemas import compact, tables, views
from schemas.upgrade import IncompatibleSchemaError

_PROGRAM = "python -m schemas"
_DIALECTS = {kind.dialect: kind for kind in warehouses.KINDS}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns the exit status: 2, with a line for each problem, where it cannot be done."""
    return command_line.run(_PROGRAM, lambda: _command(_parser().parse_args(argv)))


def _command(options: argparse.Namespace) -> int:
    try:
        if options.command == "ddl":
            print("\n\n".join(_DIALECTS[options.dialect].ddl(options.dataset)))
        elif options.command == "compact":
            print(_compaction(options.warehouse) if options.print else _compact(options.warehouse))
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


def _parser() -> CommandParser:
    parser = CommandParser(prog=_PROGRAM, description="The tables and views of a warehouse.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    purpose = "print the DDL of every table and view"
    command = commands.add_parser("ddl", help=purpose, description=purpose)
    default = warehouses.DEFAULT_DIALECT
    command.add_argument("--dialect", choices=sorted(_DIALECTS), default=default, help=f"default: {default}")
    command.add_argument("--dataset", metavar="[PROJECT.]DATASET", help="where the tables are to be, if in a dataset")

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
    return parser


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
