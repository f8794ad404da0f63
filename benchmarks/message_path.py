"""Message bytes → finished rows, against `orjson.loads` + `orjson.dumps` of the same messages; by shape.

Run with `python -m benchmarks.message_path`. Both run in turn on the same messages, and CPU time is compared. Calls
become columns a block at a time, as in a job on files.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import Final

import orjson

from benchmarks import shapes
from benchmarks.results import Figure, table
from pipeline.warehouses.duckdb.arrow import row_batch
from schemas.tables import EVENTS, IDENTITY_CALLS
from transforms import ordinary_events, ordinary_identity_calls
from transforms.core import call_rows
from transforms.core.connections import DEFAULT
from transforms.core.reader import Call, Reader, Received
from transforms.ordinary_calls import decoded

GOAL = 1.3
IDENTITY_GOAL = 2.5
_MESSAGES = 8_000
BLOCK_MESSAGES: Final = 2_000
"""As many as a job on files has in a block."""
_ROUNDS = 7

_reader = Reader.of(DEFAULT)


def events_to_columns(messages: Sequence[bytes]) -> None:
    """Finished columns of a block of events: what is not ordinary is read by itself."""
    ordinary = ordinary_events.read(_reader, messages, decoded(messages))
    others = set(range(len(messages))).difference(ordinary.indexes)
    if others:
        calls = [call for index in others for call in _reader.read(Received(messages[index])) if isinstance(call, Call)]
        rows = [event for event in map(call_rows.event, calls) if event is not None]
        if rows:
            row_batch(EVENTS, rows, 0)


def identity_calls_to_rows(messages: Sequence[bytes]) -> None:
    """Finished columns of the log, and the calls that facts are taken from: what is not ordinary is read by itself."""
    ordinary = ordinary_identity_calls.read(_reader, messages, decoded(messages))
    others = set(range(len(messages))).difference(ordinary.indexes)
    if others:
        calls = [call for index in others for call in _reader.read(Received(messages[index])) if isinstance(call, Call)]
        row_batch(IDENTITY_CALLS, [call_rows.identity_call(call) for call in calls], 0)


def parse_and_print(messages: Sequence[bytes]) -> None:
    """What every pipeline that touches JSON does at least."""
    for message in messages:
        orjson.dumps(orjson.loads(message))


def ratio(path: Callable[[Sequence[bytes]], object], messages: Sequence[bytes]) -> float:
    """How many times as much CPU the path takes: the median of the rounds."""
    blocks = _blocks(messages)
    ratios = []
    for _ in range(_ROUNDS):
        ours, floor = (_seconds(step, blocks) for step in (path, parse_and_print))
        ratios.append(ours / floor)
    return statistics.median(ratios)


def _blocks(messages: Sequence[bytes]) -> list[Sequence[bytes]]:
    return [messages[start : start + BLOCK_MESSAGES] for start in range(0, len(messages), BLOCK_MESSAGES)]


def _seconds(step: Callable[[Sequence[bytes]], object], blocks: Sequence[Sequence[bytes]]) -> float:
    started = time.process_time()
    for block in blocks:
        step(block)
    return time.process_time() - started


def messages(path: Path, *, of_events: bool) -> list[bytes]:
    """Messages of a file that are one call each: of events, or of identity calls."""
    with path.open("rb") as file:
        read = [line.rstrip(b"\n") for line in islice(file, 2 * _MESSAGES)]
    return [message for message in read if _is_one_call(message, of_events=of_events)][:_MESSAGES]


def _is_one_call(message: bytes, *, of_events: bool) -> bool:
    outcomes = list(_reader.read(Received(message)))
    if len(outcomes) != 1 or not isinstance(call := outcomes[0], Call):
        return False
    try:
        orjson.loads(message)
    except orjson.JSONDecodeError:
        return False
    return call_rows.is_identity_call(call) != of_events


def figures(own: Path | None = None) -> list[Figure]:
    """The ratio of events of each shape, and of identity calls, where there are some."""
    by_shape = {name: messages(path, of_events=True) for name, path in shapes.files(own).items()}
    events = {name: ratio(events_to_columns, messages) for name, messages in by_shape.items() if messages}
    made = []
    if events:
        made.append(Figure(name="event: bytes → row, over loads + dumps", unit="times", by_shape=events, goal=GOAL))
    identity = {own.name: own} if own is not None else {shapes.IDENTIFIES: shapes.identifies()}
    calls = {name: messages(path, of_events=False) for name, path in identity.items()}
    ratios = {name: ratio(identity_calls_to_rows, messages) for name, messages in calls.items() if messages}
    if ratios:
        name = "identity call: bytes → row, over loads + dumps"
        made.append(Figure(name=name, unit="times", by_shape=ratios, goal=IDENTITY_GOAL))
    return made


if __name__ == "__main__":
    print(table(figures()))
