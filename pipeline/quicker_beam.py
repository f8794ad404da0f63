"""Beam without two things that it finds out some hundred times a job: together they are two fifths of a small one.

The states and timers of a DoFn are those of its class, and the options of a class are those of its flags. The job's
command installs it, and so do the tests.
"""

from __future__ import annotations

import copy
import types
from typing import Any, TypeVar

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.transforms import userstate

Specs = tuple[set[Any], set[Any]]
Options = TypeVar("Options", bound=PipelineOptions)

_specs: dict[type[beam.DoFn], Specs] = {}
_options: dict[tuple[type[PipelineOptions], tuple[str, ...]], Any] = {}
_get_dofn_specs = userstate.get_dofn_specs
_view_as = PipelineOptions.view_as


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


def install() -> None:
    """For this process."""
    userstate.get_dofn_specs = dofn_specs
    PipelineOptions.view_as = view_as  # type: ignore[assignment, method-assign]
