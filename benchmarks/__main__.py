"""The figures that have goals, on shapes of calls that differ in what costs time (ten minutes).

python -m benchmarks                  prints the table, and writes it, JSON and a plot into benchmarks/data/results
python -m benchmarks --input=FILE     the same on your own file alone: one call a line
python -m benchmarks --output=FOLDER  writes them there
"""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks import bigquery_sink, message_path, results, shapes, startup, whole_job


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--input", type=Path, metavar="FILE")
    parser.add_argument("--output", type=Path, default=shapes.FOLDER / "results", metavar="FOLDER")
    options = parser.parse_args()
    if options.input is not None and not options.input.is_file():
        parser.error(f"--input={options.input}: there is no such file")
    figures = [*message_path.figures(options.input), *whole_job.figures(options.input)]
    if options.input is None:
        figures += [whole_job.memory(), startup.figure()]
    results.write(figures, options.output)
    print(results.table(figures))
    print(f"Also in {options.output}: results.json, results.md, results.svg")
    if options.input is None:
        bigquery_sink.main()


if __name__ == "__main__":
    main()
