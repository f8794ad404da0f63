"""Calls of every kind of sender become columns, which takes a fifth of the time of reading them one by one."""

from __future__ import annotations

import itertools

import msgspec
import pytest

from benchmarks import shapes
from benchmarks.senders import CHANGES, Change
from transforms import ordinary_events, ordinary_identity_calls
from transforms.core.connections import DEFAULT
from transforms.core.reader import Reader
from transforms.ordinary_calls import decoded

CALLS = 100


@pytest.mark.parametrize("shape", [*shapes.GENERATORS])
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_no_event_is_read_by_itself(change: Change, shape: str) -> None:
    calls = map(msgspec.json.decode, itertools.islice(shapes.lines(shape, CALLS), CALLS))
    messages = [msgspec.json.encode(change(call)) for call in calls]
    assert len(ordinary_events.read(Reader.of(DEFAULT), messages, decoded(messages)).indexes) == CALLS


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_no_identity_call_is_read_by_itself(change: Change) -> None:
    calls = map(msgspec.json.decode, itertools.islice(shapes.lines(shapes.IDENTIFIES, CALLS), CALLS))
    messages = [msgspec.json.encode(change(call)) for call in calls]
    read = ordinary_identity_calls.read(Reader.of(DEFAULT), messages, decoded(messages))
    assert len(read.indexes) == CALLS
