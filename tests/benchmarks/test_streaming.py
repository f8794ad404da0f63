"""Each pipeline on a subscription that is measured ends by itself, and prints its rate."""

from __future__ import annotations

import os

import pytest

from benchmarks import streaming
from pipeline.sources.subscriber import EMULATOR
from tests import prism, pubsub_emulator
from tests.histories import line
from tests.transforms.core.calls import IDENTIFY

PEOPLE = [line({**IDENTIFY, "messageId": f"m{number}", "userId": f"u{number}"}) for number in range(3_000)]


@pytest.mark.parametrize("step", ["drop", "job", "state", "identify"])
def test_a_step_ends_and_prints_its_rate(step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    prism.require()
    monkeypatch.setenv(EMULATOR, pubsub_emulator.host())
    assert streaming.measured(step, f"{step}-{os.getpid()}", PEOPLE) > 0
