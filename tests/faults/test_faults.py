"""Faults, once; ten times each: `make faults`."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from tests.faults import faults, receiver
from tests.faults.faults import Case

CASES = [case for case in (*faults.CASES, *receiver.CASES) if case.is_test]


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    """A job keeps what is loaded from being collected, which is for a process that runs one."""
    yield
    gc.unfreeze()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_nothing_is_lost_and_nothing_counts_twice(case: Case, tmp_path: Path) -> None:
    with case.into(tmp_path) as stream:
        case.fault(stream, Random(case.name))
        stream.check()
