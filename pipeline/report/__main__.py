"""`python -m pipeline.report`: writes the report of a warehouse as one HTML file."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from datetime import date
from typing import Final

from rich.console import Console

from pipeline import commands
from pipeline.errors import UsageError, value_without_secrets
from pipeline.report import charts
from pipeline.report.figures import DEFAULT_DAYS, Choice, gather
from pipeline.report.page import page
from pipeline.warehouses import open_warehouse
from schemas.tables import Timestamp

_MOST_STEPS: Final = 10


def main(argv: Sequence[str] | None = None, program: str = "") -> int:
    """Writes a report. Returns 0, or 2 for a mistake of the user's."""
    parser = commands.WarehouseParser(
        "pipeline.report",
        "Writes one HTML file of what a warehouse holds: traffic, people and accounts, a funnel, retention, audiences, "
        "dead letters, freshness, identities and what looks suspicious. It opens anywhere, without a network.",
    )
    parser.add_argument("--output", default="report.html", metavar="FILE", help="The file. Default: report.html.")
    parser.add_argument(
        "--from",
        dest="first_day",
        type=_day,
        metavar="DATE",
        help=f"The first day (UTC), such as 2026-01-31. Default: {DEFAULT_DAYS} days up to the last.",
    )
    parser.add_argument(
        "--to", dest="last_day", type=_day, metavar="DATE", help="The last day. Default: that of the newest call."
    )
    parser.add_argument(
        "--funnel",
        type=_names,
        default=(),
        metavar="NAME,NAME",
        help=f"The names of 2 to {_MOST_STEPS} events, in the order in which people do them.",
    )
    return commands.run(parser, _report, argv, program)


def _report(options: argparse.Namespace) -> int:
    charts.require()
    choice = Choice(first_day=options.first_day, last_day=options.last_day, funnel=options.funnel)
    if choice.first_day and choice.last_day and choice.first_day > choice.last_day:
        raise UsageError(
            "is after --to", "give an earlier day, or a later --to", option="--from", value=f"{choice.first_day}"
        )
    warehouse = open_warehouse(options.warehouse)
    with warehouse.contents() as contents:
        figures = gather(contents, choice, Timestamp(time.time_ns() // 1000))
    commands.write_page("--output", options.output, page(figures, value_without_secrets(options.warehouse)))
    commands.say(Console(), f"Report written to {options.output}: open it in a browser")
    return 0


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a day: give one such as 2026-01-31") from None


def _names(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(","))
    if not 2 <= len(names) <= _MOST_STEPS or not all(names):
        raise argparse.ArgumentTypeError(f"{text!r} is not a funnel: give the names of 2 to {_MOST_STEPS} events")
    return names


if __name__ == "__main__":
    sys.exit(main())
