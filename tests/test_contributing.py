"""The two examples of CONTRIBUTING.md, done as it says on a copy of the repository."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
GUIDE = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
EXAMPLES = GUIDE.partition("## Two examples")[2].partition("\n## ")[0]
pytestmark = pytest.mark.timeout(900)
GENERATED = {"docs/warehouse.md", "docs/glossary.md", "dbt/models/sources.yml"}
PACKAGES = (
    "benchmarks",
    "dbt",
    "docs",
    "examples",
    "judge",
    "pipeline",
    "receiver",
    "schemas",
    "segment_pipeline",
    "templates",
    "tests",
    "transforms",
)


def section(title: str) -> str:
    text = EXAMPLES.partition(f"### {title}\n")[2].partition("\n### ")[0]
    assert text, f"CONTRIBUTING.md has no example {title!r}"
    return text


def copied(folder: Path) -> Path:
    """The repository without its history, its environment and what git ignores."""
    for name in PACKAGES:
        ignored = shutil.ignore_patterns("__pycache__", "data", ".hypothesis", "target", "logs")
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    for path in ROOT.iterdir():
        if path.is_file() and not path.name.endswith((".duckdb", ".wal")):
            shutil.copy(path, folder / path.name)
    return folder


def make_files(text: str, folder: Path) -> set[str]:
    """Makes each new file that the text names before its content, and returns their names."""
    made = dict(re.findall(r"`([\w./]+)`;[^`]*```sql\n(.*?)```", text, re.DOTALL))
    for name, content in made.items():
        assert not (folder / name).exists()
        (folder / name).write_text(content, "utf-8")
    return set(made)


def edit_files(text: str, folder: Path) -> set[str]:
    """Adds the lines of each diff behind the line that stands before them, and returns the names of the files."""
    edited = set()
    for name, diff in re.findall(r"`([\w/]+\.py)`[^`]*```diff\n(.*?)```", text, re.DOTALL):
        before, after = (
            "".join(f"{line[1:]}\n" for line in diff.splitlines() if line[0] in kept) for kept in (" ", " +")
        )
        content = (folder / name).read_text("utf-8")
        assert content.count(before) == 1, f"{name} has not one place of: {before}"
        (folder / name).write_text(content.replace(before, after), "utf-8")
        edited.add(name)
    return edited


def run(folder: Path, *arguments: str) -> str:
    """Runs this Python in the copy; fails with what it prints."""
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # four processes import the same modules
    command = [sys.executable, *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def differing(folder: Path) -> set[str]:
    """The files of the copy that are not as they are here."""
    copies = (path for name in PACKAGES for path in (folder / name).rglob("*") if path.is_file())
    return {
        str(path.relative_to(folder))
        for path in copies
        if not (ROOT / path.relative_to(folder)).exists()
        or path.read_bytes() != (ROOT / path.relative_to(folder)).read_bytes()
    } - {str(path.relative_to(folder)) for path in folder.rglob("*.pyc")}


def updates(text: str) -> Sequence[str]:
    return re.findall(r"`\.venv/bin/python -m ([\w.]+) --update`", text)


REPLAY = "tests/transforms/core/test_against_replay.py"
GOLDEN = "tests/test_golden.py::test_the_tables_are_as_they_were_and_the_replays"
CHECKS = (
    *("tests/test_docs.py", f"{GOLDEN}[group]", f"{GOLDEN}[rubbish]", "tests/pipeline/warehouses/test_ddl.py"),
    *("tests/schemas/test_tables.py", "tests/schemas/test_views.py"),
    "tests/schemas/test_event_views.py::test_every_event_has_a_view",
    *("tests/transforms/core/test_call_rows.py", f"{REPLAY}::test_any_history_equals_the_replay"),
    f"{REPLAY}::test_any_rubbish_equals_the_replay",
    *("tests/transforms/test_coders.py", "tests/transforms/test_state.py", "tests/dbt/test_sources.py"),
)
"""What one of the examples changes, or could break."""
TITLES = ("A view", "A column")


class Done(NamedTuple):
    """An example that was done: the files that were made and changed by hand, and those that its commands changed."""

    by_hand: set[str]
    regenerated: set[str]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copied(tmp_path_factory.mktemp("contributing") / "copy")


@pytest.fixture(scope="module")
def done(folder: Path) -> dict[str, Done]:
    """The examples, one after the other, on one copy."""
    results = {}
    before = differing(folder)
    for title in TITLES:
        text = section(title)
        by_hand = make_files(text, folder) | edit_files(text, folder)
        for module in updates(text):
            run(folder, "-m", module, "--update")
        results[title] = Done(by_hand, differing(folder) - before - by_hand)
    return results


@pytest.mark.parametrize("title", TITLES)
def test_an_example_changes_what_it_says_and_what_is_generated(done: dict[str, Done], title: str) -> None:
    assert updates(section(title))
    assert len(done[title].by_hand) == 2
    earlier = set().union(*(each.by_hand for each in done.values()))
    regenerated = done[title].regenerated - earlier
    assert regenerated
    assert {name for name in regenerated if not name.startswith("tests/golden/")} <= GENERATED


def test_an_example_is_all_that_there_is_to_do(folder: Path, done: dict[str, Done]) -> None:
    run(folder, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *CHECKS)
