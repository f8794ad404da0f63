"""Whole commands on files of any name, on full disks, and on files that are damaged or may not be written."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import duckdb
import pytest

from pipeline import audit, explain, purge, schema_command
from pipeline.__main__ import main
from tests.warehouse import EXAMPLES, comparable, tables

ROOT = Path(__file__).parents[4]
WAREHOUSE = "--warehouse=duckdb:///w.duckdb"
READING = [
    (main, ["--rebuild"]),
    (audit.main, []),
    (explain.main, ["--id=a"]),
    (purge.main, ["--id=a"]),
]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with two inputs."""
    monkeypatch.chdir(tmp_path)
    lines = EXAMPLES.read_bytes().splitlines(keepends=True)[:300]
    (tmp_path / "1.jsonl").write_bytes(b"".join(lines[:150]))
    (tmp_path / "2.jsonl").write_bytes(b"".join(lines[150:]))
    return tmp_path


def filled(name: str, *inputs: str) -> None:
    for each in inputs or ("1.jsonl", "2.jsonl"):
        assert main([f"--input={each}", f"--warehouse=duckdb:///{name}"]) == 0


@functools.cache
def ordinary(*inputs: str) -> Mapping[str, Mapping[str, str]]:
    """What jobs make of these inputs, one after another, in a file of an ordinary name."""
    filled("ordinary.db", *inputs)
    return comparable(tables(Path("ordinary.db")))


def one_line(capsys: pytest.CaptureFixture[str]) -> str:
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1, err
    return err


# ---- nothing there ----


@pytest.mark.parametrize(("command", "arguments"), READING, ids=["rebuild", "audit", "explain", "purge"])
@pytest.mark.parametrize("content", [None, b"", "a header", "no tables"])
def test_who_needs_what_a_job_has_written_makes_nothing(
    content: bytes | str | None, command: object, arguments: list[str], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = folder / "w.duckdb"
    if content is not None:
        if isinstance(content, str):
            duckdb.connect(str(file)).close()
            content = file.read_bytes()[: 4096 if content == "a header" else None]
        file.write_bytes(content)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert callable(command)
    assert command([*arguments, WAREHOUSE]) == 2
    one_line(capsys)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


# ---- names ----


@pytest.mark.parametrize(
    "name",
    [
        *("staged", "internal", "information_schema", "main", "temp", "system", "pg_catalog", "memory", "warehouse"),
        *("a.b", "a b", "a'b", 'a"b', "ü"),
    ],
)
def test_every_command_works_whatever_the_file_is_called(
    name: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    filled(f"{name}.duckdb")
    warehouse = f"--warehouse=duckdb:///{name}.duckdb"
    assert comparable(tables(folder / f"{name}.duckdb")) == ordinary("1.jsonl", "2.jsonl")
    assert audit.main([warehouse]) == 0
    assert main(["--rebuild", warehouse]) == 0
    assert audit.main([warehouse]) == 0
    assert explain.main([warehouse, "--id=nobody"]) == purge.main([warehouse, "--id=nobody"]) == 1
    assert schema_command.main(["create", warehouse]) == 0
    assert comparable(tables(folder / f"{name}.duckdb")) == ordinary("1.jsonl", "2.jsonl")
    capsys.readouterr()


# ---- damage ----


@pytest.mark.parametrize(("command", "arguments"), READING, ids=["rebuild", "audit", "explain", "purge"])
def test_a_damaged_file_is_one_line(
    command: object, arguments: list[str], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    filled("w.duckdb")
    file = folder / "w.duckdb"
    content = bytearray(file.read_bytes())
    for start in range(12288, len(content), 262144):  # of each block
        content[start + 100] ^= 255
    file.write_bytes(content)
    capsys.readouterr()
    assert callable(command)
    assert command([*arguments, WAREHOUSE]) == 2
    assert "w.duckdb: is damaged: " in one_line(capsys)
    assert main(["--input=1.jsonl", WAREHOUSE]) == 2
    assert "w.duckdb: is damaged: " in one_line(capsys)
    assert file.read_bytes() == content


# ---- in a process of its own ----

LIMITED = """
import resource, sys
from pipeline.__main__ import main
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv.pop(1)), resource.RLIM_INFINITY))
sys.exit(main())
"""
NOBODY = """
import os, sys
import apache_beam.runners.portability.fn_api_runner.fn_runner
from pipeline import audit
from pipeline.__main__ import main
command, *arguments = sys.argv[1:]
if command == "audit":
    audit.main(arguments)  # loads what nobody may not
if os.getuid() == 0:
    os.setuid(65534)
sys.exit(audit.main(arguments) if command == "audit" else main(arguments))
"""


def command(code: str, arguments: Sequence[str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("size", [0, 5_000, 12_288, 20_000, 200_000, 400_000, 900_000])
def test_after_a_full_disk_the_same_command_goes_on(size: int, folder: Path) -> None:
    arguments = [f"--input={EXAMPLES}", WAREHOUSE]
    ended = command(LIMITED, [str(size), *arguments], folder)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == (
        f"segment-pipeline: --warehouse={folder}/w.duckdb: cannot be written: File too large; "
        "make room, and run the same command again: it goes on from what was written\n"
    )
    assert main(arguments) == 0
    assert comparable(tables(folder / "w.duckdb")) == ordinary(str(EXAMPLES))
    assert audit.main([WAREHOUSE]) == 0


@pytest.fixture
def open_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder where every user may enter it: pytest closes its own to others whenever it starts."""
    with tempfile.TemporaryDirectory() as name:
        open_to_all = Path(name)
        open_to_all.chmod(0o755)
        shutil.copytree(folder, open_to_all, dirs_exist_ok=True)
        open_to_all.chmod(0o755)
        monkeypatch.chdir(open_to_all)
        yield open_to_all


@pytest.mark.parametrize("what", ["the folder", "the file", "both"])
def test_what_may_not_be_written_is_one_line(what: str, open_folder: Path) -> None:
    place = open_folder / "place"
    place.mkdir()
    if what != "the folder":
        filled("place/w.duckdb")
        (place / "w.duckdb").chmod(0o444)
    place.chmod(0o777 if what == "the file" else 0o555)
    ended = command(NOBODY, ["job", "--input=1.jsonl", "--warehouse=duckdb:///place/w.duckdb"], open_folder)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == (
        f"segment-pipeline: --warehouse={place}/w.duckdb: cannot be opened: Permission denied; "
        "have it and its folder writable, or name another file\n"
    )
    if what != "the folder":
        assert command(NOBODY, ["audit", "--warehouse=duckdb:///place/w.duckdb"], open_folder).returncode == 0
