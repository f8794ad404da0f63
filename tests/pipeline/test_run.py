"""What a job changes in its process, it gives back."""

from __future__ import annotations

import gc
import sys

import pytest
from apache_beam.runners.worker.statesampler import DEFAULT_SAMPLING_PERIOD_MS, StateSampler
from apache_beam.utils.counters import CounterFactory

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


def fail_between_looks() -> None:
    with run._short_samples():
        assert StateSampler("step", CounterFactory()).sampling_period_ms == run._SAMPLE_MS
        raise ZeroDivisionError


def test_beam_looks_as_often_as_before_after_a_job_that_failed() -> None:
    with pytest.raises(ZeroDivisionError):
        fail_between_looks()
    assert StateSampler("step", CounterFactory()).sampling_period_ms == DEFAULT_SAMPLING_PERIOD_MS
