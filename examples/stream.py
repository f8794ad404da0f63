"""Shows a job that goes on: `make stream`.

Writes the sample into a directory at a steady rate, a file at a time, runs the job on it into `stream.duckdb`, prints
the tables as they grow, and ends when all is written or at Ctrl-C. With `--emulator` the messages go through Pub/Sub's
emulator instead, unless `PUBSUB_EMULATOR_HOST` names one that runs.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import duckdb

from examples import emulator
from pipeline.__main__ import main as segment_pipeline
from pipeline.progress import ReportedCounts
from pipeline.run import stop
from pipeline.warehouses.duckdb.database import Database
from transforms import metrics

SAMPLE = Path(__file__).with_name("events.jsonl")
TOPIC = "projects/larkspur-demo/topics/segment-calls"
SUBSCRIPTION = "projects/larkspur-demo/subscriptions/segment-calls"
TABLES = ("events", "identity_calls", "contacts", "accounts", "identities", "memberships", "dead_letters")
QUERY = """
SELECT account.name, account.plan, count(DISTINCT event.external_id) AS people, count(*) AS events
FROM events_resolved AS event
JOIN accounts_resolved AS account ON account.account_id = event.account_id
GROUP BY ALL
ORDER BY events DESC, name
LIMIT 5
"""
HEADINGS = (
    ("", "", "", "identity", "", "", "", "", "dead"),
    ("sec.", "messages", "events", "calls", "contacts", "accounts", "identities", "memberships", "letters"),
)
_WIDTHS = (4, 9, 8, 9, 9, 9, 11, 12, 8)
_LOOK_S = 2.0
_WINDOWS = 2
"""So many windows after the last message was read its rows are written."""
_FILE_S = 1.0
"""How long messages gather in a file before it is complete."""

Publish = Callable[[Sequence[bytes], float, threading.Event], object]
"""Publishes lines, so many a second, until all are published or the event is set."""


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="make stream", description=__doc__)
    parser.add_argument("--rate", type=float, default=100.0, help="messages a second (default: 100)")
    parser.add_argument("--alias_window", type=float, default=5.0, help="seconds (default: 5)")
    parser.add_argument("--warehouse", type=Path, default=Path("stream.duckdb"), help="made anew: stream.duckdb")
    parser.add_argument("--emulator", action="store_true", help="through Pub/Sub's emulator, which needs Java")
    options = parser.parse_args(argv)
    file = options.warehouse.absolute()
    for old in (file, file.with_name(f"{file.name}.wal")):
        old.unlink(missing_ok=True)
    try:
        with _subscription() if options.emulator else _directory() as (source, publish_lines):
            status = _job(source, publish_lines, file, options.rate, options.alias_window)
    except emulator.MissingError as missing:
        print(f"make stream: {missing}", file=sys.stderr)
        return 2
    if status == 0:
        print(f"\nThe most active accounts:\n{QUERY}")
        with duckdb.connect(str(file), read_only=True) as connection:
            print(connection.sql(QUERY))
    return status


@contextlib.contextmanager
def _directory() -> Iterator[tuple[str, Publish]]:
    """(the job's option, what publishes to it) of a directory that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="segment-calls-") as folder:
        print(f"Files come into {folder}, a second's messages each")

        def publish_lines(lines: Sequence[bytes], rate: float, ended: threading.Event) -> None:
            write_files(Path(folder), lines, rate, ended)

        yield f"--input_directory={folder}", publish_lines


def write_files(folder: Path, lines: Iterable[bytes], rate: float, ended: threading.Event) -> None:
    """Writes lines into files as a receiver does: a file is complete when it has its name."""
    waiting = iter(lines)
    for number in itertools.count():
        batch = list(itertools.islice(waiting, max(1, round(rate * _FILE_S))))
        if not batch or ended.wait(_FILE_S):
            return
        unfinished = folder / f"{number:08}.part"
        unfinished.write_bytes(b"".join(line + b"\n" for line in batch))
        unfinished.rename(folder / f"{number:08}.jsonl")


@contextlib.contextmanager
def _subscription() -> Iterator[tuple[str, Publish]]:
    """(the job's option, what publishes to it) of a subscription of the emulator that the environment names, or of one
    of our own."""
    from examples import publish  # needs Google's clients

    with contextlib.ExitStack() as running:
        if emulator.HOST not in os.environ:
            os.environ[emulator.HOST] = running.enter_context(emulator.started())
        print(f"Pub/Sub's emulator is at {emulator.HOST}={os.environ[emulator.HOST]}")
        publish.create(TOPIC, SUBSCRIPTION)

        def publish_lines(lines: Sequence[bytes], rate: float, ended: threading.Event) -> None:
            publish.publish(TOPIC, lines, rate, ended)

        yield f"--input_subscription={SUBSCRIPTION}", publish_lines


def _job(source: str, publish_lines: Publish, file: Path, rate: float, window_s: float) -> int:
    """Runs the job while messages are published; returns its exit status."""
    ended = threading.Event()
    counts = ReportedCounts()
    lines = SAMPLE.read_bytes().splitlines()
    publisher = threading.Thread(target=publish_lines, args=(lines, rate, ended))
    watcher = threading.Thread(target=_watch, args=(counts, file, len(lines), window_s, ended))
    publisher.start()
    watcher.start()
    try:
        with metrics.observed_by(counts):
            return segment_pipeline(
                [
                    source,
                    f"--connections={Path(__file__).with_name('connections.yaml')}",
                    f"--warehouse=duckdb:///{file}",
                    f"--alias_window={window_s:g}",
                ]
            )
    finally:
        ended.set()
        watcher.join()
        publisher.join()


def table_line(values: Iterable[object]) -> str:
    """One line of the table, as wide as a terminal at the most."""
    return "".join(f"{value:>{width}}" for value, width in zip(values, _WIDTHS, strict=True))


def _watch(counts: ReportedCounts, file: Path, published: int, window_s: float, ended: threading.Event) -> None:
    """Prints how many rows there are, and has the job stop when all has been written."""
    print("\n".join(map(table_line, HEADINGS)), flush=True)
    started = time.monotonic()
    last = None
    while not ended.wait(_LOOK_S):
        if rows := Database.row_counts(str(file), TABLES):
            shown = (round(time.monotonic() - started), counts.messages, *rows)
            print(table_line(f"{count:,}" for count in shown), flush=True)
        if last is None and counts.messages >= published:
            last = time.monotonic()
        if last is not None and time.monotonic() > last + _WINDOWS * window_s:
            stop()
            return


if __name__ == "__main__":
    sys.exit(main())
