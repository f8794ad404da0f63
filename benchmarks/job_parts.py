"""What each part of a job on files takes: the same job, which ends after one part, after two, and so on.

python -m benchmarks.job_parts                on calls of three shapes (five minutes on two cores)
python -m benchmarks.job_parts --input=FILE   on your own file: one call a line

Whole processes in turn, in microseconds of CPU for each line, less those of a process on one line. What a part takes is
what a job with it takes more than one without. Beside them stand the programs that the goals compare the job with.
"""

from __future__ import annotations

import argparse
import enum
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from unittest import mock

import apache_beam as beam
from apache_beam.pvalue import PCollection

from benchmarks import shapes, whole_job
from benchmarks.processes import Used
from benchmarks.processes import run as run_process
from pipeline import run
from pipeline.options import parse
from pipeline.warehouses import DEAD_LETTERS, LOGGED, JobRun
from pipeline.warehouses.base import BlockWrites
from pipeline.warehouses.duckdb.warehouse import DuckDbWarehouse
from schemas.tables import Table

_ROUNDS: Final = 3
_SHAPES: Final = ("uuids", shapes.GENERATED)
_MODULE: Final = "benchmarks.job_parts"


class Part(enum.IntEnum):
    """The parts of a job, in the order of the graph."""

    READ = enum.auto()
    EVENTS = enum.auto()
    LOG = enum.auto()
    STEPS = enum.auto()
    ROWS = enum.auto()


_MEANINGS: Final = {
    Part.READ: "lines are read and judged; events become columns, identity calls rows of the log",
    Part.EVENTS: "events are inserted into DuckDB",
    Part.LOG: "identity calls are inserted into DuckDB",
    Part.STEPS: "facts are found and grouped, and go through the keyed steps",
    Part.ROWS: "rows of contacts, accounts, identities and memberships are written and shown",
}


class _Nothing(beam.PTransform):
    """Elements → nothing."""

    def expand(self, elements: PCollection) -> PCollection:
        return elements | "Nothing" >> beam.FlatMap(_nothing)


def _nothing(_: Any) -> tuple[()]:
    return ()


class _LogNothing(beam.PTransform):
    """Entries → no call; they go through `write` first, where there is one."""

    def __init__(self, write: beam.PTransform | None) -> None:
        super().__init__()
        self.write = write

    def expand(self, entries: PCollection) -> dict[str, PCollection]:
        if self.write is None:
            return {name: entries | name >> _Nothing() for name in (LOGGED, DEAD_LETTERS)}
        logged = entries | "Write" >> self.write
        return {**logged, LOGGED: logged[LOGGED] | "Logged" >> _Nothing()}


class UntilPart(DuckDbWarehouse):
    """A DuckDB file that takes what comes up to a part of the job, and drops the rest."""

    part = Part.ROWS

    def write_blocks(self, job: JobRun) -> BlockWrites:
        events, identity_calls = super().write_blocks(job)
        if self.part < Part.STEPS:
            identity_calls = _LogNothing(identity_calls if self.part >= Part.LOG else None)
        return BlockWrites(events=events if self.part >= Part.EVENTS else _Nothing(), identity_calls=identity_calls)

    def upsert(self, table: Table, job: JobRun) -> beam.PTransform:
        return super().upsert(table, job) if self.part >= Part.ROWS else _Nothing()


def run_until(part: Part, source: str, file: str) -> None:
    """The job on files, which ends after a part."""
    settings, options = parse([f"--input={source}", f"--warehouse=duckdb:///{file}"])
    with mock.patch.object(UntilPart, "part", part), mock.patch.object(run, "open_warehouse") as opened:
        opened.return_value = UntilPart(file)
        run.run(settings, options, "")


def _until(part: Part, source: Path, folder: Path) -> Used:
    warehouse = folder / f"{time.monotonic_ns()}.duckdb"
    used = run_process(_MODULE, f"--part={part.name}", f"--input={source}", f"--file={warehouse}")
    warehouse.unlink()
    return used


def _measure(source: Path, folder: Path) -> Mapping[str, float]:
    """Seconds of CPU of the job until each part, by its name, and of the programs that it is compared with."""
    measured: dict[str, list[float]] = {}
    for _ in range(_ROUNDS):
        used = {part.name: _until(part, source, folder) for part in Part}
        used |= {step.__name__: step(source, folder) for step in (whole_job.pass_through, whole_job.read_json)}
        for name, one in used.items():
            measured.setdefault(name, []).append(one.cpu)
    return {name: statistics.median(seconds) for name, seconds in measured.items()}


def microseconds(source: Path) -> dict[str, float]:
    """Microseconds of CPU for each line: of each part, of the whole job, of pass-through and of DuckDB's read_json."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        one = folder / "one.jsonl"
        with source.open("rb") as file:
            one.write_bytes(file.readline())
            lines = 1 + sum(1 for _ in file)
        start, whole = _measure(one, folder), _measure(source, folder)
    each = {name: 1e6 * (whole[name] - start[name]) / lines for name in whole}
    before = 0.0
    parts: dict[str, float] = {}
    for part in Part:
        parts[_MEANINGS[part]] = each[part.name] - before
        before = each[part.name]
    return {
        **parts,
        "the whole job": before,
        "pass-through: read, loads, dumps, write, on the same runner": each["pass_through"],
        "DuckDB's read_json and INSERT OR IGNORE": each["read_json"],
    }


def table(measured: Mapping[str, Mapping[str, float]]) -> str:
    """A Markdown table: a column for each shape."""
    lines = [f"| | {' | '.join(measured)} |", f"| --- |{' ---: |' * len(measured)}"]
    names = next(iter(measured.values()))
    lines += [f"| {name} | {' | '.join(f'{each[name]:.0f}' for each in measured.values())} |" for name in names]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog=f"python -m {_MODULE}", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--part", choices=[part.name for part in Part], help=argparse.SUPPRESS)
    parser.add_argument("--file", help=argparse.SUPPRESS)
    given = shapes.parsed_with_own_file(parser, arguments)
    if given.part is not None:
        run_until(Part[given.part], str(given.input), given.file)
        return
    files = shapes.files(given.input)
    if given.input is None:
        files = {**{name: files[name] for name in _SHAPES}, shapes.IDENTIFIES: shapes.identifies()}
    print(table({name: microseconds(source) for name, source in files.items()}))


if __name__ == "__main__":
    main()
