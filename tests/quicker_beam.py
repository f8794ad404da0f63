"""Beam without what it finds out again and again, some hundred times a job or once for each: together it is two fifths
of a small one.

The states and timers of a DoFn are those of its class, the options of a class are those of its flags, and the packages
that are installed stay the same.
"""

from __future__ import annotations

import copy
import functools
import os
import tempfile
import types
from pathlib import Path
from typing import Any, TypeVar

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.stager import SUBMISSION_ENV_DEPENDENCIES_FILE, Stager
from apache_beam.transforms import userstate

Specs = tuple[set[Any], set[Any]]
Options = TypeVar("Options", bound=PipelineOptions)

_specs: dict[type[beam.DoFn], Specs] = {}
_options: dict[tuple[type[PipelineOptions], tuple[str, ...]], Any] = {}
_get_dofn_specs = userstate.get_dofn_specs
_view_as = PipelineOptions.view_as
_stage_packages = Stager._create_stage_submission_env_dependencies


def dofn_specs(dofn: beam.DoFn) -> Specs:
    """What `userstate.get_dofn_specs` gives."""
    if any(isinstance(value, types.MethodType) for value in vars(dofn).values()):
        return _get_dofn_specs(dofn)
    kind = type(dofn)
    if kind not in _specs:
        _specs[kind] = _get_dofn_specs(dofn)
    states, timers = _specs[kind]
    return set(states), set(timers)


def view_as(options: PipelineOptions, kind: type[Options]) -> Options:
    """What `PipelineOptions.view_as` gives."""
    if options._flags is None or not kind.__module__.startswith("apache_beam."):
        return _view_as(options, kind)
    key = kind, tuple(options._flags)
    if key not in _options:
        _options[key] = kind(options._flags)._visible_options
    view = kind.__new__(kind)
    view._flags, view._visible_options, view._all_options = options._flags, _options[key], options._all_options
    for name, value in vars(view._visible_options).items():
        if name not in view._all_options:
            view._all_options[name] = copy.deepcopy(value)  # a list, say, is changed in place
    return view


def stage_packages(folder: str) -> list[Any]:
    """What `Stager._create_stage_submission_env_dependencies` gives, without a process of pip."""
    path = os.path.join(folder, SUBMISSION_ENV_DEPENDENCIES_FILE)
    Path(path).write_text(_packages(), "utf-8")
    return [Stager._create_file_stage_to_artifact(path, SUBMISSION_ENV_DEPENDENCIES_FILE)]


@functools.cache
def _packages() -> str:
    with tempfile.TemporaryDirectory() as folder:
        _stage_packages(folder)
        return Path(folder, SUBMISSION_ENV_DEPENDENCIES_FILE).read_text("utf-8")


def install() -> None:
    """For this process."""
    Stager._create_stage_submission_env_dependencies = staticmethod(stage_packages)  # type: ignore[method-assign]
    userstate.get_dofn_specs = dofn_specs
    PipelineOptions.view_as = view_as  # type: ignore[assignment, method-assign]
