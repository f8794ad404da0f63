"""Each fault once; ten times each: `make faults`."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from tests.faults.faults import FAULTS, Fault
from tests.streaming import Stream


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    """A job keeps what is loaded from being collected, which is for a process that runs one."""
    yield
    gc.unfreeze()


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_nothing_is_lost_and_nothing_counts_twice(fault: Fault, tmp_path: Path) -> None:
    stream = Stream(tmp_path)
    fault(stream, Random(fault.__name__))
    stream.check()
