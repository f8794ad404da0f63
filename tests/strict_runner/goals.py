"""What the whole job is to show on the strict runner: docs/dataflow.md has the figures."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from tests.strict_runner.report import Report

OUTPUT_BYTES: Final = 50_000_000
STATE_BYTES: Final = 1_000_000
ROWS_A_REQUEST: Final = 200
ROWS_A_SECOND: Final = 2_000
"""The rate from which requests are to hold so many rows: at a lower one each shard sends what has come in its time."""
WINDOWS_AHEAD: Final = 3
"""No timer is set further ahead than so many windows, in whole seconds: the one that is open, and two for what is
late."""


def missed(report: Report, *, window_s: float) -> Iterator[str]:
    """The goals that a report misses: a line for each step or table."""
    for step in report.steps:
        if step.largest_output > OUTPUT_BYTES:
            yield f"{step.name}: a work item puts out {step.largest_output:,} bytes: at most {OUTPUT_BYTES:,}"
        if step.largest_key > STATE_BYTES:
            yield f"{step.name}: a key has {step.largest_key:,} bytes of state: at most {STATE_BYTES:,}"
        if int(step.furthest_timer_s) > WINDOWS_AHEAD * window_s:
            yield f"{step.name}: a timer is {step.furthest_timer_s:,.0f} s ahead: at most {WINDOWS_AHEAD} windows"
    for name, requests in report.counts.items():
        table = name.removeprefix("AppendRows requests to ")
        if table == name:
            continue
        rows = report.counts[f"rows to {table}"]
        if rows < ROWS_A_REQUEST * requests and rows >= ROWS_A_SECOND * report.elapsed_s:
            yield f"{table}: {rows / requests:.1f} rows a request: at least {ROWS_A_REQUEST}"
