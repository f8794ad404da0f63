"""Message bytes → finished row bytes of an event, against `orjson.loads` + `orjson.dumps` of the same messages.

Run with `python -m benchmarks.message_path`. Both run in turn on the same 2,000 generated event messages.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import msgspec
import orjson

from benchmarks.data import calls
from schemas.tables import Event
from transforms.core import call_rows
from transforms.core.connections import DEFAULT, Router
from transforms.core.reader import Call, Reader, Received

GOAL = 1.5
_MESSAGES = 2_000
_ROUNDS = 15

_reader = Reader(Router(DEFAULT))
_encode = msgspec.json.Encoder().encode


def event(message: bytes) -> Event | None:
    """The event that a message becomes."""
    (outcome,) = _reader.read(Received(message))
    return call_rows.event(outcome) if isinstance(outcome, Call) else None


def row(message: bytes) -> bytes:
    """The finished row, as bytes."""
    return _encode(event(message))


def parse_and_print(message: bytes) -> bytes:
    """What every pipeline that touches JSON does at least."""
    return orjson.dumps(orjson.loads(message))


def measure() -> tuple[float, float, float]:
    """(µs a message of ours, of parse and print, the median of the ratios round by round)."""
    with calls().open("rb") as file:
        messages = [line.rstrip(b"\n") for _, line in zip(range(20 * _MESSAGES), file, strict=False)]
    events = [message for message in messages if message.startswith(b"{") and _is_event(message)][:_MESSAGES]
    ours, theirs = [], []
    for _ in range(_ROUNDS):
        ours.append(_time(row, events))
        theirs.append(_time(parse_and_print, events))
    ratio = statistics.median(a / b for a, b in zip(ours, theirs, strict=True))
    return statistics.median(ours), statistics.median(theirs), ratio


def _is_event(message: bytes) -> bool:
    try:
        orjson.loads(message)
    except orjson.JSONDecodeError:
        return False
    outcomes = list(_reader.read(Received(message)))
    return len(outcomes) == 1 and isinstance(outcomes[0], Call) and call_rows.event(outcomes[0]) is not None


def _time(path: Callable[[bytes], object], messages: list[bytes]) -> float:
    started = time.perf_counter()
    for message in messages:
        path(message)
    return (time.perf_counter() - started) / len(messages) * 1e6


def main() -> None:
    ours, theirs, ratio = measure()
    print("Message path (µs a message of about 1.7 kB, one core)")
    print(f"  message bytes → event row bytes      {ours:6.2f}")
    print(f"  orjson.loads + orjson.dumps          {theirs:6.2f}")
    print(f"  ratio                                {ratio:6.2f}   goal: at most {GOAL}")


if __name__ == "__main__":
    main()
