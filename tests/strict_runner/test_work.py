"""What `templates.cost` goes by, from a report."""

from __future__ import annotations

import pytest

from templates.cost import Work
from tests.strict_runner import Report, Rows, StepReport
from tests.strict_runner.work import figures


def step(name: str, received_bytes: int, state_bytes: int, bundles: int = 1) -> StepReport:
    return StepReport(
        name=name,
        labels=(),
        bundles=bundles,
        rows=Rows(bundles=1, total=1, p50=1),
        received_bytes=received_bytes,
        state_bytes=state_bytes,
        largest_output=0,
        largest_cell=0,
        largest_key=0,
        timers=0,
        furthest_timer_s=0,
        repeats=0,
        checkpoints=0,
        late=0,
    )


def test_bytes_are_of_events_or_of_calls() -> None:
    steps = (
        step("ReadPubSub/Read/Give → ParsePubSub", 7, 0),
        step("Deduplicate/Unseen → WriteEvents", 500, 50),
        step("WriteEvents/Append → End", 500, 950, bundles=2),
        step("ResolveIdentities/Person/Gather", 300, 0, bundles=5),
        step("ResolveIdentities/Person/Step/ParDo(PagedFn)", 100, 200, bundles=3),
    )
    counts = {
        "rows to events": 5,
        "bytes to events": 400,
        "rows to identity_calls": 2,
        "bytes to identity_calls": 300,
        "AppendRows requests to identity_calls": 1,
        "rows to contacts": 3,
        "bytes to contacts": 60,
        "rows to accounts": 1,
        "bytes to accounts": 20,
    }
    report = Report(seed=0, elapsed_s=1, steps=steps, transforms={}, counts=counts)
    found = figures(report, [bytes(80), bytes(120)])
    expected = {
        "event_row": 0.8,
        "log_row": 1.5,
        "event_engine": 2.9,
        "deduplicate_engine": 1.1,
        "identity_engine": 300.0,
        "keyed_change": 20.0,
        "keyed_rows_a_call": 2.0,
        "event_items": 0.4,
        "call_items": 4.0,
        "log_rows_a_request": 2.0,
    }
    assert found == pytest.approx(expected)
    assert found.keys() <= Work.__dataclass_fields__.keys()
