"""The version of the rules is raised whenever the same messages give other rows.

`python -m tests.transforms.test_rules_version --update` pins the rows of today with the version, which must be raised
first. What is pinned is a digest of each table, of the messages of recorded jobs, which never change.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypedDict

import msgspec
import pytest

from tests.transforms.running_job import RunningJob, recorded
from transforms.coders import VERSION
from transforms.core import account_rows, contacts
from transforms.core.identity import chains, contact
from transforms.core.rules_version import RULES_VERSION

PINNED = Path(__file__).with_name("rules_version.json")
JOBS = 24
"""The first recorded jobs: more may be recorded, which are no change of the rules."""
TABLES = ("contacts", "accounts", "identities", "memberships")

RAISE = "raise RULES_VERSION in transforms/core/rules_version.py, which says why"
UPDATE = "run: python -m tests.transforms.test_rules_version --update"


class Rules(TypedDict):
    """A version of the rules, and the digest of the rows that they give, by table."""

    rules_version: int
    rows: dict[str, str]


def rules() -> Rules:
    """The rules of today."""
    lines: dict[str, list[str]] = {table: [] for table in TABLES}
    for number, job in enumerate(list(recorded(VERSION))[:JOBS]):
        running = RunningJob()
        running.window([*job.before, *job.after], job.config)
        for table in TABLES:
            lines[table] += [json.dumps([number, *item]) for item in sorted(running.table(table).items())]
    rows = {table: hashlib.sha256("\n".join(lines[table]).encode()).hexdigest() for table in TABLES}
    return Rules(rules_version=RULES_VERSION, rows=rows)


def forgotten(pinned: Rules, today: Rules) -> str | None:
    """What is still to be done before today's rules are released, in one line; None if nothing is."""
    changed = [table for table in TABLES if pinned["rows"].get(table) != today["rows"][table]]
    if changed and today["rules_version"] <= pinned["rules_version"]:
        return f"the same messages give other rows of {', '.join(changed)}: {RAISE}; then {UPDATE}"
    if today["rules_version"] != pinned["rules_version"]:
        return f"the rules have version {today['rules_version']}, and {pinned['rules_version']} is pinned: {UPDATE}"
    return None


def test_the_version_is_raised_when_rows_change() -> None:
    problem = forgotten(json.loads(PINNED.read_text("utf-8")), rules())
    assert problem is None, problem


def _other_name(original: Callable[..., Any]) -> Callable[..., Any]:
    def rows(external_id: str, members: Any) -> Any:
        given = original(external_id, members)
        if given.contact is None:
            return given
        other = msgspec.structs.replace(given.contact, name="other")
        return msgspec.structs.replace(given, fold=lambda: other)

    return rows


CHANGES: list[tuple[object, str, Callable[[Any], Any], str]] = [
    (contacts, "rows", _other_name, "contacts"),
    (account_rows, "_domain", lambda _: lambda _: "other.example", "accounts"),
    (chains, "resolve", lambda _: lambda edges: {edge.user: edge.user for edge in edges}, "contacts, identities"),
    (contact, "Identity", lambda row: lambda id, label: row(id, label + "!"), "identities"),
]


@pytest.mark.parametrize(("module", "name", "change", "table"), CHANGES, ids=[case[1] for case in CHANGES])
def test_a_change_of_a_rule_is_noticed(
    module: object, name: str, change: Callable[[Any], Any], table: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, name, change(getattr(module, name)))
    problem = forgotten(json.loads(PINNED.read_text("utf-8")), rules())
    assert problem is not None
    assert problem.startswith(f"the same messages give other rows of {table}")
    assert RAISE in problem


ROWS = dict.fromkeys(TABLES, "0")


@pytest.mark.parametrize(
    ("what", "pinned", "today", "problem"),
    [
        ("nothing changed", Rules(rules_version=1, rows=ROWS), Rules(rules_version=1, rows=ROWS), None),
        ("raised, and not pinned", Rules(rules_version=1, rows=ROWS), Rules(rules_version=2, rows=ROWS), UPDATE),
        (
            "other rows under a raised version",
            Rules(rules_version=1, rows=ROWS),
            Rules(rules_version=2, rows={**ROWS, "accounts": "1"}),
            UPDATE,
        ),
        (
            "other rows under the same version",
            Rules(rules_version=1, rows=ROWS),
            Rules(rules_version=1, rows={**ROWS, "accounts": "1"}),
            RAISE,
        ),
    ],
)
def test_what_is_still_to_be_done(what: str, pinned: Rules, today: Rules, problem: str | None) -> None:
    answer = forgotten(pinned, today)
    assert (answer is None) if problem is None else (answer is not None and problem in answer), what


def update() -> int:
    """Pins the rules of today, unless the version must be raised first."""
    today = rules()
    if PINNED.exists():
        problem = forgotten(json.loads(PINNED.read_text("utf-8")), today)
        if problem is not None and RAISE in problem:
            print(problem, file=sys.stderr)
            return 1
    PINNED.write_text(json.dumps(today, indent=2) + "\n", "utf-8")
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.transforms.test_rules_version")
    parser.add_argument("--update", action="store_true", required=True, help="pin the rows of today with the version")
    parser.parse_args()
    sys.exit(update())
