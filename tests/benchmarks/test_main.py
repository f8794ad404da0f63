"""`make bench`: every part is run, and the table has the goals."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest

from benchmarks import (
    bigquery_sink,
    heavy_windows,
    identity,
    many_ids,
    message_path,
    receiver,
    scale,
    startup,
    whole_job,
)
from benchmarks.__main__ import main
from benchmarks.results import Figure, table

PRINTED = ("identity", "sink", "scale", "receiver", "job")


def figure(name: str, *values: float, higher_is_better: bool = False) -> Figure:
    by_shape = {f"shape {number}": value for number, value in enumerate(values)}
    return Figure(name=name, unit="times", by_shape=by_shape, goal=2.0, higher_is_better=higher_is_better)


@pytest.mark.parametrize(
    ("measured", "row"),
    [
        (figure("cost", 1, 3, 2), "| cost | 3.00 times | shape 1 | 2.00 | ≤ 2 (not reached) |"),
        (figure("cost", 1, 2), "| cost | 2.00 times | shape 1 | 1.50 | ≤ 2 |"),
        (figure("rate", 3, 2, 4, higher_is_better=True), "| rate | 2.00 times | shape 1 | 3.00 | ≥ 2 |"),
        (figure("rate", 1, 4, higher_is_better=True), "| rate | 1.00 times | shape 0 | 2.50 | ≥ 2 (not reached) |"),
    ],
)
def test_the_worst_shape_must_reach_the_goal(measured: Figure, row: str) -> None:
    assert table([measured]).splitlines()[-1] == row


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every part gives a figure, or prints its name, at once."""
    monkeypatch.setattr(message_path, "figures", lambda own: [figure("bytes", 1)])
    monkeypatch.setattr(whole_job, "figures", lambda own: [figure("rates", 1)])
    monkeypatch.setattr(whole_job, "memory", lambda: figure("memory", 1))
    monkeypatch.setattr(startup, "figure", lambda: figure("start", 1))
    monkeypatch.setattr(heavy_windows, "figure", lambda: figure("time", 1))
    monkeypatch.setattr(many_ids, "figures", lambda: [figure("people", 1)])
    monkeypatch.setattr(identity, "brief", lambda: print("identity"))
    monkeypatch.setattr(bigquery_sink, "main", lambda: print("sink"))
    monkeypatch.setattr(scale, "main", lambda argv: print("scale"))
    monkeypatch.setattr(receiver, "main", lambda argv: print("job" if argv == ["job"] else "receiver"))


@pytest.mark.usefixtures("parts")
@pytest.mark.parametrize("has_wrk", [True, False])
def test_every_part_is_printed(
    has_wrk: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: "/usr/bin/wrk" if has_wrk else None)
    monkeypatch.setattr(sys, "argv", ["benchmarks", f"--output={tmp_path}"])
    main()
    printed = capsys.readouterr().out.splitlines()
    assert [name for name in PRINTED if name in printed] == list(PRINTED if has_wrk else PRINTED[:3])
    assert any("wrk is missing" in line for line in printed) != has_wrk
    document = json.loads((tmp_path / "results.json").read_text("utf-8"))
    assert [each["name"] for each in document["figures"]] == ["bytes", "rates", "memory", "start", "time", "people"]


@pytest.mark.usefixtures("parts")
def test_of_a_file_only_what_has_shapes_is_measured(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    own = tmp_path / "own.jsonl"
    own.write_bytes(b"{}\n")
    monkeypatch.setattr(sys, "argv", ["benchmarks", f"--input={own}", f"--output={tmp_path}"])
    main()
    assert not set(PRINTED) & set(capsys.readouterr().out.splitlines())
    document = json.loads((tmp_path / "results.json").read_text("utf-8"))
    assert [each["name"] for each in document["figures"]] == ["bytes", "rates"]
