"""What the job does with a message or a call, as `templates.cost.Work` has it, from a report of the whole job."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from tests.strict_runner.report import Report

_REMEMBERED, _APPENDED = "Deduplicate/Unseen", "WriteEvents/Append"
_KEYED: Final = ("contacts", "accounts", "identities", "memberships")


def figures(report: Report, payloads: Sequence[bytes]) -> dict[str, float]:
    """Of a job that has read these messages and no history: fields of `Work` by name."""
    message = sum(map(len, payloads)) / len(payloads)
    events, calls = report.counts["rows to events"], report.counts["rows to identity_calls"]
    rows, bytes_ = (sum(report.counts.get(f"{what} to {table}", 0) for table in _KEYED) for what in ("rows", "bytes"))
    steps = {step.name.partition(" → ")[0]: step for step in report.steps}
    engine = {name: step.received_bytes + step.state_bytes for name, step in steps.items()}
    of_calls = [name for name in steps if name not in (_REMEMBERED, _APPENDED) and "PubSub" not in name]
    return {
        "event_row": report.counts["bytes to events"] / events / message,
        "log_row": report.counts["bytes to identity_calls"] / calls / message,
        "event_engine": engine[_APPENDED] / events / message,
        "deduplicate_engine": engine[_REMEMBERED] / events / message,
        "identity_engine": sum(engine[name] for name in of_calls) / calls,
        "keyed_change": bytes_ / rows,
        "keyed_rows_a_call": rows / calls,
        "event_items": steps[_APPENDED].bundles / events,
        "call_items": sum(steps[name].bundles for name in of_calls) / calls,
        "log_rows_a_request": calls / report.counts["AppendRows requests to identity_calls"],
    }
