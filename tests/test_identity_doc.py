"""docs/identity.md against the program: its picture, its examples, and its commands with what they print.

Its queries are run by `tests/test_readme.py`, as those of every document. `python -m tests.test_identity_doc --update`
writes into it what its commands print now.
"""

from __future__ import annotations

import contextlib
import io
import re
import shlex
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from judge import replay, resolve
from pipeline import __main__ as job
from pipeline import audit, explain
from tests.transforms.core.calls import ALIAS, accepted
from transforms.core.connections import DEFAULT

DOCUMENT = Path(__file__).parents[1] / "docs" / "identity.md"
TEXT = DOCUMENT.read_text("utf-8")
COMMANDS = {"pipeline": job.main, "pipeline.explain": explain.main, "pipeline.audit": audit.main}

_LINES = r"((?:(?!```).*\n)*)"
_BLOCK = re.compile(rf"^```(sh|console)\n(?:\$ )?(.*)\n{_LINES}```\n", re.MULTILINE)
"""(language, command, the lines that it prints: those of `console` are shown)"""
_FILE = re.compile(rf"`(\w+\.jsonl)`:\n\n```json\n{_LINES}```\n")


def run(command: str) -> str:
    """What a command prints in the current folder, run in this process."""
    python, dash_m, module, *arguments = shlex.split(command)
    assert (python, dash_m) == (".venv/bin/python", "-m")
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        assert COMMANDS[module](arguments) == 0
    return output.getvalue()


@contextlib.contextmanager
def folder() -> Iterator[None]:
    """A new current folder, which has the document's files."""
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        for file, content in _FILE.findall(TEXT):
            (Path(name) / file).write_text(content, "utf-8")
        patch.chdir(name)
        yield


def test_the_commands_print_what_is_shown() -> None:
    blocks = _BLOCK.findall(TEXT)
    assert len(blocks) == 7
    with folder():
        for language, command, shown in blocks:
            printed = run(command)
            if language == "console":
                assert printed == shown, "run: python -m tests.test_identity_doc --update"


def test_every_command_is_run() -> None:
    fenced = re.findall(rf"^```(\w*)\n{_LINES}```\n", TEXT, re.MULTILINE)
    assert {language for language, _ in fenced} == {"text", "json", "sh", "console", "sql"}
    shown = [line for language, lines in fenced if language in ("sh", "console") for line in lines.splitlines()]
    assert [line for line in shown if "python -m" in line] == [
        ("$ " if language == "console" else "") + command for language, command, _ in _BLOCK.findall(TEXT)
    ]


# ---- the picture ----

_RECEIVED = re.compile(r"^ \d\d:\d\d  (m\d)  [^│]*│([^│]*)│(.*)$", re.MULTILINE)


def test_the_picture_is_what_the_replay_gives() -> None:
    calls = [call.encode() for _, content in _FILE.findall(TEXT) for call in content.splitlines()]
    pictured = _RECEIVED.findall(TEXT)
    assert len(pictured) == len(calls) == 7
    for count, (message_id, contacts, who) in enumerate(pictured, 1):
        tables = replay(calls[:count])
        rows = {
            " ◄ ".join(filter(None, (label, ", ".join(row["previous_ids"])))) for label, row in tables.contacts.items()
        }
        assert f'"messageId": "{message_id}"' in calls[count - 1].decode()
        assert set(re.split(r"\s{2,}", contacts.strip())) == rows
        assert who.strip() == ("" if count < 2 else tables.identities.get("phone", "phone"))


# ---- the examples ----

_EXAMPLE = re.compile(r"^\| `([\w→, ]+)` \| (.*?) \| ((?:ignored|merged|relabelled)[\w, ]*) \|", re.MULTILINE)
EXAMPLES = _EXAMPLE.findall(TEXT)
Edge = tuple[str, str]


def edges_of(text: str) -> list[Edge]:
    return [(edge[0], edge[-1]) for edge in text.split(", ")]


@pytest.mark.parametrize(("edges", "contacts", "outcomes"), EXAMPLES, ids=[edges for edges, *_ in EXAMPLES])
def test_an_example_is_what_the_rules_give(edges: str, contacts: str, outcomes: str) -> None:
    pairs = edges_of(edges)
    calls = [
        accepted({**ALIAS, "messageId": str(number), "previousId": previous, "userId": user})
        for number, (previous, user) in enumerate(pairs)
    ]
    labels = resolve([((0, str(number)), *pair) for number, pair in enumerate(pairs)])
    told: dict[str, str] = {}
    for label, *others in (re.findall("`(.)`", contact) for contact in contacts.split(";")):
        told |= dict.fromkeys((label, *others), label)
    assert told == labels
    steps = {}
    for id, label in labels.items():
        explanation = explain.explain(id, calls, DEFAULT)
        assert explanation is not None
        assert explanation.label == label
        steps.update({step.edge.stamp: step.outcome.value for step in explanation.steps})
    assert ", ".join(steps[stamp] for stamp in sorted(steps)) == outcomes


def test_every_example_of_the_contract_is_worked_through() -> None:
    contract = (DOCUMENT.parent / "semantics.md").read_text("utf-8").partition("## 3. ")[2].partition("## 4. ")[0]
    examples = set(re.findall(r"`((?:\w→\w(?:, )?)+)`", contract))
    assert len(examples) > 5
    assert examples <= {edges for edges, *_ in EXAMPLES}


def update() -> None:
    """Writes what the commands print now into the document."""

    def printed(found: re.Match[str]) -> str:
        output = run(found[2])
        return f"```console\n$ {found[2]}\n{output}```\n" if found[1] == "console" else found[0]

    with folder():
        text = _BLOCK.sub(printed, TEXT)
    DOCUMENT.write_text(text, "utf-8")


if __name__ == "__main__":
    if sys.argv[1:] != ["--update"]:
        sys.exit("usage: python -m tests.test_identity_doc --update")
    update()
