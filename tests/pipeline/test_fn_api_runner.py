"""Beam in this process is quick during a job, reads methods as it always does, and is as before after it."""

from __future__ import annotations

import functools
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.coders import VarIntCoder
from apache_beam.runners.worker.statesampler import DEFAULT_SAMPLING_PERIOD_MS, StateSampler
from apache_beam.transforms import core, userstate
from apache_beam.transforms.userstate import ReadModifyWriteStateSpec
from apache_beam.utils.counters import CounterFactory

from pipeline import fn_api_runner

STATE = ReadModifyWriteStateSpec("total", VarIntCoder())
TOTAL: Any = beam.DoFn.StateParam(STATE)


class TotalFn(beam.DoFn):
    def process(self, element: Any, scale: int = 1, total: Any = TOTAL) -> None:
        """Has a state."""

    @classmethod
    def of_class(cls, first: int, second: int = 2) -> None:
        """Is bound to a class."""

    @staticmethod
    def of_none(first: int, second: int = 2) -> None:
        """Is bound to nothing."""

    def of_any(self, *elements: int, third: int = 3, **others: int) -> None:
        """Has no argument that Beam asks for."""


class ScaledFn(TotalFn):
    def process(self, element: Any, scale: int = 2, total: Any = None) -> None:
        """Has none."""


def fail() -> None:
    with fn_api_runner.quick():
        assert StateSampler("step", CounterFactory()).sampling_period_ms == fn_api_runner._SAMPLE_MS
        raise ZeroDivisionError


def test_beam_is_as_before_after_a_job_that_failed() -> None:
    before = core.get_function_args_defaults, userstate.get_dofn_specs
    with pytest.raises(ZeroDivisionError):
        fail()
    assert StateSampler("step", CounterFactory()).sampling_period_ms == DEFAULT_SAMPLING_PERIOD_MS
    assert (core.get_function_args_defaults, userstate.get_dofn_specs) == before


@pytest.mark.parametrize(
    "function",
    [
        *(getattr(fn, name) for fn in (TotalFn(), ScaledFn()) for name in ("process", "of_class", "of_none", "of_any")),
        *(
            TotalFn().setup,
            TotalFn.process,
            TotalFn.of_class,
            len,
            functools.partial(max, 1),
            lambda first, second=2: 0,
        ),
    ],
)
def test_the_arguments_of_a_function_are_what_beam_reads(function: Any) -> None:
    expected = core.get_function_args_defaults(function)
    with fn_api_runner.quick():
        for _ in range(2):
            names, defaults = core.get_function_args_defaults(function)
            assert (names, defaults) == expected
            names.clear()
            defaults.clear()


def test_each_step_has_its_own_states() -> None:
    with fn_api_runner.quick():
        for _ in range(2):
            assert userstate.get_dofn_specs(TotalFn()) == ({STATE}, set())
            assert userstate.get_dofn_specs(ScaledFn()) == (set(), set())


def test_a_dofn_is_inspected_once() -> None:
    fn = TotalFn()
    with fn_api_runner.quick():
        assert userstate.get_dofn_specs(fn) is userstate.get_dofn_specs(fn)


def test_a_method_is_inspected_once(monkeypatch: pytest.MonkeyPatch) -> None:
    inspected: list[str] = []

    def inspect(function: Any) -> fn_api_runner.Arguments:
        inspected.append(function.__name__)
        return [], []

    monkeypatch.setattr(core, "get_function_args_defaults", inspect)
    with fn_api_runner.quick():
        for _ in range(3):
            core.get_function_arguments(TotalFn(), "process")
            core.get_function_arguments(ScaledFn(), "setup")
            core.get_function_arguments(TotalFn(), "setup")
    assert inspected == ["process", "setup"]
