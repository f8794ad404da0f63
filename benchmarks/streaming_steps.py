"""What `benchmarks.streaming` runs in a process of its own: `python -m benchmarks.streaming_steps STEP PLACE NUMBER`.

`publish`: publishes to a topic at N messages a second, until it is killed: of ever new people, or with a fourth
argument of the same; the others are about a subscription.
`drop`, `state`: the bare pipelines, source → nothing and source → window → a read and a write of state for each key.
`job`, `identify`: the whole job on the same. All print messages a second. `follow` runs the job for N seconds, and
prints what it sees of it, a line of JSON each second.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import apache_beam as beam
import orjson
from apache_beam.coders import BytesCoder
from apache_beam.transforms.userstate import ReadModifyWriteStateSpec

from benchmarks.data import endless
from examples.publish import publish
from examples.stream import write_files
from pipeline import prism
from pipeline.options import parse
from pipeline.progress import ReportedCounts
from pipeline.run import run, stop
from pipeline.sources.pubsub import ReadPubSub
from pipeline.sources.subscriber import Subscriber
from transforms import metrics, windows
from transforms.core.reader import Received

_LONG_WINDOW_S = 3600
"""Nothing fires before the job is told to stop: then all keys do, once."""
_LOOK_S = 0.02


class _DropFn(beam.DoFn):
    def process(self, received: Received) -> None:
        pass


class _StateFn(beam.DoFn):
    SPEC = ReadModifyWriteStateSpec("state", BytesCoder())

    def process(
        self,
        gathered: tuple[str, Iterable[bytes]],
        cell: Any = beam.DoFn.StateParam(SPEC),  # noqa: B008
    ) -> None:
        _, inbox = gathered
        cell.write((cell.read() or b"") + b"".join(inbox))


def _keyed(received: Received) -> tuple[str, bytes]:
    return orjson.loads(received.payload)["userId"], received.payload


_COUNTS = ReportedCounts()


def bare(step: str, subscription: str, options: Any) -> None:
    with prism.started(options):
        pipeline = beam.Pipeline(options=options)
        received = pipeline | "Read" >> ReadPubSub(subscription, native=False)
        if step == "drop":
            _ = received | "Drop" >> beam.ParDo(_DropFn())
        else:
            keyed = received | "Key" >> beam.Map(_keyed).with_output_types(tuple[str, bytes])
            gathered = (
                keyed
                | "Window" >> windows.arrival(windows.Arrival(_LONG_WINDOW_S, lateness=_LONG_WINDOW_S))
                | "Gather" >> beam.GroupByKey()
            )
            _ = gathered | "Global" >> windows.everything() | "State" >> beam.ParDo(_StateFn())
        pipeline.run().wait_until_finish()
    Subscriber.close()


def rate(step: str, subscription: str, count: int, folder: str) -> float:
    """Messages a second: of `drop` and `job` while they are read, the first and last twentieth aside; of the others
    while their windows fire, which is from when all is read."""
    marks: dict[str, tuple[float, int]] = {}
    is_bare = step in ("drop", "state")
    end = Subscriber.stop if is_bare else stop

    def watch() -> None:
        for mark, share in (("first", 0.05), ("last", 0.95), ("all", 1.0)):
            while _COUNTS.messages < share * count:
                time.sleep(_LOOK_S)
            marks[mark] = time.monotonic(), _COUNTS.messages
        end()

    threading.Thread(target=watch, daemon=True).start()
    arguments = [
        f"--input_subscription={subscription}",
        f"--warehouse=duckdb:///{folder}/warehouse.duckdb",
        f"--alias_window={_LONG_WINDOW_S}",
    ]
    settings, options = parse(arguments)
    with metrics.observed_by(_COUNTS):
        if is_bare:
            bare(step, subscription, options)
        else:
            run(settings, options, "")
    if step in ("state", "identify"):
        return count / (time.monotonic() - marks["all"][0])
    (began, few), (ended, many) = marks["first"], marks["last"]
    return (many - few) / (ended - began)


def follow(place: str, seconds: float, folder: str) -> None:
    """Runs the job with the default window, and prints a sample each second, and at last how long it took to end."""
    began = time.monotonic()

    def look() -> None:
        while time.monotonic() < began + seconds:
            time.sleep(1)
            memory, runner = _memory(os.getpid()), sum(map(_memory, _below(os.getpid())))
            sample = (time.monotonic() - began, _COUNTS.messages, (_COUNTS.lag_ms() or 0) / 1000, memory, runner)
            print(json.dumps(sample))
            sys.stdout.flush()
        stop()

    threading.Thread(target=look, daemon=True).start()
    source = "directory" if place.startswith("/") else "subscription"
    arguments = [f"--input_{source}={place}", f"--warehouse=duckdb:///{folder}/warehouse.duckdb"]
    with metrics.observed_by(_COUNTS):
        run(*parse(arguments), "")
    print(json.dumps({"drain": time.monotonic() - began - seconds}))


def _memory(process: int) -> int:
    """Bytes of a process that are in memory; 0 where it has ended."""
    sizes = _text(Path(f"/proc/{process}/statm")).split()
    return int(sizes[1]) * os.sysconf("SC_PAGE_SIZE") if sizes else 0


def _below(process: int) -> Iterator[int]:
    """Every process that a process has started, directly or not, and that is there."""
    for children in Path(f"/proc/{process}/task").glob("*/children"):
        for child in map(int, _text(children).split()):
            yield child
            yield from _below(child)


def _text(file: Path) -> str:
    """What stands in a file of a process or a thread; nothing where that has ended."""
    try:
        return file.read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def main(step: str, place: str, number: str, *same_people: str) -> None:
    if step == "publish":
        lines = endless(new_people=not same_people)
        if place.startswith("/"):
            write_files(Path(place), lines, float(number), threading.Event())
        else:
            publish(place, lines, float(number))
        return
    with tempfile.TemporaryDirectory() as folder:
        if step == "follow":
            follow(place, float(number), folder)
        else:
            print(rate(step, place, int(number), folder))


if __name__ == "__main__":
    main(*sys.argv[1:])
