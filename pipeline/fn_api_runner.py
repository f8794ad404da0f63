"""What FnApiRunner, Beam's runner in this process, needs so that a small job is quick: Beam's own ways of doing it are
changed while a job runs, and given back after it."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any, Final, TypeAlias

from apache_beam.runners.worker.statesampler import StateSampler
from apache_beam.transforms import core, userstate

Arguments: TypeAlias = tuple[list[str], list[Any]]
"""The names of a function's arguments, and the defaults of the last of them."""

_SAMPLE_MS: Final = 10
"""How long a bundle waits at its end, at most; by default twenty times as long."""


@contextlib.contextmanager
def quick() -> Iterator[None]:
    """Makes it quick while the block lasts, in which pipelines are built and run."""
    with _short_samples(), _dofns_inspected_once():
        yield


@contextlib.contextmanager
def _short_samples() -> Iterator[None]:
    """Has Beam look often at which step is running. At the end of each bundle it waits for the next look, which by
    default comes after up to a fifth of a second."""
    make: Any = vars(StateSampler)["__init__"]
    usual = make.__defaults__
    make.__defaults__ = (_SAMPLE_MS,)
    try:
        yield
    finally:
        make.__defaults__ = usual


@contextlib.contextmanager
def _dofns_inspected_once() -> Iterator[None]:
    """Has Beam inspect each DoFn and each method once. To find out which states a DoFn has, it asks for the arguments
    of all of its methods, several times a step: nearly 10,000 times a job for those of some 300 methods."""
    beam: Any = core
    states: Any = userstate
    inspect: Callable[[Any], Arguments] = beam.get_function_args_defaults
    specs: Any = states.get_dofn_specs
    known: dict[Any, Arguments] = {}

    def arguments(function: Any) -> Arguments:
        method = getattr(function, "__func__", None)
        if method is None:
            return inspect(function)
        if method not in known:
            known[method] = inspect(function)
        names, defaults = known[method]
        return [*names], [*defaults]

    beam.get_function_args_defaults = arguments
    states.get_dofn_specs = functools.cache(specs)
    try:
        yield
    finally:
        states.get_dofn_specs = specs
        beam.get_function_args_defaults = inspect
