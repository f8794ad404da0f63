"""The list of what is not proven: each row names code that exists, and a step of the script, or what else would do."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "unproven.md").read_text("utf-8")
STEPS = set(re.findall(r'^step "(\d+)\. ', (ROOT / "templates" / "first_hour.sh").read_text("utf-8"), re.MULTILINE))
ROWS = [
    [cell.strip() for cell in line.strip("|").split(" | ")]
    for line in PAGE.splitlines()
    if line.startswith("| ") and not line.startswith(("| ---", "| assumption"))
]


def test_there_are_rows() -> None:
    assert len(ROWS) > 50


@pytest.mark.parametrize("row", ROWS, ids=[row[0][:60] for row in ROWS])
def test_a_row_says_who_depends_on_it_what_happens_and_what_settles_it(row: list[str]) -> None:
    assumption, depending, consequence, settled = row
    assert assumption
    assert consequence
    places = re.findall(r"`([^`]+)`", depending)
    assert places
    assert [place for place in places if not (ROOT / place).exists()] == []
    numbers = set(re.findall(r"(?<![\d-])\d+(?!\d)", settled.partition("—")[0].partition(":")[0]))
    assert numbers <= STEPS
    assert numbers or settled.removeprefix("— ")


def test_each_step_but_the_cleaning_settles_something() -> None:
    settled = {number for row in ROWS for number in re.findall(r"\d+", row[3])}
    assert settled >= STEPS
