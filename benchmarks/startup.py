"""What `make run` takes from start to end, over `python -c "import apache_beam"`; `python -m benchmarks.startup`."""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path
from typing import Final

from benchmarks.processes import run
from benchmarks.results import Figure, table

GOAL: Final = 1.5
_ROUNDS: Final = 5
_EXAMPLES: Final = Path(__file__).parents[1] / "examples"


def figure() -> Figure:
    """The ratio of seconds, the median of rounds in turn."""
    ratios = []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(_ROUNDS):
            least = run("benchmarks.import_beam").seconds
            examples = (f"--input={_EXAMPLES / 'events.jsonl'}", f"--connections={_EXAMPLES / 'connections.yaml'}")
            job = run("pipeline", *examples, f"--warehouse=duckdb:///{folder}/{number}.duckdb")
            ratios.append(job.seconds / least)
    name = "make run: time over that of import apache_beam"
    return Figure(name=name, unit="times", by_shape={"examples/events.jsonl": statistics.median(ratios)}, goal=GOAL)


if __name__ == "__main__":
    print(table([figure()]))
