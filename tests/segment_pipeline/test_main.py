"""The command `segment-pipeline`: which program each word starts, and what it answers itself."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from types import ModuleType

import pytest

import pipeline.__main__
from segment_pipeline import __main__ as command
from segment_pipeline.__main__ import COMMANDS, Command, main

ROOT = Path(__file__).parents[2]
by_word = pytest.mark.parametrize("each", COMMANDS, ids=[each.word for each in COMMANDS])


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """What was started: the module, and what its `main` was given."""
    calls: list[tuple[str, ...]] = []

    class Program(ModuleType):
        def main(self, words: Sequence[str], *program: str) -> int:
            calls.append((self.__name__, *words, *program))
            return 3

    monkeypatch.setattr(importlib, "import_module", Program)
    return calls


@by_word
def test_a_word_starts_its_program_with_what_follows(each: Command, started: list[tuple[str, ...]]) -> None:
    assert main([each.word, "--a=1", "b"]) == 3, "its exit status is the command's"
    name = () if each.has_own_name else (f"segment-pipeline {each.word}",)
    assert started == [(each.module, "--a=1", "b", *name)]


def test_options_alone_are_the_jobs(started: list[tuple[str, ...]]) -> None:
    assert main(["--input=calls.jsonl", "--warehouse=duckdb:///w.duckdb"]) == 3
    assert started == [("pipeline.__main__", "--input=calls.jsonl", "--warehouse=duckdb:///w.duckdb")]


def test_help_of_a_word_is_that_of_its_program(started: list[tuple[str, ...]]) -> None:
    assert main(["help", "audit"]) == 3
    assert started == [("pipeline.audit", "--help", "segment-pipeline audit")]


@by_word
def test_every_program_helps_under_the_name_that_was_typed(each: Command, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([each.word, "--help"])
    assert ended.value.code == 0
    name = {"run": "segment-pipeline", "receive": "segment-receiver"}.get(each.word, f"segment-pipeline {each.word}")
    assert capsys.readouterr().out.startswith(f"usage: {name} ")


@pytest.mark.parametrize("word", ["--help", "-h", "help"])
def test_help_lists_each_command_on_a_line_of_a_terminal(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([word]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    for each in COMMANDS:
        assert sum(line.startswith(f"  {each.word} ") for line in lines) == 1


def test_nothing_at_all_is_a_usage_error_that_shows_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    out, err = capsys.readouterr()
    assert (out, err.splitlines()[0]) == ("", "usage: segment-pipeline COMMAND [option ...]")


@pytest.mark.parametrize("word", ["--version", "version"])
def test_the_version_is_that_of_the_package(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([word]) == 0
    assert capsys.readouterr().out == f"segment-pipeline {metadata.version('segment-bigquery')}\n"


def test_without_a_package_there_is_no_version(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "_DISTRIBUTION", "segment-bigquery-that-nobody-installed")
    assert main(["--version"]) == 2
    assert (
        capsys.readouterr().err == "segment-pipeline: --version: has no version: it is not installed; pip install .\n"
    )


@pytest.mark.parametrize(
    ("word", "line"),
    [
        ("aduit", "aduit: is not a command; did you mean audit?"),
        ("Explain", "Explain: is not a command; did you mean explain?"),
        ("schema", "schema: is not a command; did you mean schemas?"),
        (
            "calls.jsonl",
            "calls.jsonl: is not a command; files are given as segment-pipeline run --input='GLOB', in quotes",
        ),
        (
            "frobnicate",
            "frobnicate: is not a command; choose from run, check, audit, explain, purge, report, schemas, receive",
        ),
        ("a\nb", r"'a\nb': is not a command; choose from run, "),
    ],
)
def test_an_unknown_word_is_one_line(word: str, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    for words in ([word, "--help"], ["help", word]):
        assert main(words) == 2
        out, err = capsys.readouterr()
        assert (out, err.count("\n")) == ("", 1)
        assert err.startswith(f"segment-pipeline: {line}")


def test_an_interrupt_while_a_program_is_loaded_shows_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(name: str) -> ModuleType:
        raise KeyboardInterrupt

    monkeypatch.setattr(importlib, "import_module", interrupted)
    assert main(["run"]) == 130


def test_the_console_script_is_the_command() -> None:
    entry = re.search(r'"segment-pipeline = ([\w.]+):(\w+)"', (ROOT / "setup.py").read_text())
    assert entry
    assert getattr(importlib.import_module(entry[1]), entry[2]) is main


def test_the_job_is_started_as_before(capsys: pytest.CaptureFixture[str]) -> None:
    for start in (main, pipeline.__main__.main):
        assert start(["--history=all"]) == 2
        assert capsys.readouterr().err == "segment-pipeline: --history=all: is unknown; choose from warehouse, none\n"
    assert sys.modules["pipeline.__main__"].main is pipeline.__main__.main


def test_the_help_and_the_documents_say_alike_what_stopping_by_hand_means(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["run", "--help"])
    for text in (capsys.readouterr().out, (ROOT / "docs" / "commands.md").read_text("utf-8")):
        words = " ".join(text.replace("`", "").split())
        assert "a job without end" in words
        assert "Ctrl-C ended it at once: the first one ends a job on files, the second one a job without end" in words
