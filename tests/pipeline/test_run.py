"""What a job changes in its process, it gives back."""

from __future__ import annotations

import gc
import sys

import pytest

from pipeline import run


def fail_in_a_job() -> None:
    with run._interpreter_for_jobs(bounded=True):
        assert gc.isenabled()
        assert gc.get_freeze_count()
        raise ZeroDivisionError


@pytest.mark.parametrize("is_enabled", [True, False])
def test_the_interpreter_is_as_it_was_after_a_job_that_failed(is_enabled: bool) -> None:
    before = gc.get_threshold(), sys.getswitchinterval()
    try:
        if not is_enabled:
            gc.disable()
        with pytest.raises(ZeroDivisionError):
            fail_in_a_job()
        assert gc.isenabled() == is_enabled
    finally:
        gc.enable()
    assert (gc.get_threshold(), sys.getswitchinterval()) == before
    assert not gc.get_freeze_count()
