"""What a job changes in its process, it gives back."""

from __future__ import annotations

import gc
import sys

import pytest

from pipeline import run


def test_the_interpreter_is_as_it_was_after_a_job_that_failed() -> None:
    before = gc.get_threshold(), sys.getswitchinterval(), gc.get_freeze_count()
    with pytest.raises(ZeroDivisionError), run._interpreter_for_jobs():
        assert gc.get_threshold() != before[0]
        assert gc.get_freeze_count()
        raise ZeroDivisionError
    assert (gc.get_threshold(), sys.getswitchinterval()) == before[:2]
    assert not gc.get_freeze_count()
