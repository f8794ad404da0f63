"""All figures that have goals (a quarter of an hour on two cores).

python -m benchmarks                  prints all; the first table, JSON and a plot go into benchmarks/data/results
python -m benchmarks --input=FILE     those by shape on your own file alone: one call a line
python -m benchmarks --output=FOLDER  writes them there
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from benchmarks import (
    bigquery_sink,
    heavy_windows,
    identity,
    many_ids,
    message_path,
    receiver,
    results,
    scale,
    shapes,
    startup,
    whole_job,
)
from benchmarks.results import Figure

T = TypeVar("T")


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, default=shapes.FOLDER / "results", metavar="FOLDER")
    options = shapes.parsed_with_own_file(parser)
    figures = _measured(options.input)
    results.write(figures, options.output)
    print(results.table(figures))
    print(f"Also in {options.output}: results.json, results.md, results.svg", flush=True)
    if options.input is None:
        _print_others()


def _measured(own: Path | None) -> list[Figure]:
    """The figures of the table; of a user's own file those by shape."""
    parts: dict[str, Callable[[], list[Figure]]] = {
        "bytes to rows": lambda: message_path.figures(own),
        "whole job": lambda: whole_job.figures(own),
    }
    if own is None:
        parts |= {
            "memory": lambda: [whole_job.memory()],
            "start": lambda: [startup.figure()],
            "time": lambda: [heavy_windows.figure()],
            "people": many_ids.figures,
        }
    return [figure for name, part in parts.items() for figure in timed(name, part)]


def _print_others() -> None:
    """Prints what has a table of its own."""
    timed("identity", identity.brief)
    timed("BigQuery's sink", bigquery_sink.main)
    timed("scale", lambda: scale.main([]))
    if shutil.which("wrk") is None:
        print("The receiver: not measured, since wrk is missing")
        return
    timed("receiver", lambda: receiver.main(["--clients=64"]))
    timed("a job on the receiver", lambda: receiver.main(["job"]))


def timed(name: str, part: Callable[[], T]) -> T:
    """Runs a part, and says on standard error how long it took."""
    started = time.perf_counter()
    result = part()
    print(f"{name}: {time.perf_counter() - started:.0f} s", file=sys.stderr, flush=True)
    return result


if __name__ == "__main__":
    main()
