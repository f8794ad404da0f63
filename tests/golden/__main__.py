"""What the job makes of a few readable inputs, table by table, and what a launch on Dataflow sends.

    python -m tests.golden             prints what differs from the files here; exit status 1 if anything does
    python -m tests.golden --update    writes the files anew: read the diff before you commit it

A case is a folder: `input*.jsonl`, `connections.yaml`, and `expected/`, one file for each table that has rows. A line
there is a row without what is NULL and without when it was written; lines are sorted. `dataflow/` has the launches of
the Flex Template: the job that is posted, and the graph; a running job can be updated as long as that stays.
"""

from __future__ import annotations

import argparse
import difflib
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
from apache_beam.pipeline import AppliedPTransform, PipelineVisitor

from pipeline.options import parse
from pipeline.run import run
from schemas.tables import ALL, JOBS, Table, Type
from tests.dataflow import dataflow
from tests.templates import launched

HERE = Path(__file__).parent
DATAFLOW = HERE / "dataflow"
CASES = sorted(path.parent.name for path in HERE.glob("*/connections.yaml"))


def job(case: str, file: Path) -> None:
    """Runs the job on a case's input, into that warehouse."""
    folder = HERE / case
    arguments = (
        f"--input={folder / 'input*.jsonl'}",
        f"--connections={folder / 'connections.yaml'}",
        f"--warehouse=duckdb:///{file}",
    )
    run(*parse(arguments), "")


def texts(file: Path) -> dict[str, str]:
    """The text of each table of a warehouse that has rows."""
    with duckdb.connect(str(file), read_only=True) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        found = {table.name: _text(connection, table) for table in ALL if table is not JOBS}
    return {name: text for name, text in found.items() if text}


def _text(connection: duckdb.DuckDBPyConnection, table: Table) -> str:
    columns = [column for column in table.columns if column.name != table.written]
    found = connection.execute(f"SELECT {', '.join(column.name for column in columns)} FROM {table.name}").fetchall()
    lines = []
    for values in found:
        row = {
            column.name: json.loads(value) if column.type is Type.JSON else _readable(value)
            for column, value in zip(columns, values, strict=True)
            if value is not None
        }
        lines.append(json.dumps(row, ensure_ascii=False))
    return "".join(f"{line}\n" for line in sorted(lines))


def _readable(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, bytes):
        return value.decode(errors="backslashreplace")
    if isinstance(value, list):
        return [_readable(element) for element in value]
    if isinstance(value, dict):
        return {name: _readable(field) for name, field in value.items()}
    return value


def expected(case: str) -> dict[str, str]:
    """The text of each table that should have rows."""
    return {path.stem: path.read_text() for path in sorted((HERE / case / "expected").glob("*.jsonl"))}


class Labels(PipelineVisitor):
    """Gathers the transforms of a pipeline."""

    def __init__(self) -> None:
        self.transforms: list[AppliedPTransform] = []

    def enter_composite_transform(self, transform_node: AppliedPTransform) -> None:
        self.transforms.append(transform_node)

    def visit_transform(self, transform_node: AppliedPTransform) -> None:
        self.transforms.append(transform_node)


def launches() -> Iterator[tuple[Path, str]]:
    """(a file here, what it should hold) of each launch on Dataflow."""
    for name, parameters in launched.LAUNCHES.items():
        with tempfile.TemporaryDirectory() as folder, dataflow(Path(folder)) as service:
            assert launched.launch(service, parameters) == 0
        yield DATAFLOW / f"{name}.txt", launched.graph(service.graph())
        yield DATAFLOW / f"{name}.json", launched.summary(service.jobs[0])


def files() -> Iterator[tuple[Path, str | None]]:
    """(a file here, what it should hold; None if it should not be)."""
    yield from launches()
    for case in CASES:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "warehouse.duckdb")
            job(case, file)
            made = texts(file)
        for table in ALL:
            yield HERE / case / "expected" / f"{table.name}.jsonl", made.get(table.name)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.golden", description=__doc__.partition("\n")[0])
    parser.add_argument("--update", action="store_true", help="write the files anew")
    update: bool = parser.parse_args(argv).update
    differs = False
    for path, wanted in files():
        held = path.read_text() if path.exists() else None
        if held == wanted:
            continue
        differs = True
        name = str(path.relative_to(HERE))
        sys.stdout.writelines(
            difflib.unified_diff((held or "").splitlines(True), (wanted or "").splitlines(True), name)
        )
        if update and wanted is None:
            path.unlink()
        elif update and wanted is not None:
            path.parent.mkdir(exist_ok=True)
            path.write_text(wanted)
    return int(differs and not update)


if __name__ == "__main__":
    sys.exit(main())
