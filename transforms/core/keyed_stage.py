"""A stage of the graph that has keys: its pure step, and where what the step puts out goes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import msgspec


class KeyedStage(NamedTuple):
    """A step with the types of its state and outbox. `sends` has the stages that messages of a field go to; `writes`
    are the tables that it has rows for, each a field of that name. `size` measures a state, where it is measured.
    `needs_crowd` tells when a step looks into the crowd of its state, None where a state has none."""

    name: str
    step: Callable[..., tuple[Any, Any]]
    state: type[msgspec.Struct]
    outbox: type[msgspec.Struct]
    size: Callable[[Any], int] | None
    sends: Mapping[str, tuple[str, ...]]
    writes: tuple[str, ...]
    needs_crowd: Callable[[Any, Iterable[object]], bool] | None = None
