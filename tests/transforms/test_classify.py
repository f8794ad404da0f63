"""Classify: calls go to the events, to the log and on to the facts; what the log cannot hold is a dead letter."""

from __future__ import annotations

import apache_beam as beam
from apache_beam.testing.test_pipeline import TestPipeline
from apache_beam.testing.util import assert_that, equal_to

from schemas.tables import IdentityCall
from tests.histories import line
from tests.transforms.core.calls import ALIAS, DELETE, GROUP, IDENTIFY, PAGE, SCREEN, TRACK, accepted
from transforms import metrics
from transforms.classify import Classify
from transforms.core.rows import Append, LogEntry

ENGAGE = {"personas": {"computation_class": "trait", "computation_key": "k"}}
TOO_GREAT = line({**IDENTIFY, "messageId": "too great", "traits": {"k": "?"}}).replace(b'"?"', b"1e400")
ENGAGE_TOO_GREAT = line({**TRACK, "messageId": "t", "context": ENGAGE, "properties": {"k": "?"}}).replace(
    b'"?"', b"1e400"
)
MESSAGES = [
    *(line({**message, "messageId": message["type"]}) for message in (PAGE, SCREEN, TRACK, IDENTIFY, GROUP)),
    *(line({**message, "messageId": message["type"]}) for message in (ALIAS, DELETE)),
    line({**TRACK, "messageId": "engage", "context": ENGAGE}),
    TOO_GREAT,
    ENGAGE_TOO_GREAT,
]


def described(append: Append) -> tuple[str, str | None, bool]:
    assert append.message in MESSAGES
    return append.row.message_id, append.outcome, append.attributes == {"k": "v"}  # type: ignore[attr-defined]


def is_row_of_its_call(entry: LogEntry) -> bool:
    row = entry.append.row
    return isinstance(row, IdentityCall) and row.message_id == entry.call.message_id


def refused(append: Append) -> tuple[str, str, str, bytes]:
    row = append.row
    return row.message_id, row.reason, row.connection, row.payload  # type: ignore[attr-defined]


def test_calls_go_where_they_belong_with_their_first_outcome() -> None:
    pipeline = TestPipeline(runner="FnApiRunner")
    calls = pipeline | beam.Create(MESSAGES) | beam.Map(lambda payload: accepted(payload, attributes={"k": "v"}))
    classified = calls | Classify()
    events = [(name, "event", True) for name in ("page", "screen", "track", "engage")]
    logged = [(name, "identity_call", True) for name in ("identify", "group", "alias", "delete")]
    assert_that(classified[Classify.EVENTS] | "Event" >> beam.Map(described), equal_to(events), "Events")
    assert_that(
        classified[Classify.IDENTITY_CALLS] | "Logged" >> beam.Map(lambda entry: described(entry.append)),
        equal_to([*logged, ("engage", None, True)]),
        "IdentityCalls",
    )
    assert_that(
        classified[Classify.IDENTITY_CALLS] | "Same" >> beam.Map(is_row_of_its_call),
        equal_to([True] * (len(logged) + 1)),
        "Calls",
    )
    assert_that(
        classified[Classify.DEAD_LETTERS] | "Row" >> beam.Map(refused),
        equal_to(
            [
                ("too great", "invalid_field", "default", TOO_GREAT),
                ("t", "invalid_field", "default", ENGAGE_TOO_GREAT),
            ]
        ),
        "DeadLetters",
    )
    result = pipeline.run()
    assert metrics.counts(result.metrics()) == {
        metrics.OUTCOMES.of("dead_letter"): 2,
        metrics.DEAD_LETTERS.of("invalid_field"): 2,
    }
