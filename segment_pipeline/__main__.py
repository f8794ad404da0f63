"""The command `segment-pipeline`, and `python -m segment_pipeline`.

It starts the program that the first word names, and loads nothing else: to load the job takes a second, and an overview
is wanted at once. Without such a word, options are the job's, as they were before there were others.
"""

from __future__ import annotations

import difflib
import importlib
import sys
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

from pipeline import command_line
from pipeline.command_line import INTERRUPTED_STATUS, USAGE_STATUS, print_error
from transforms.core.usage_errors import UsageError

PROGRAM: Final = "segment-pipeline"
_DISTRIBUTION: Final = "segment-bigquery"
_HELP: Final = ("--help", "-h", "help")
_VERSION: Final = ("--version", "version")
_FIRST_COLUMN: Final = 12


class Command(NamedTuple):
    """A word, the module whose `main` it starts, and what that does. `has_own_name` says that the program goes by
    another name than the word's: in its help, and in the line that it prints of a mistake."""

    word: str
    module: str
    purpose: str
    has_own_name: bool = False


COMMANDS: Final = (
    Command("run", "pipeline.__main__", "run the job: from files, a directory or Pub/Sub into a warehouse", True),
    Command("check", "pipeline.check", "say what would become of the first of an input; writes nothing"),
    Command("audit", "pipeline.audit", "compare the tables with a replay of the log"),
    Command("explain", "pipeline.explain", "say why an id belongs to its contact, and what each call gave"),
    Command("purge", "pipeline.purge", "remove a deleted person's data"),
    Command("report", "pipeline.report.__main__", "draw what a warehouse holds as an HTML page"),
    Command("schemas", "pipeline.schema_command", "print, create or upgrade the tables and views"),
    Command("receive", "receiver.__main__", "take calls from Segment's webhooks and SDKs over HTTP", True),
)
"""In the order of the help."""


def main(argv: Sequence[str] | None = None) -> int:
    """Starts the program that the first argument names, and returns its exit status: 2, with one line, where there is
    no such program, and 130 where it was interrupted before it could say so itself."""
    words = sys.argv[1:] if argv is None else list(argv)
    command = next((command for command in COMMANDS if words and command.word == words[0]), None)
    if command is not None:
        return _start(command, words[1:])
    if words and words[0].startswith("-") and words[0] not in (*_HELP, *_VERSION):
        return _start(COMMANDS[0], words)
    return command_line.run(PROGRAM, lambda: _answer(words))


def _start(command: Command, words: Sequence[str]) -> int:
    try:
        program: Any = importlib.import_module(command.module)
        name = [] if command.has_own_name else [f"{PROGRAM} {command.word}"]
        status: int = program.main(words, *name)
    except KeyboardInterrupt:  # while it is loaded
        return INTERRUPTED_STATUS
    return status


def _answer(words: Sequence[str]) -> int:
    """Prints what is asked of the command itself. Raises UsageError where the first word is none of its own."""
    if not words:
        print_error(_overview())
        return USAGE_STATUS
    if words[0] in _VERSION:
        print(_version())
    elif words[0] == "help" and len(words) > 1:
        return _help(words[1])
    elif words[0] in _HELP:
        print(_overview())
    else:
        raise _unknown(words[0])
    return 0


def _help(word: str) -> int:
    for command in COMMANDS:
        if command.word == word:
            return _start(command, ["--help"])
    raise _unknown(word)


def _overview() -> str:
    rows = [(command.word, command.purpose) for command in COMMANDS]
    return "\n".join(
        [
            f"usage: {PROGRAM} COMMAND [option ...]",
            "",
            "Turns Segment calls into warehouse tables: events, contacts and accounts.",
            "",
            *_columns(rows),
            "",
            *_columns([("--help", "show this; COMMAND --help shows the options of a command"), _VERSION_ROW]),
            "",
            f"{PROGRAM} --input=... is short for {PROGRAM} run --input=...",
            "Exit status: 0 done, or a job without end stopped by Ctrl-C or SIGTERM; 1 data",
            "that are wrong; 2 a usage error, in one line; 130 ended at once by Ctrl-C.",
        ]
    )


_VERSION_ROW: Final = ("--version", "show the version")


def _columns(rows: Iterable[tuple[str, str]]) -> list[str]:
    return [f"  {word:{_FIRST_COLUMN}}{purpose}" for word, purpose in rows]


def _version() -> str:
    """The version of the installed package. Raises UsageError where it is not installed."""
    from importlib import metadata  # only the version needs it

    try:
        return f"{PROGRAM} {metadata.version(_DISTRIBUTION)}"
    except metadata.PackageNotFoundError:
        raise UsageError("has no version: it is not installed", "pip install .", option="--version") from None


def _unknown(word: str) -> UsageError:
    known = [command.word for command in COMMANDS]
    close = difflib.get_close_matches(word.lower(), known, n=1)
    if close:
        remedy = f"did you mean {close[0]}?"
    elif "." in word or "/" in word:
        remedy = f"files are given as {PROGRAM} run --input='GLOB', in quotes"
    else:
        remedy = f"choose from {', '.join(known)}"
    return UsageError("is not a command", remedy, value=word)


if __name__ == "__main__":
    sys.exit(main())
