"""Parse: every message ends as calls, dead letters or counts."""

from __future__ import annotations

import apache_beam as beam
from apache_beam.testing.test_pipeline import TestPipeline
from apache_beam.testing.util import assert_that, equal_to

from tests.histories import line
from tests.transforms.core.calls import DELETE, IDENTIFY, PAGE, without
from transforms import metrics
from transforms.core.connections import Connection, Connections, Router
from transforms.core.reader import Reader, Received
from transforms.parse import Parse, ParseHistory

CONNECTIONS = Connections(connections=(Connection("site", ("s1",)), Connection("rest")))
READER = Reader(Router(CONNECTIONS), ("Variance",))
DISABLED = {**PAGE, "integrations": {"All": False}}

MESSAGES = [
    line(PAGE),
    line([{**IDENTIFY, "messageId": "i"}, {**PAGE, "type": "sing"}, {**PAGE, "messageId": "p", "projectId": "s1"}]),
    line({"batch": [DISABLED, without(PAGE, "userId")]}),
    b"[]",
    b'{"batch":[]}',
    b"{",
]


def test_messages_become_calls_and_dead_letters_and_every_call_read_is_counted() -> None:
    pipeline = TestPipeline(runner="FnApiRunner")
    received = pipeline | beam.Create(MESSAGES) | beam.Map(Received, {"file": "f"})
    parsed = received | Parse(READER)
    calls = parsed[Parse.CALLS] | "Call" >> beam.Map(lambda call: (call.type, call.message_id, call.connection.name))
    refused = parsed[Parse.DEAD_LETTERS] | "Row" >> beam.Map(
        lambda append: (append.row.reason, append.row.message_id, bytes(append.row.attributes), append.outcome)
    )
    assert_that(calls, equal_to([("page", "m", "rest"), ("identify", "i", "rest"), ("page", "p", "site")]), "Calls")
    attributes = b'{"file":"f"}'
    assert_that(
        refused,
        equal_to(
            [
                ("unsupported_type", "m", attributes, None),
                ("missing_id", "m", attributes, None),
                ("invalid_json", None, attributes, None),
            ]
        ),
        "Refused",
    )
    result = pipeline.run()
    assert metrics.counts(result.metrics()) == {
        metrics.READ.name: 7,
        metrics.TYPES.of("page"): 3,
        metrics.TYPES.of("identify"): 1,
        metrics.OUTCOMES.of("disabled"): 1,
        metrics.OUTCOMES.of("dead_letter"): 3,
        metrics.DEAD_LETTERS.of("unsupported_type"): 1,
        metrics.DEAD_LETTERS.of("missing_id"): 1,
        metrics.DEAD_LETTERS.of("invalid_json"): 1,
        metrics.EMPTY.name: 2,
    }


def test_of_history_the_calls_go_on_and_everything_else_is_counted() -> None:
    log = [
        Received(line(IDENTIFY), connection="site"),
        Received(line({**IDENTIFY, "projectId": "s1"}), connection="gone"),
        Received(line({**DELETE, "integrations": {"Variance": False}}), connection="rest"),
        Received(line(without(IDENTIFY, "userId")), connection="rest"),
    ]
    pipeline = TestPipeline(runner="FnApiRunner")
    calls = pipeline | beam.Create(log) | ParseHistory(READER) | beam.Map(lambda call: call.connection.name)
    assert_that(calls, equal_to(["site", "gone"]))
    result = pipeline.run()
    assert metrics.counts(result.metrics()) == {
        metrics.HISTORY.name: 4,
        metrics.UNKNOWN_CONNECTIONS.name: 1,
        metrics.UNREADABLE_HISTORY.of("disabled"): 1,
        metrics.UNREADABLE_HISTORY.of("missing_id"): 1,
    }
