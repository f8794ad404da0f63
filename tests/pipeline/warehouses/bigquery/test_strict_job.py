"""A whole job on a BigQuery that is as unkind as it may be leaves what the replay says."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any
from unittest import mock

import pytest

from judge import replay
from pipeline.warehouses.bigquery.append_stream import AppendStream
from pipeline.warehouses.bigquery.news import News
from tests import warehouse
from tests.bigquery_double import BigQueryDouble
from tests.bigquery_double.strictness import RowErrors, Strictness
from tests.fuzz.whole_job import run_jobs, side_by_side
from tests.histories import CONFIGS, Message, line

UNWANTED = "unwanted by this server"
NUMBERS = (67.174118, 1760509016.282637, 0.2002386475503002, 1.5)
CASES: list[tuple[str, Strictness, dict[str, Any], str]] = [
    ("names some bad rows", Strictness(unwanted=UNWANTED), {"named_row_errors": 1}, "INVALID_ARGUMENT"),
    ("names no bad row", Strictness(RowErrors.UNNAMED, unwanted=UNWANTED), {}, "INVALID_ARGUMENT"),
    ("ends the call at a bad row", Strictness(RowErrors.END, unwanted=UNWANTED), {}, "INVALID_ARGUMENT"),
    ("takes numbers as it writes them", Strictness(exact_numbers=True), {}, "INVALID_ARGUMENT"),
    ("and names no row", Strictness(RowErrors.END, exact_numbers=True, unwanted=UNWANTED), {}, "INVALID_ARGUMENT"),
    ("does not know new tables", Strictness(unknown_for=3), {}, "PERMISSION_DENIED"),
    ("has a connection a table", Strictness(RowErrors.END, connections=7, unwanted=UNWANTED), {}, "INVALID_ARGUMENT"),
    ("is slow", Strictness(latency_s=0.05), {}, "OK"),
    (
        "takes small requests",
        Strictness(RowErrors.END, unwanted=UNWANTED),
        {"request_limit": 9_000},
        "INVALID_ARGUMENT",
    ),
]
"""What the server does, how it is made to, and an outcome of appends that this must have."""


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    news = News(first_pause_s=0.01, longest_pause_s=0.05)
    for module in ("catalog", "queries", "read_session"):
        monkeypatch.setattr(f"pipeline.warehouses.bigquery.{module}.NEWS", news)
    yield
    AppendStream.close_all()


def messages_and_refused(rng: Random) -> tuple[list[Message], list[Message]]:
    """Histories with numbers that an exact parse refuses, and events and calls that the server does not want."""
    messages = side_by_side(rng, 6)
    for message in messages:
        for name in ("properties", "traits"):
            if isinstance(message.get(name), dict):
                message[name]["amount"] = rng.choice(NUMBERS)
    at = {"timestamp": "2023-11-14T22:13:20Z", "receivedAt": "2023-11-14T22:14:01Z", "projectId": "s1"}
    refused: list[Message] = [
        {
            "messageId": f"bad-{number}",
            "type": "track",
            "event": "E",
            "userId": "0-p0",
            "properties": {"a": UNWANTED},
            **at,
        }
        for number in range(12)
    ]
    refused += [
        {"messageId": f"bad-call-{number}", "type": "identify", "userId": "0-p0", "traits": {"a": UNWANTED}, **at}
        for number in range(3)
    ]
    return messages, refused


@pytest.mark.parametrize(("name", "strictness", "options", "outcome"), CASES, ids=[name for name, *_ in CASES])
def test_the_tables_are_those_of_the_replay(
    name: str, strictness: Strictness, options: dict[str, Any], outcome: str, tmp_path: Path
) -> None:
    rng = Random(name)
    messages, refused = messages_and_refused(rng)
    if strictness.unwanted is None:
        refused = []
    sent = [*messages, *refused]
    rng.shuffle(sent)
    config = CONFIGS["mixed"]
    with (
        BigQueryDouble(strictness=replace(strictness), **options) as bigquery,
        mock.patch.dict(os.environ, bigquery.environment),
    ):
        run_jobs(rng, sent, config, tmp_path, 2 if strictness.unknown_for else 1, "bigquery://acme-data/strict")
        found = warehouse.bigquery_tables(bigquery, "acme-data.strict")
        assert outcome in {append.outcome for append in bigquery.requests.appends}
        assert bigquery.requests.most_open <= (strictness.connections or 9) + 1, "one more is opened, and refused"
    judged = replay(map(line, messages), config)
    letters = [*judged.dead_letters, *(("invalid_field", line(message)) for message in refused)]
    assert warehouse.differences(found, replace(judged, dead_letters=sorted(letters))) == []
