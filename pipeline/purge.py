"""`python -m pipeline.purge`: removes what a deleted person left behind (`docs/semantics.md`, section 7)."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from rich.console import Console

from pipeline import commands
from pipeline.warehouses import open_warehouse
from schemas.tables import DEAD_LETTERS, EVENTS, IDENTITY_CALLS

_PURGED = {
    EVENTS.name: "removed from events",
    DEAD_LETTERS.name: "removed from dead_letters",
    IDENTITY_CALLS.name: "of identity_calls keep nothing but ids and times",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Purges a person. Returns 0, or 1 where no delete call of the log names the person, or 2 for a mistake."""
    parser = commands.WarehouseParser(
        "pipeline.purge",
        "Removes a deleted person's events and dead letters, and strips the person's calls in the log of all but ids "
        "and times, up to the newest delete call that names one of the person's ids. Contacts, accounts and identities "
        "stay as they are. Safe to run again.",
    )
    parser.add_argument("--id", required=True, metavar="ID", help="A userId or an anonymousId of the person.")
    return commands.run(parser, _purge, argv)


def _purge(options: argparse.Namespace) -> int:
    console = Console()
    purged = open_warehouse(options.warehouse).purge(options.id)
    if not purged.deleted:
        line = f"No delete call of the log names {options.id} or another id of the same contact: nothing was purged"
        commands.say(console, line, "bold red")
        return 1
    for name, outcome in _PURGED.items():
        commands.say(console, f"{purged.rows[name]:,} {outcome}")
    for name, rows in purged.left.items():
        if rows:
            commands.say(console, f"{rows:,} of {name} are left: they came after the delete", "yellow")
    if not any(purged.left.values()):
        commands.say(console, f"Nothing is left of {options.id} up to the delete, and nothing came after it", "green")
    return 0


if __name__ == "__main__":
    sys.exit(main())
