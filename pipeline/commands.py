"""What the commands on a warehouse or an input share: `python -m pipeline.audit`, `pipeline.check`,
`pipeline.explain`, `pipeline.purge` and `pipeline.report`."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence
from contextlib import suppress

from rich.console import Console
from rich.text import Text

from pipeline import command_line
from pipeline.command_line import CommandParser
from pipeline.connections_file import load_connections
from pipeline.errors import UsageError, printable
from pipeline.warehouses import url_forms
from transforms.core.connections import DEFAULT, Connections


class WarehouseParser(CommandParser):
    """The options of a command on a warehouse."""

    def __init__(self, prog: str, description: str) -> None:
        super().__init__(prog=f"python -m {prog}", description=description)
        self.add_argument("--warehouse", required=True, metavar="URL", help=f"Required: {url_forms()}.")

    def add_connections(self) -> None:
        """Lets the user name the configuration."""
        self.add_argument(
            "--connections",
            metavar="FILE",
            help="The connections file of the last job, local or gs://. Default: as of a job without one.",
        )


def run(
    parser: CommandParser, command: Callable[[argparse.Namespace], int], argv: Sequence[str] | None, program: str = ""
) -> int:
    """Runs a command on its arguments, and returns its exit status, as `command_line.run` does. `program` is what the
    user has typed to start it, where that is not the parser's own; the command gets it among its options."""
    parser.prog = program or parser.prog
    parser.set_defaults(program=parser.prog)
    return command_line.run(parser.prog, lambda: command(parser.parse_args(argv)))


def id_text(text: str) -> str:
    """Reads an id as messages are read: without the white space around it."""
    if not text.strip():
        raise UsageError("is blank", "give a userId or an anonymousId", option="--id", value=text)
    return text.strip()


def count(text: str) -> int:
    """Reads a number of things."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a count: give a whole number from 0")
    return int(text)


def connections_of(options: argparse.Namespace) -> Connections:
    """The configuration that the options name."""
    return DEFAULT if options.connections is None else load_connections(options.connections)


def write_page(option: str, file: str, text: str) -> None:
    """Writes a whole file, or leaves what is there as it is. Raises UsageError."""
    temporary = f"{file}.part"
    try:
        with open(temporary, "w", encoding="utf-8", newline="\n") as opened:
            opened.write(text)
        os.replace(temporary, file)
    except OSError as error:
        with suppress(OSError):
            os.unlink(temporary)
        problem, remedy = f"cannot be written: {error.strerror}", "name a file in a folder that you can write"
        raise UsageError(problem, remedy, option=option, value=file) from None


def say(console: Console, line: str | Text, style: str = "") -> None:
    """Prints one line as it is, however long, so that it can be copied and searched."""
    text = Text(line) if isinstance(line, str) else line
    text.plain = printable(text.plain).encode(console.encoding, "backslashreplace").decode(console.encoding)
    console.print(text, style=style, soft_wrap=True)
