"""The quicker Beam gives what Beam gives."""

from __future__ import annotations

import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
from apache_beam import coders
from apache_beam.options.pipeline_options import (
    DebugOptions,
    GoogleCloudOptions,
    PipelineOptions,
    StandardOptions,
    WorkerOptions,
)
from apache_beam.runners.portability.stager import SUBMISSION_ENV_DEPENDENCIES_FILE, Stager
from apache_beam.transforms import userstate

from tests import quicker_beam

STATE = userstate.BagStateSpec("bag", coders.BytesCoder())
TIMER = userstate.TimerSpec("timer", beam.TimeDomain.WATERMARK)
BAG_PARAM, TIMER_PARAM = beam.DoFn.StateParam(STATE), beam.DoFn.TimerParam(TIMER)


class _KeepingFn(beam.DoFn):
    def process(self, element: Any, bag: Any = BAG_PARAM, timer: Any = TIMER_PARAM) -> Iterator[Any]:
        yield element


class _BagFn(beam.DoFn):
    def process(self, element: Any, bag: Any = BAG_PARAM) -> Iterator[Any]:
        yield element


class _PlainFn(beam.DoFn):
    def process(self, element: Any) -> Iterator[Any]:
        yield element


def test_the_states_and_timers_of_a_class_are_those_that_beam_finds() -> None:
    for _ in range(2):
        assert quicker_beam.dofn_specs(_KeepingFn()) == ({STATE}, {TIMER})
        assert quicker_beam.dofn_specs(_PlainFn()) == (set(), set())
    quicker_beam.dofn_specs(_KeepingFn())[0].clear()
    assert userstate.get_dofn_specs(_KeepingFn()) == ({STATE}, {TIMER})


def test_a_dofn_with_a_method_of_its_own_is_looked_at() -> None:
    quicker_beam.dofn_specs(_PlainFn())
    other = _PlainFn()
    other.process = types.MethodType(_KeepingFn.process, other)  # type: ignore[method-assign]
    assert quicker_beam.dofn_specs(other) == ({STATE}, {TIMER})


@pytest.mark.parametrize("keeping", [False, True])
def test_a_dofn_that_calls_a_function_is_as_beam_takes_it(keeping: bool) -> None:
    def with_bag(element: Any, bag: Any = BAG_PARAM) -> list[Any]:
        return [element]

    function = with_bag if keeping else (lambda element: [element])
    for callable in (function, _BagFn().process if keeping else _PlainFn().process):
        dofn = beam.FlatMap(callable).fn
        assert quicker_beam.dofn_specs(dofn) == quicker_beam._get_dofn_specs(dofn)


def test_the_packages_are_those_that_beam_lists(tmp_path: Path) -> None:
    (tmp_path / "ours").mkdir()
    ours = quicker_beam.stage_packages(str(tmp_path / "ours"))
    assert Stager._create_stage_submission_env_dependencies is quicker_beam.stage_packages
    beams = quicker_beam._stage_packages(str(tmp_path))
    assert [each.role_payload for each in ours] == [each.role_payload for each in beams]
    name = SUBMISSION_ENV_DEPENDENCIES_FILE
    assert (tmp_path / "ours" / name).read_text() == (tmp_path / name).read_text()
    assert "apache-beam==" in (tmp_path / name).read_text()


FLAGS = ["--streaming", "--experiments=a,b", "--labels=x=y", "--labels=z=1", "--max_num_workers=3", "--unknown=1"]


@pytest.mark.parametrize("kind", [DebugOptions, GoogleCloudOptions, StandardOptions, WorkerOptions])
@pytest.mark.parametrize("flags", [[], FLAGS])
def test_a_view_has_the_options_that_beam_reads(kind: type[PipelineOptions], flags: list[str]) -> None:
    for _ in range(2):
        ours, beams = PipelineOptions(flags), PipelineOptions(flags)
        assert (
            quicker_beam.view_as(ours, kind).get_all_options() == quicker_beam._view_as(beams, kind).get_all_options()
        )
        assert ours.get_all_options() == beams.get_all_options()
        assert type(ours.view_as(kind)) is kind


def test_what_one_view_changes_all_others_show_and_no_other_options() -> None:
    options = PipelineOptions(FLAGS)
    options.view_as(DebugOptions).add_experiment("c")
    options.view_as(StandardOptions).streaming = False
    assert options.view_as(DebugOptions).experiments == ["a", "b", "c"]
    assert options.view_as(StandardOptions).streaming is False
    assert PipelineOptions(FLAGS).view_as(DebugOptions).experiments == ["a", "b"]
    assert PipelineOptions(FLAGS).view_as(StandardOptions).streaming is True
