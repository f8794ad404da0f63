"""A job that ends after a part has written what came before, and nothing of what comes after."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import duckdb
import pytest

from benchmarks import job_parts
from benchmarks.job_parts import Part, table
from tests.histories import line
from tests.transforms.core.calls import IDENTIFY, PAGE, TRACK

_TABLES: Final = ("events", "identity_calls", "contacts")


@pytest.mark.parametrize(
    ("part", "rows"),
    [
        (Part.READ, [0, 0, 0]),
        (Part.EVENTS, [2, 0, 0]),
        (Part.LOG, [2, 1, 0]),
        (Part.STEPS, [2, 1, 0]),
        (Part.ROWS, [2, 1, 1]),
    ],
    ids=lambda value: value.name if isinstance(value, Part) else "",
)
def test_a_job_ends_after_its_part(part: Part, rows: list[int], tmp_path: Path) -> None:
    source, warehouse = tmp_path / "calls.jsonl", tmp_path / "w.duckdb"
    calls = ({**call, "messageId": str(number)} for number, call in enumerate((PAGE, TRACK, IDENTIFY)))
    source.write_bytes(b"\n".join(map(line, calls)))
    job_parts.main([f"--part={part.name}", f"--input={source}", f"--file={warehouse}"])
    with duckdb.connect(str(warehouse), read_only=True) as connection:
        assert [connection.sql(f"SELECT count(*) FROM {name}").fetchall()[0][0] for name in _TABLES] == rows


def test_what_a_part_takes_is_what_the_job_takes_more_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "calls.jsonl"
    source.write_bytes(b"{}\n" * 1_000_000)
    whole = {"READ": 11.0, "EVENTS": 13.0, "LOG": 16.0, "STEPS": 20.0, "ROWS": 25.0}
    of_one = dict.fromkeys((*whole, "pass_through", "read_json"), 1.0)
    by_lines = {1: of_one, 1_000_000: {**whole, "pass_through": 31.0, "read_json": 15.0}}
    monkeypatch.setattr(job_parts, "_measure", lambda file, _: by_lines[len(file.read_bytes().splitlines())])
    measured = job_parts.microseconds(source)
    assert list(measured.values()) == [10, 2, 3, 4, 5, 24, 30, 14]
    assert table({"mine": measured}).splitlines()[-1] == "| DuckDB's read_json and INSERT OR IGNORE | 14 |"
