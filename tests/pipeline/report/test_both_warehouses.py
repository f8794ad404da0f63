"""A report on BigQuery shows what one on DuckDB does, by one job's input."""

from __future__ import annotations

import os
from pathlib import Path
from unittest import mock

from pipeline.options import parse
from pipeline.report.figures import Choice, gather
from pipeline.report.page import page
from pipeline.run import run
from pipeline.warehouses import open_warehouse
from tests.bigquery_double import BigQueryDouble
from tests.page_text import Page
from tests.pipeline.report.test_figures import NOW, figures_of, spread, warehouse

CHOICE = Choice(funnel=("Signed Up", "Paid"))
APART = {"freshness", "lag", "jobs", "dead_letter_examples"}
"""What tells when rows were written, and letters that BigQuery may hold twice."""


def test_the_same_numbers(tmp_path: Path) -> None:
    url = "bigquery://acme-data/segment"
    in_file = figures_of(warehouse(tmp_path, spread(3, 60)), CHOICE)
    with BigQueryDouble() as double, mock.patch.dict(os.environ, double.environment):
        run(*parse([f"--input={tmp_path}/calls.jsonl", f"--warehouse={url}"]), "")
        with open_warehouse(url).contents() as contents:
            in_bigquery = gather(contents, CHOICE, NOW)
    assert in_bigquery.period == in_file.period
    for name in set(in_file.answers) - APART:
        assert _rows(in_bigquery.rows(name)) == _rows(in_file.rows(name)), name
    assert "What looks suspicious" in Page(page(in_bigquery, url)).texts


def _rows(rows: object) -> list[str]:
    """The rows without when dead letters were written, and which was the newest."""
    assert isinstance(rows, list)
    of_writing = ("newest_at", "dead_letter_id")
    return sorted(str([value for name, value in row.items() if name not in of_writing]) for row in rows)
