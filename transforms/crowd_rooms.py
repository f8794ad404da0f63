"""How a streaming job keeps the rooms of a crowd (`transforms.core.identity.crowd`): in a bag of their own, beside the
state. A window that adds to a heavy contact does not read them, and writes those alone that it adds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import apache_beam as beam
from apache_beam.transforms.userstate import BagStateSpec
from msgspec.structs import replace

from transforms.coders import PackedCoder

NeedsCrowd = Callable[[Any, Sequence[Any]], bool]
"""Whether a step with a state and an inbox looks into the rooms."""

CROWD: Final = BagStateSpec("crowd", PackedCoder())


def crowd_param(needs_crowd: NeedsCrowd | None) -> Any:
    """What a DoFn has as the default of a parameter that gets the rooms; None where its states have none."""
    return None if needs_crowd is None else beam.DoFn.StateParam(CROWD)


def with_crowd(state: Any, inbox: Sequence[Any], needs_crowd: NeedsCrowd | None, rooms: Any) -> Any:
    """The state as a step on this inbox takes it, with the rooms that it needs."""
    if needs_crowd is None or state is None or not needs_crowd(state, inbox):
        return state
    return replace(state, crowd=tuple(rooms.read()))


def without_crowd(before: Any, after: Any, needs_crowd: NeedsCrowd | None, rooms: Any) -> Any:
    """Writes the rooms that a step has added or changed, and returns the state without them. `before` is what the step
    took."""
    if needs_crowd is None:
        return after
    kept = () if before is None else before.crowd
    if after.crowd[: len(kept)] != kept:
        rooms.clear()
        kept = ()
    for room in after.crowd[len(kept) :]:
        rooms.add(room)
    return replace(after, crowd=()) if after.crowd else after
