"""Rows of a streaming job where a bundle has one key and each costs 50 ms, as do BigQuery's answers, as on Dataflow:
`python -m benchmarks.one_key_bundles`. What is measured is the steps by themselves, with state in this process."""

from __future__ import annotations

import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import cycle, islice
from typing import Any, Final

from msgspec import Raw

from benchmarks.bigquery_sink import events
from pipeline.warehouses.bigquery.append_stream import Delivery
from pipeline.warehouses.bigquery.dataset import Dataset
from pipeline.warehouses.bigquery.event_rows import EventRows, in_shard
from pipeline.warehouses.bigquery.event_streams import GATHERED_FOR_S, AppendEventsFn
from pipeline.warehouses.bigquery.gathering import GATHERED_FOR_S as KEYED_FOR_S
from pipeline.warehouses.bigquery.gathering import _GatherFn, _in_bucket
from pipeline.warehouses.bigquery.protobuf import RowEncoder
from schemas.tables import CONTACTS, EVENTS, Contact
from transforms.core.rows import Append, Upsert

GOAL: Final = 2_000
ROWS_GOAL: Final = 200
LATENCY_S: Final = 0.05
_THREADS: Final = 12
_SHARDS: Final = 16
_ROWS: Final = 20_000


class Cell:
    """A bag of state."""

    def __init__(self) -> None:
        self.elements: list[Any] = []

    def read(self) -> list[Any]:
        return list(self.elements)

    def add(self, element: Any) -> None:
        self.elements.append(element)

    def clear(self) -> None:
        self.elements.clear()


@dataclass
class Key:
    """What one key has: its state, its timer, and the elements that wait."""

    cells: Mapping[str, Cell] = field(default_factory=lambda: defaultdict(Cell))
    waiting: deque[Any] = field(default_factory=deque)
    fires_at: float | None = None
    is_busy: bool = False

    def set(self, at: Any) -> None:
        """Sets the timer."""
        self.fires_at = at.micros / 1e6

    @property
    def is_due(self) -> bool:
        return self.fires_at is not None and self.fires_at <= time.time()


class Runner:
    """Runs bundles of one key each, on threads. `bundle(key, elements, fires)` runs one."""

    def __init__(self, bundle: Callable[[bytes, Key, Sequence[Any], bool], None]) -> None:
        self.keys: dict[bytes, Key] = defaultdict(Key)
        self.bundle = bundle
        self.lock = threading.Lock()

    def run(self, elements: Iterator[tuple[bytes, Any]]) -> float:
        """Returns the seconds until nothing waits any more."""
        started = time.perf_counter()
        for key, element in elements:
            self.keys[key].waiting.append((key, element))
        with ThreadPoolExecutor(_THREADS) as threads:
            for future in [threads.submit(self._work) for _ in range(_THREADS)]:
                future.result()
        return time.perf_counter() - started

    def _work(self) -> None:
        while any(key.waiting or key.is_busy or key.fires_at is not None for key in self.keys.values()):
            with self.lock:
                ready = ((name, key) for name, key in self.keys.items() if key.waiting or key.is_due)
                name, key = next(((name, key) for name, key in ready if not key.is_busy), (b"", None))
                if key is not None:
                    key.is_busy = True
            if key is None:
                time.sleep(0.005)
                continue
            elements = [key.waiting.popleft() for _ in range(min(len(key.waiting), 100))]
            fires, key.fires_at = key.is_due, None if key.is_due else key.fires_at
            self.bundle(name, key, elements, fires)
            time.sleep(LATENCY_S)
            key.is_busy = False


class SlowStreams:
    """Streams that take everything, and answer late."""

    def __init__(self) -> None:
        self.requests = 0

    def create(self) -> str:
        time.sleep(LATENCY_S)
        return "stream"

    def fit(self, rows: Sequence[bytes]) -> int:
        return len(rows)

    def append(self, stream: str, offset: int, rows: Sequence[bytes]) -> None:
        self.requests += 1
        time.sleep(LATENCY_S)

    def finalize(self, stream: str) -> int | None:
        raise AssertionError(stream)


def event_rows() -> tuple[float, float]:
    """Events: rows a second, and rows a request."""
    streams = SlowStreams()

    def bundle(name: bytes, key: Key, elements: Sequence[Any], fires: bool) -> None:
        fn = AppendEventsFn(Dataset("p", "d"), EVENTS, Delivery(), GATHERED_FOR_S)
        fn.rows, fn.streams = EventRows(EVENTS, Delivery(), fn.tally), streams
        fn.start_bundle()
        state = (key.cells["position"], key.cells["rows_0"], key.cells["rows_1"], key)
        outputs = [output for element in elements for output in fn.process(element, *state)]
        assert outputs + (list(fn.flush(name, *state)) if fires else []) == []

    rows = islice(cycle(events(4_000)), _ROWS)
    seconds = Runner(bundle).run(in_shard(Append(row, "event"), _SHARDS) for row in rows)
    return _ROWS / seconds, _ROWS / streams.requests


def keyed_rows() -> tuple[float, float]:
    """Keyed rows: rows a second, and rows a request."""
    requests: list[int] = []
    encoder = RowEncoder(CONTACTS)

    def bundle(name: bytes, key: Key, elements: Sequence[Any], fires: bool) -> None:
        fn = _GatherFn(KEYED_FOR_S)
        fn.start_bundle()
        cells = key.cells["rows"], key.cells["waiting"]
        given = [upsert for element in elements for upsert in fn.process(element, *cells, key)]
        given += list(fn.give(name, *cells)) if fires else []
        if given:
            requests.append(sum(len(encoder.encode(upsert.row)) for upsert in given if upsert.row))
            time.sleep(LATENCY_S)

    traits = Raw(b'{"notes":"' + b"x" * 500 + b'"}')
    upserts = (Upsert((f"p{number}",), (1, 1), Contact(f"p{number}", traits=traits)) for number in range(_ROWS))
    seconds = Runner(bundle).run(map(_in_bucket, upserts))
    return _ROWS / seconds, _ROWS / len(requests)


def main() -> None:
    print(
        f"Rows where a bundle has one key, and costs {LATENCY_S * 1000:.0f} ms, as an answer does; {_THREADS} threads"
    )
    for what, measure in (("events", event_rows), ("keyed rows", keyed_rows)):
        rate, rows = measure()
        print(f"  {what:<12} {rate:8,.0f} rows a second   goal: at least {GOAL:,}")
        print(f"  {'':<12} {rows:8,.0f} rows a request  goal: at least {ROWS_GOAL}")


if __name__ == "__main__":
    main()
