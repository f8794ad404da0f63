"""`python -m pipeline.check`: says what would become of the first of an input, and writes nothing."""

from __future__ import annotations

import argparse
import itertools
import os
import sys
import time
from collections.abc import Collection, Sequence
from typing import Any, Final

from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import PipelineOptions
from rich.console import Console

from pipeline import commands, findings_text, remote_files
from pipeline.command_line import CommandParser
from pipeline.errors import UsageError, choice, reason, shortened
from pipeline.findings import Findings
from pipeline.job_kind import JobKind
from pipeline.plurals import counted
from pipeline.sources import Source, SourceKind
from pipeline.sources.preview import KINDS, Preview
from schemas.tables import Timestamp
from transforms.core.connections import Connections

_MESSAGES: Final = 10_000
_NOT_READ_STATUS: Final = 1
_EMPTY: Final = "! There is nothing to read: no line, or only empty ones"
_NO_FILE: Final = "! There is no complete file: its name ends with .jsonl or .jsonl.gz"


def main(argv: Sequence[str] | None = None, program: str = "") -> int:
    """Checks an input. Returns 0, or 1 where nothing of it can be read, or 2 for a usage error."""
    inputs = " | ".join(kind.usage for kind in KINDS)
    parser = CommandParser(
        prog=program or "python -m pipeline.check",
        usage=f"%(prog)s ({inputs}) [option ...]",
        description="Reads the first messages of an input by the rules of the job, and says what would become of them: "
        "calls by type, people, accounts, connections, what would be refused and why, and what looks like a mistake. "
        "It writes nothing, and leaves every file where it is. Exits with 1 where nothing of it can be read.",
    )
    group = parser.add_argument_group("input, one of them required")
    for kind in KINDS:
        kind.add_option(group)
    parser.add_argument("--connections", metavar="FILE", help="The connections file, as the job takes it.")
    parser.add_argument("--connection", metavar="NAME", help="Everything belongs to that connection.")
    parser.add_argument(
        "--messages",
        type=commands.count,
        default=_MESSAGES,
        metavar="NUMBER",
        help=f"How many messages are read at most. Default: {_MESSAGES}.",
    )
    return commands.run(parser, _check, argv, program)


def _check(options: argparse.Namespace) -> int:
    if not options.messages:
        raise UsageError("reads nothing", "give a number from 1", option="--messages", value="0")
    kind, value = _input(options)
    kind.check(value)
    FileSystems.set_options(PipelineOptions([]))
    connections = commands.connections_of(options)
    names = [connection.name for connection in connections.connections]
    if options.connection is not None and options.connection not in names:
        remedy = choice(options.connection, names)
        raise UsageError("no such connection", remedy, option="--connection", value=options.connection)
    source = kind.source(value, JobKind.BATCH if kind.bounded else JobKind.STREAMING, names)
    source.check()
    return _report(source, connections, options)


def _input(options: argparse.Namespace) -> tuple[SourceKind, Any]:
    """The one input that is given. Raises UsageError."""
    given = [(kind, value) for kind in KINDS if (value := getattr(options, kind.option)) is not None]
    if len(given) != 1:
        names = " and ".join(f"--{kind.option}" for kind in KINDS)
        raise UsageError(f"one of {names} is required", "for example --input='calls/*.jsonl'")
    return given[0]


def _report(source: Source, connections: Connections, options: argparse.Namespace) -> int:
    findings = Findings(connections, options.connection, Timestamp(time.time_ns() // 1000))
    preview = Preview(source)
    messages = preview.messages()
    try:
        for path, line, received in itertools.islice(messages, options.messages):
            findings.add(f"{path.rpartition('/')[2]}, line {line}", received)
        is_whole = next(messages, None) is None
    except remote_files.unreadable() as error:
        problem = f"cannot be read: {reason(error)}"
        raise UsageError(problem, "give files that you may read", value=preview.files[-1]) from None
    console = Console()
    commands.say(console, _title(findings.messages, preview.files, is_whole=is_whole), "bold")
    for problem in preview.problems:
        commands.say(console, f"! Read in part only: {problem}", "yellow")
    if not findings.messages and not preview.problems:
        commands.say(console, _EMPTY if preview.files else _NO_FILE, "yellow")
    if findings.messages:
        console.print()
        for text in findings_text.lines(findings):
            commands.say(console, text)
    refused = findings.outcomes["dead_letter"]
    if 2 * refused > findings.calls and (mistake := source.likely_mistake()):
        commands.say(console, f"Is this one JSON object a line? {mistake}", "bold red")
    is_read = refused < findings.calls if findings.calls else not preview.problems
    return 0 if is_read else _NOT_READ_STATUS


def _title(messages: int, files: Collection[str], *, is_whole: bool) -> str:
    """What was looked at: all that is there now, or how much of it."""
    name = shortened(next(iter(files))) if len(files) == 1 else counted(len(files), "file")
    name = name.removeprefix(f"{os.getcwd()}/")
    if is_whole:
        return f"All of {name}: {counted(messages, 'message')}. Nothing was written."
    return f"The first {counted(messages, 'message')} of {name}. Nothing was written."


if __name__ == "__main__":
    sys.exit(main())
