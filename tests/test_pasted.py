"""Every command in every document can be pasted into bash and zsh, as it is printed, from the repository's root.

Each document's blocks are typed, in their order, into an interactive shell of either kind. Programs record their
arguments and do nothing, but for those that need this machine alone: they run. What was recorded is read by the
programs' own parsers; `tests/templates/test_documents.py` has the Cloud SDK's.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import importlib
import io
import os
import re
import shutil
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, NoReturn

import pytest

from pipeline import options
from pipeline.command_line import CommandParser
from pipeline.errors import UsageError

ROOT = Path(__file__).parents[1]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").glob("*.md")),
    ROOT / "examples/README.md",
]
SHELLS = {"bash": ("bash", "--noprofile", "--norc", "-i"), "zsh": ("zsh", "-f", "-i")}
"""Interactive, as where one pastes: zsh knows no comments there, and bash expands an exclamation mark."""
RECORDED = (
    "gcloud",
    "bq",
    "curl",
    "make",
    "sudo",
    "git",
    "python3",
    "duckdb",
    "templates/setup.sh",
    "templates/first_hour.sh",
)
PYTHON = ".venv/bin/python"
THE_END = "the-end-of-the-block"
TAKEN_NAMES = {"HOME", "PATH", "SHELL", "USER", "argv", "options", "path", "pipestatus", "prompt", "status"}
"""Variables that a shell has for itself, of which a command must set none."""

_COMMAND = re.compile(r"(?:\w+=\S* |\\\n\s*)*(?:\.venv/bin/python|make|sudo|gcloud|bq|curl|templates/\w+\.sh) ")
"""How a block begins that is a command which goes on, or takes root: those are fenced as text."""
_BLOCK = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)

_STUB = r"""#!/bin/sh
exec </dev/null
{ printf '%s\037' @NAME@ "$@"; printf '\036\n'; } >> "$RECORD"
case "$*" in *--format=value*|describe*) echo 4711;; esac
"""
_PYTHON_STUB = (
    _STUB
    + r"""
case "$RUNS $*" in
no*|*bigquery*|*subscription*|*--topic*|*receiver*|*input_directory*|*calls*|*mine*) exit 0;;
*examples.*|*benchmarks*|*tests.*|*' pip '*|*' uv '*) exit 0;;
*templates.cost*|*' pipeline --input=examples'*|*--redeliver*) exit 0;; # run by tests of their own
esac
@PYTHON@ "$@" >/dev/null 2>"$RECORD.errors" || echo "failed: $*: $(cat "$RECORD.errors")" >&2
"""
)

by_page = pytest.mark.parametrize("page", PAGES, ids=[path.name for path in PAGES])


def zsh() -> None:
    """Skips the test where there is no zsh; in CI that is a failure."""
    if shutil.which("zsh") is None:
        missing = "there is no zsh: on Debian, apt-get install zsh"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(missing)


def blocks(page: Path, *, consoles: bool = True) -> list[str]:
    """What a reader of a document would paste: each block of commands, and each command of a console."""
    found = []
    for _, language, text in _BLOCK.findall(page.read_text("utf-8")):
        block = textwrap.dedent(text)
        if language == "console" and consoles:
            found += [f"{line.removeprefix('$ ')}\n" for line in block.splitlines() if line.startswith("$ ")]
        elif language in ("sh", "bash") or (language == "text" and _COMMAND.match(block)):
            found.append(block)
    return found


class Pasted(NamedTuple):
    """What a shell did with the blocks of a document: what each program was given, and what the shell complained of."""

    commands: list[list[str]]
    complaints: list[str]


@contextlib.contextmanager
def place(*, warehouse: Path | None = None) -> Iterator[Path]:
    """A folder like the repository's root, whose programs record what they are given."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for program in (*RECORDED, PYTHON, THE_END):
            path = folder / program if "/" in program else folder / "bin" / program
            path.parent.mkdir(parents=True, exist_ok=True)
            stub = _PYTHON_STUB if program == PYTHON else _STUB
            path.write_text(stub.replace("@NAME@", program).replace("@PYTHON@", sys.executable), "utf-8")
            path.chmod(0o755)
        (folder / "examples").symlink_to(ROOT / "examples")
        shutil.copy(ROOT / "examples/connections.yaml", folder / "connections.yaml")
        for file in re.findall(r"`(\w+\.jsonl)`:\n\n```json\n", (ROOT / "docs/identity.md").read_text("utf-8")):
            (folder / file).touch()
        if warehouse is not None:
            for copy in ("warehouse.duckdb", "copy.duckdb"):  # the second as a running job keeps it
                shutil.copy(warehouse, folder / copy)
        yield folder


def pasted(page: Path, shell: str, warehouse: Path | None = None) -> Pasted:
    """Types the blocks of a document into a shell. With a warehouse, the commands run that need nothing else, but for
    those of consoles, which `tests/test_readme.py` runs."""
    with place(warehouse=warehouse) as folder:
        record = folder / "record"
        record.touch()
        done = subprocess.run(
            SHELLS[shell],
            input="".join(f"{block}\n{THE_END}\n" for block in blocks(page, consoles=warehouse is None)),
            cwd=folder,
            env={
                "PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}",
                "HOME": str(folder),
                "PYTHONPATH": str(ROOT),
                "RECORD": str(record),
                "RUNS": "no" if warehouse is None else "yes",
                "TERM": "dumb",
                "PS1": "",
                "PS2": "",
            },
            capture_output=True,
            text=True,
            timeout=240,
        )
        commands = [line.split("\x1f")[:-1] for line in record.read_text("utf-8").split("\x1e\n")[:-1]]
    complained = re.compile(rf"^.*(?:\b{shell}: |failed: ).*$", re.MULTILINE)
    usual = ("job control", "terminal process group", "tcsetattr")
    complaints = [line for line in complained.findall(done.stderr) if not any(words in line for words in usual)]
    return Pasted(commands, complaints)


@functools.cache
def recorded(page: Path) -> list[list[str]]:
    return pasted(page, "bash").commands


@by_page
def test_both_shells_read_a_command_alike(page: Path) -> None:
    zsh()
    first, second = pasted(page, "bash"), pasted(page, "zsh")
    assert (first.complaints, second.complaints) == ([], [])
    assert first.commands == second.commands
    ends = [command for command in first.commands if command == [THE_END]]
    assert len(ends) == len(blocks(page))


@by_page
def test_no_command_sets_a_variable_of_the_shells_own(page: Path) -> None:
    script = "\n".join(blocks(page))
    assert set(re.findall(r"^(?:export )?(\w+)=|\bfor (\w+) in", script, re.MULTILINE)) & TAKEN_NAMES == set()
    assert not TAKEN_NAMES & set(re.findall(r"(?<![\w-])(\w+)=", re.sub(r"--\S+", "", script)))


# ---- what the programs take ----


class _Taken(BaseException):
    """A parser has taken the arguments."""


def problem(module: str, arguments: Sequence[str]) -> str:
    """What a program says against its arguments, which it does not act on; nothing where it takes them."""
    errors = io.StringIO()
    with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(errors), pytest.MonkeyPatch.context() as patch:
        try:
            if module == "pipeline":
                options.parse(arguments)
                return ""
            for parser in (argparse.ArgumentParser, CommandParser):
                patch.setattr(parser, "parse_args", _parsed_only(parser.parse_args))
            try:
                program = importlib.import_module(f"{module}.__main__")
            except ModuleNotFoundError:
                program = importlib.import_module(module)
            program.main(list(arguments))
        except _Taken:
            return ""
        except UsageError as error:
            return str(error)
        except SystemExit as end:
            if not end.code:  # it was asked for its help
                return ""
    return errors.getvalue() or "it takes no arguments by a parser"


def _parsed_only(parse_args: Callable[..., object]) -> Callable[..., NoReturn]:
    """A parser's method, which goes no further than its arguments."""

    def parse(self: argparse.ArgumentParser, *arguments: Sequence[str]) -> NoReturn:
        parse_args(self, *arguments)
        raise _Taken

    return parse


WITHOUT_PARSER = {"pip", "uv", "venv"}
WRONG = {"--inputs=examples/events.jsonl"}
"""What a document shows of a mistake."""


@by_page
def test_our_programs_take_their_arguments(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with place() as folder:
        monkeypatch.chdir(folder)
        (folder / "inbox").mkdir()
        (folder / "calls").mkdir()
        shutil.copy(ROOT / "examples/events.jsonl", folder / "calls/some.jsonl.gz")
        given = [command[2:] for command in recorded(page) if command[:2] == [PYTHON, "-m"]]
        problems = {
            " ".join(command): problem(command[0], command[1:])
            for command in given
            if command[0] not in WITHOUT_PARSER and not WRONG & {*command}
        }
    assert {command: found for command, found in problems.items() if found} == {}


@by_page
def test_make_knows_the_targets_and_needs_no_more(page: Path) -> None:
    for command in recorded(page):
        if command[0] == "make":
            done = subprocess.run(
                ["make", "-s", "-n", *command[1:]], cwd=ROOT, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, done.stderr


def test_what_needs_this_machine_alone_runs(tmp_path: Path) -> None:
    """In zsh; that bash reads the same is shown above."""
    zsh()
    warehouse = tmp_path / "warehouse.duckdb"
    arguments = ["--input=examples/events.jsonl", "--connections=examples/connections.yaml"]
    made = [sys.executable, "-m", "pipeline", *arguments, f"--warehouse=duckdb:///{warehouse}"]
    subprocess.run(made, cwd=ROOT, capture_output=True, check=True)
    complaints = []
    for page in PAGES:
        if page.name != "identity.md":  # run by tests/test_identity_doc.py
            complaints += pasted(page, "zsh", warehouse).complaints
    assert complaints == []


def test_a_comment_and_a_variable_of_several_words_are_found(tmp_path: Path) -> None:
    zsh()
    page = tmp_path / "page.md"
    for block in ("make run   # it's a comment\n", 'WORDS="a b"\nmake $WORDS\n', "make gs://bucket/*.gz\n"):
        page.write_text(f"```sh\n{block}```\n", "utf-8")
        first, second = pasted(page, "bash"), pasted(page, "zsh")
        assert second.complaints or first.commands != second.commands, block
