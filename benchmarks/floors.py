"""The least that a program in Python takes, for each figure whose goal is missed: `python -m benchmarks.floors`.

python -m benchmarks.floors                on all shapes (six minutes on two cores)
python -m benchmarks.floors --input=FILE   on your own file: one call a line

A floor is compiled code alone, each call of which does for a message what the contract asks of its bytes: fields are
read, UTF-8 and depth checked, write keys looked for, times read, JSON kept. None of the rules is there. What is below a
floor nobody reaches by these libraries; what a figure takes above it are the rules, and Python between them.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from array import array
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from itertools import accumulate, islice
from operator import attrgetter
from pathlib import Path
from typing import Any, Final

import apache_beam as beam
import duckdb
import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from apache_beam.options.pipeline_options import PipelineOptions
from msgspec import Raw

from benchmarks import message_path, shapes, startup, whole_job
from benchmarks.processes import Used, run
from benchmarks.results import Figure, table
from pipeline import warehouses
from pipeline.job_kind import BATCH_RUNNER
from transforms.letters import has_word, in_lower_case
from transforms.ordinary_calls import TOGETHER

_ROUNDS: Final = 3
_MODULE: Final = "benchmarks.floors"
_ABSENT: Final = Raw(b"null")
_TIMES: Final = ("timestamp", "originalTimestamp", "sentAt", "receivedAt")
_OBJECTS: Final = ("properties", "context", "integrations", "traits")
_USUAL_TIME: Final = r"^[12]\d{3}-\d\d-\d\dT(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d\.\d{3}Z$"

Text = str | None
Id = str | int | None


class _Fields(msgspec.Struct, gc=False):
    """The fields of a call, with objects as they are written."""

    type: Text = None
    messageId: Text = None  # noqa: N815
    userId: Id = None  # noqa: N815
    anonymousId: Id = None  # noqa: N815
    previousId: Text = None  # noqa: N815
    groupId: Text = None  # noqa: N815
    event: Text = None
    name: Text = None
    timestamp: Text = None
    originalTimestamp: Text = None  # noqa: N815
    sentAt: Text = None  # noqa: N815
    receivedAt: Text = None  # noqa: N815
    properties: Raw = _ABSENT
    context: Raw = _ABSENT
    integrations: Raw = _ABSENT
    traits: Raw = _ABSENT


class _IdentityFields(msgspec.Struct, gc=False):
    """The same with times as times, and with the keys of traits and context, by which columns are found."""

    type: Text = None
    messageId: Text = None  # noqa: N815
    userId: Id = None  # noqa: N815
    anonymousId: Id = None  # noqa: N815
    previousId: Text = None  # noqa: N815
    groupId: Text = None  # noqa: N815
    timestamp: datetime | None = None
    originalTimestamp: datetime | None = None  # noqa: N815
    sentAt: datetime | None = None  # noqa: N815
    receivedAt: datetime | None = None  # noqa: N815
    context: dict[str, Raw] | None = None
    integrations: Raw = _ABSENT
    traits: dict[str, Raw] | None = None


class _Context(msgspec.Struct, gc=False):
    """What of a context decides about an event: its group."""

    groupId: Text = None  # noqa: N815


_read: Final = msgspec.json.Decoder(_Fields).decode
_read_identity: Final = msgspec.json.Decoder(_IdentityFields).decode
_read_context: Final = msgspec.json.Decoder(_Context | None).decode
_encode: Final = msgspec.json.Encoder().encode


def columns(messages: Sequence[bytes]) -> pa.Table:
    """Columns of a block of calls; those with fields of other types are left out."""
    _look_at(messages)
    calls = []
    for message in messages:
        try:
            call = _read(message)
            _read_context(call.context)
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue
        calls.append(call)
    return pa.table({name: _column(name, [*map(attrgetter(name), calls)]) for name in _Fields.__struct_fields__})


def rows(messages: Sequence[bytes]) -> None:
    """The bytes of a row of each identity call."""
    _look_at(messages)
    for message in messages:
        _encode(_read_identity(message))


def _look_at(messages: Sequence[bytes]) -> None:
    """Looks for write keys and for what is no UTF-8, and counts brackets, in some messages at once."""
    for start in range(0, len(messages), TOGETHER):
        text = b"\n".join(messages[start : start + TOGETHER])
        letters = in_lower_case(text)
        has_word(letters, b"write")
        np.count_nonzero(letters == ord("{"))
        if not text.isascii():
            text.decode(errors="replace")


def _column(name: str, values: Sequence[Any]) -> pa.Array:
    if name in _OBJECTS:
        ends = array("i", accumulate(map(len, values), initial=0))
        return pa.StringArray.from_buffers(len(values), pa.py_buffer(ends), pa.py_buffer(b"".join(values)))
    try:
        strings = pa.array(values, pa.string())
    except pa.ArrowTypeError:  # some are numbers
        strings = pa.array([None if value is None else str(value) for value in values], pa.string())
    if name not in _TIMES:
        return strings
    try:
        usual = pc.if_else(pc.match_substring_regex(strings, _USUAL_TIME), strings, None)
        return usual.cast(pa.timestamp("us", "UTC"))
    except pa.ArrowInvalid:  # one is of no day
        return pa.nulls(len(strings), pa.timestamp("us", "UTC"))


def write_columns(source: str, database: str) -> None:
    """The columns of a file of calls to a table without a key: nothing is looked up."""
    connection = duckdb.connect(database)
    connection.execute("SET threads = 1")
    types = dict.fromkeys(_OBJECTS, "JSON") | dict.fromkeys(_TIMES, "TIMESTAMPTZ")
    fields = ", ".join(f"{name} {types.get(name, 'VARCHAR')}" for name in _Fields.__struct_fields__)
    connection.execute(f"CREATE TABLE calls ({fields})")
    with open(source, "rb") as file:
        while lines := [*islice(file, message_path.BLOCK_MESSAGES)]:
            connection.register("block", columns(lines))
            connection.execute("INSERT INTO calls FROM block")
    connection.close()


def start(database: str) -> None:
    """A job of one element on the job's runner, and a DuckDB file with all tables and views."""
    warehouses.kind_of(f"duckdb:///{database}").create(f"duckdb:///{database}", None)
    pipeline = beam.Pipeline(options=PipelineOptions([f"--runner={BATCH_RUNNER}"]))
    _ = pipeline | "One" >> beam.Create([1]) | "Same" >> beam.Map(abs)
    pipeline.run().wait_until_finish()


def of_messages(own: Path | None) -> Iterator[Figure]:
    """Those of bytes to rows."""
    events = {name: message_path.messages(path, of_events=True) for name, path in shapes.files(own).items()}
    ratios = {name: message_path.ratio(columns, some) for name, some in events.items() if some}
    if ratios:
        yield _floor("event: bytes → row, over loads + dumps", message_path.GOAL, ratios)
    name, path = (shapes.IDENTIFIES, shapes.identifies()) if own is None else (own.name, own)
    calls = [*filter(_is_usual, message_path.messages(path, of_events=False))]
    if calls:
        ratio = message_path.ratio(rows, calls)
        yield _floor("identity call: bytes → row, over loads + dumps", message_path.IDENTITY_GOAL, {name: ratio})


def _is_usual(message: bytes) -> bool:
    try:
        _read_identity(message)
    except msgspec.DecodeError:
        return False
    return True


def of_whole_jobs(own: Path | None) -> Iterator[Figure]:
    """Those of whole processes."""
    rates, cpu = {}, {}
    steps = (whole_job.pass_through, whole_job.read_json, written_columns)
    for shape, used in whole_job.beyond_start(steps, own):
        rates[shape] = used[whole_job.pass_through].seconds / used[written_columns].seconds
        cpu[shape] = used[written_columns].cpu / used[whole_job.read_json].cpu
    if rates:
        yield _floor("whole job: rate over pass-through's", whole_job.GOAL, rates, higher_is_better=True)
        yield _floor("whole job: CPU over DuckDB's read_json", whole_job.READ_JSON_GOAL, cpu)


def written_columns(source: Path, folder: Path) -> Used:
    """A process that writes the columns of a file."""
    database = folder / f"{time.monotonic_ns()}.duckdb"
    used = run(_MODULE, f"--write={database}", f"--input={source}")
    database.unlink()
    return used


def of_start() -> Figure:
    """That of `make run`."""
    ratios = []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(_ROUNDS):
            least = run("benchmarks.import_beam").seconds
            ratios.append(run(_MODULE, f"--start={folder}/{number}.duckdb").seconds / least)
    name = "make run: time over that of import apache_beam"
    return _floor(name, startup.GOAL, {"one element": statistics.median(ratios)})


def _floor(name: str, goal: float, by_shape: Mapping[str, float], *, higher_is_better: bool = False) -> Figure:
    return Figure(name=name, unit="times", by_shape=by_shape, goal=goal, higher_is_better=higher_is_better)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog=f"python -m {_MODULE}", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--write", help=argparse.SUPPRESS)
    parser.add_argument("--start", help=argparse.SUPPRESS)
    given = shapes.parsed_with_own_file(parser, arguments)
    if given.start is not None:
        start(given.start)
    elif given.write is not None:
        write_columns(str(given.input), given.write)
    else:
        floors = [*of_messages(given.input), *of_whole_jobs(given.input), of_start()]
        print(table(floors, worst="floor", missed="the floor misses it"))


if __name__ == "__main__":
    main()
