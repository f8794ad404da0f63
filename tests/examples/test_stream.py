"""`make stream` shows a job that goes on, and says what is missing."""

from __future__ import annotations

import gc
import shutil
from pathlib import Path
from typing import NoReturn

import pytest

from examples import emulator, stream
from pipeline.sources.subscriber import EMULATOR
from tests import prism, pubsub_emulator


def unavailable() -> NoReturn:
    raise AssertionError("a directory needs neither Java nor gcloud")


@pytest.mark.parametrize("options", [[], ["--emulator"]], ids=["directory", "emulator"])
def test_the_tables_grow_until_all_is_written(
    options: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    prism.require()
    if options:
        monkeypatch.setenv(EMULATOR, pubsub_emulator.host())
    else:
        monkeypatch.delenv(EMULATOR, raising=False)
        monkeypatch.setattr(emulator, "started", unavailable)
    monkeypatch.chdir(tmp_path)
    assert stream.main(["--rate=2000", "--alias_window=1", *options]) == 0
    gc.unfreeze()
    out = capsys.readouterr().out
    assert "3,024 read = 2,475 events + 466 identity calls + 24 dead letters + 59 duplicates" in out
    assert "Northwind Traders" in out.partition("The most active accounts:")[2]
    assert (tmp_path / "stream.duckdb").exists()


def test_a_line_of_the_table_fits_a_terminal() -> None:
    values = ("999", "999,999", "999,999", "99,999", "99,999", "99,999", "99,999", "99,999", "9,999")
    lines = [*map(stream.table_line, stream.HEADINGS), stream.table_line(values)]
    assert {len(line) for line in lines} == {79}
    assert lines[2].split() == list(values)
    assert len(values) == 2 + len(stream.TABLES)


@pytest.mark.parametrize(
    ("what", "missing", "line"),
    [("java", ("java",), "needs Java 17"), ("gcloud", ("java", "gcloud"), "install the Google Cloud CLI")],
)
def test_what_is_missing_is_one_line(
    what: str,
    missing: tuple[str, ...],
    line: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    jar = tmp_path / "platform" / "pubsub-emulator" / "lib" / "cloud-pubsub-emulator-1.jar"
    jar.parent.mkdir(parents=True)
    jar.touch()
    monkeypatch.delenv(EMULATOR, raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(emulator, "_PLACES", () if "gcloud" in missing else (str(tmp_path),))
    monkeypatch.setattr(shutil, "which", lambda _: None)
    assert stream.main(["--emulator"]) == 2
    err = capsys.readouterr().err
    assert line in err
    assert err.count("\n") == 1
