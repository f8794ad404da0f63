"""Floors do what they are said to do: all of a call's fields are in the columns, and nothing of ours is in between."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from benchmarks import floors
from benchmarks.floors import columns
from benchmarks.results import Figure
from tests.histories import line
from tests.transforms.core.calls import IDENTIFY, PAGE, TRACK

CALLS = [
    line({**PAGE, "messageId": "0"}).replace(b'"messageId"', b'"context":{"groupId":"g"},"messageId"'),
    *(line({**call, "messageId": id}) for call, id in ((TRACK, "1"), (IDENTIFY, "2"))),
]
NO_CALLS = [b"{", b'{"messageId":1}', b'{"messageId":"x","context":[]}', b"[]", b'{"messageId":"\xff"}']


def test_columns_have_every_call_that_can_be_read() -> None:
    read = columns([*NO_CALLS, *CALLS])
    assert read["messageId"].to_pylist() == ["0", "1", "2"]
    assert read["context"].to_pylist() == ['{"groupId":"g"}', "null", "null"]
    assert columns(NO_CALLS).num_rows == 0


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("2026-03-01T00:00:01.000Z", 1_772_323_201), ("yesterday", None), ("2026-02-31T00:00:00.000Z", None)],
)
def test_times_are_read_as_times(text: str, seconds: int | None) -> None:
    (moment,) = columns([line({"timestamp": text})])["timestamp"].to_pylist()
    assert (moment and moment.timestamp()) == seconds


def test_what_can_be_read_of_a_file_is_written(tmp_path: Path) -> None:
    source, database = tmp_path / "calls.jsonl", tmp_path / "calls.duckdb"
    source.write_bytes(b"\n".join([*CALLS, *NO_CALLS[:3], CALLS[0]]))
    floors.main([f"--write={database}", f"--input={source}"])
    with duckdb.connect(str(database), read_only=True) as connection:
        assert connection.sql("SELECT messageId FROM calls ORDER BY ALL").fetchall() == [("0",), ("0",), ("1",), ("2",)]


def test_a_start_makes_a_file_with_the_tables(tmp_path: Path) -> None:
    database = tmp_path / "w.duckdb"
    floors.main([f"--start={database}"])
    with duckdb.connect(str(database), read_only=True) as connection:
        assert connection.sql("SELECT count(*) FROM events").fetchall() == [(0,)]


def test_the_table_says_which_goal_the_floor_misses(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    small = Figure(name="bytes", unit="times", by_shape={"small": 3.1, "large": 1.1, "middle": 1.2}, goal=1.3)
    rate = Figure(name="rate", unit="times", by_shape={"small": 2.0, "large": 1.5}, goal=1.0, higher_is_better=True)
    monkeypatch.setattr(floors, "of_messages", lambda own: iter([small]))
    monkeypatch.setattr(floors, "of_whole_jobs", lambda own: iter(()))
    monkeypatch.setattr(floors, "of_start", lambda: rate)
    floors.main([])
    assert capsys.readouterr().out.splitlines() == [
        "| figure | floor | on | median | goal |",
        "| --- | ---: | --- | ---: | ---: |",
        "| bytes | 3.10 times | small | 1.20 | ≤ 1.3 (the floor misses it) |",
        "| rate | 1.50 times | large | 1.75 | ≥ 1 |",
    ]


def test_a_file_that_is_not_there_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        floors.main(["--input=nowhere.jsonl"])
    assert "--input=nowhere.jsonl: there is no such file" in capsys.readouterr().err
