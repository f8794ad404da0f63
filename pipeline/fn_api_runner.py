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
    """Makes it quick while the block lasts, in which pipelines are built and run.

    At the end of each bundle Beam waits until it looks again at which step is running, by default for up to a fifth of
    a second: it then looks more often. And to find out which states a DoFn has, it asks for the arguments of all of its
    methods, several times a step, nearly 10,000 times a job for those of some 300 methods: it then inspects each DoFn
    and each method once.
    """
    with (
        _replaced(vars(StateSampler)["__init__"], "__defaults__", (_SAMPLE_MS,)),
        _replaced(core, "get_function_args_defaults", _each_method_once(core.get_function_args_defaults)),
        _replaced(userstate, "get_dofn_specs", functools.cache(userstate.get_dofn_specs)),
    ):
        yield


@contextlib.contextmanager
def _replaced(owner: object, name: str, value: object) -> Iterator[None]:
    usual = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, usual)


def _each_method_once(inspect: Callable[[Any], Arguments]) -> Callable[[Any], Arguments]:
    known: dict[Any, Arguments] = {}

    def arguments(function: Any) -> Arguments:
        method = getattr(function, "__func__", None)
        if method is None:
            return inspect(function)
        if method not in known:
            known[method] = inspect(function)
        names, defaults = known[method]
        return [*names], [*defaults]

    return arguments
