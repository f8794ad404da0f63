"""What the job does with a message or a call, as `templates.cost.Work` has it, from a report of the whole job."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from tests.strict_runner.report import Report

_OF_EVENTS: Final = ("Deduplicate/Unseen", "WriteEvents/Append")
_KEYED: Final = ("contacts", "accounts", "identities", "memberships")


def figures(report: Report, payloads: Sequence[bytes]) -> dict[str, float]:
    """Of a job that has read these messages and no history: fields of `Work` by name."""
    message = sum(map(len, payloads)) / len(payloads)
    events, calls = report.counts["rows to events"], report.counts["rows to identity_calls"]
    rows, bytes_ = (sum(report.counts.get(f"{what} to {table}", 0) for table in _KEYED) for what in ("rows", "bytes"))
    engine = {step.name.partition(" → ")[0]: step.received_bytes + step.state_bytes for step in report.steps}
    engine_of_events = sum(engine[name] for name in _OF_EVENTS)
    engine_of_calls = sum(size for name, size in engine.items() if name not in _OF_EVENTS and "PubSub" not in name)
    return {
        "event_row": report.counts["bytes to events"] / events / message,
        "log_row": report.counts["bytes to identity_calls"] / calls / message,
        "event_engine": engine_of_events / events / message,
        "identity_engine": engine_of_calls / calls,
        "keyed_change": bytes_ / rows,
        "keyed_rows_a_call": rows / calls,
    }
