"""What MetricFlow, dbt's engine of metrics, answers: its own command `mf query`, for many queries in one process.

In dbt's environment, in a folder of a dbt project whose `target` has the semantic manifest: `python metric_answers.py
FILE QUERIES` writes into FILE, as a JSON array, what each query prints, or its CSV file. QUERIES is a JSON array of the
queries' options, each an array. BigQuery is not asked: with `--explain` a query prints its SQL.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
from pathlib import Path

from bigquery_statements import Recorded  # type: ignore[import-not-found]
from dbt_metricflow.cli.cli_configuration import CLIConfiguration
from dbt_metricflow.cli.main import query

CSV = Path("answer.csv")
"""In the current folder."""


def answer(configuration: CLIConfiguration, options: list[str]) -> str:
    """Raises SystemExit where MetricFlow refuses the query, after its words."""
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed):
            query.main(options, obj=configuration, standalone_mode=False)
    except SystemExit as exit_:
        if exit_.code:
            sys.exit(f"mf query {' '.join(options)}\n{printed.getvalue()}")
    if f"--csv={CSV}" not in options:
        return printed.getvalue()
    text = CSV.read_text("utf-8") if CSV.exists() else ""  # it writes none where there is no row
    CSV.unlink(missing_ok=True)
    return text


def main(file: str, queries: str) -> int:
    """Returns 0."""
    Recorded({}).take_place()
    configuration = CLIConfiguration()
    answers = [answer(configuration, options) for options in json.loads(queries)]
    Path(file).write_text(json.dumps(answers), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
