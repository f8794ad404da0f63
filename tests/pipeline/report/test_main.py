"""`python -m pipeline.report`: what it writes, from where, and how its mistakes read."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import duckdb
import pytest

from pipeline.report.__main__ import main
from tests.page_text import Page
from tests.pipeline.report.test_figures import spread, warehouse


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return warehouse(tmp_path_factory.mktemp("command"), spread(9, 40))


def test_it_writes_a_page_and_says_where(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([f"--warehouse=duckdb:///{file}"]) == 0
    assert capsys.readouterr().out == "Report written to report.html: open it in a browser\n"
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
    assert "What looks suspicious" in Page((tmp_path / "report.html").read_text("utf-8")).texts


def test_days_and_a_funnel_are_chosen(file: Path, tmp_path: Path) -> None:
    options = ["--from=2023-11-20", "--to=2023-12-01", "--funnel=Signed Up, Paid"]
    assert main([f"--warehouse=duckdb:///{file}", f"--output={tmp_path}/r.html", *options]) == 0
    shown = Page((tmp_path / "r.html").read_text("utf-8"))
    assert any("2023-11-20 to 2023-12-01" in text for text in shown.texts)
    steps = [step for step, *_ in shown.numbers("People by the events they did, in this order")]
    assert steps == ["Signed Up", "Paid"]


def test_the_warehouse_is_only_read(file: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.duckdb"
    shutil.copy(file, copy)
    copy.chmod(0o444)
    before = copy.read_bytes()
    with duckdb.connect(str(copy), read_only=True):  # another reader of the same file, as of a snapshot
        assert main([f"--warehouse=duckdb:///{copy}", f"--output={tmp_path}/r.html"]) == 0
    assert copy.read_bytes() == before


MISTAKES = [
    (["--warehouse=duckdb:///{folder}/none.duckdb"], "there is no such file; name the file that a job has written"),
    (["--warehouse=duckdb:///{file}", "--from=yesterday"], "'yesterday' is not a day: give one such as 2026-01-31"),
    (["--warehouse=duckdb:///{file}", "--to=2026-02-30"], "'2026-02-30' is not a day: give one such as 2026-01-31"),
    (
        ["--warehouse=duckdb:///{file}", "--from=2026-01-02", "--to=2026-01-01"],
        "--from=2026-01-02: is after --to; give an earlier day, or a later --to",
    ),
    (["--warehouse=duckdb:///{file}", "--funnel=One"], "'One' is not a funnel: give the names of 2 to 10 events"),
    (["--warehouse=duckdb:///{file}", "--funnel=One,,Two"], "'One,,Two' is not a funnel: give the names of 2 to 10"),
    (
        ["--warehouse=duckdb:///{file}", "--output={folder}/none/r.html"],
        "cannot be written: No such file or directory; name a file in a folder that you can write",
    ),
    (
        ["--warehouse=duckdb:///{file}", "--output={folder}"],
        "cannot be written: Is a directory; name a file in a folder",
    ),
]


@pytest.mark.parametrize(("arguments", "expected"), MISTAKES, ids=[" ".join(arguments) for arguments, _ in MISTAKES])
def test_a_mistake_is_said_in_a_line(
    arguments: list[str], expected: str, file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    assert main([argument.format(folder=folder, file=file) for argument in arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("python -m pipeline.report: ")
    assert expected in line
    assert [*folder.iterdir()] == []


def test_a_missing_package_is_named_with_its_extra(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    assert main([f"--warehouse=duckdb:///{file}"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line == (
        "python -m pipeline.report: charts need the package vl-convert-python, which the extra named report installs; "
        "pip install 'segment-bigquery[report]'"
    )


def test_a_file_without_the_views_is_refused_in_a_line(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "old.duckdb"
    shutil.copy(file, copy)
    with duckdb.connect(str(copy)) as connection:
        connection.execute("DROP VIEW events_resolved")
    assert main([f"--warehouse=duckdb:///{copy}", f"--output={tmp_path}/r.html"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "is not a warehouse of this version" in line
    assert "events_resolved" in line
