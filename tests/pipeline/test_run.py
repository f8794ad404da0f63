"""What a job changes in its process, it gives back."""

from __future__ import annotations

import gc
import sys

import pytest

from pipeline import run


def fail_in_a_job() -> None:
    with run._interpreter_for_jobs():
        assert gc.get_freeze_count()
        raise ZeroDivisionError


def test_the_interpreter_is_as_it_was_after_a_job_that_failed() -> None:
    before = gc.get_threshold(), sys.getswitchinterval()
    with pytest.raises(ZeroDivisionError):
        fail_in_a_job()
    assert (gc.get_threshold(), sys.getswitchinterval()) == before
    assert not gc.get_freeze_count()
