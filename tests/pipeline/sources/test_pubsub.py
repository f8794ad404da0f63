"""A subscription as the source, on the real emulator and Prism: however messages come, the tables are the replay's."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from random import Random

import pytest

from tests.histories import Alphabet, Message, deal, history
from tests.streaming import Stream, shuffled

PEOPLE = Alphabet(ids=(*(f"p{number}" for number in range(12)), "p@initech.com"), seconds=30)


@pytest.fixture
def stream(tmp_path: Path) -> Stream:
    return Stream(tmp_path)


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    """A job keeps what is loaded from being collected, which is for a process that runs one."""
    yield
    gc.unfreeze()


def marker(number: int) -> Message:
    """An identify whose contact shows that the window of what came with it has been written."""
    return {"type": "identify", "messageId": f"marker-{number}", "timestamp": 0, "userId": f"marker-{number}"}


def test_random_histories_over_several_windows_come_to_the_replay(stream: Stream) -> None:
    rng = Random(1)
    messages = history(rng, 120, PEOPLE)
    with stream.job() as job:
        for number, part in enumerate(deal(rng, messages, 4)):
            stream.publish(shuffled(rng, [*part, marker(number)]))
            shown = f"external_id = 'marker-{number}'"
            job.wait_until("its window is written", partial(job.count, "contacts", shown))
        job.wait_for_all()
    assert job.error is None
    stream.check()
