"""Runs a splittable DoFn as a runner does: one work item after the other, each on its own copy of what is left."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from apache_beam.runners.sdf_utils import RestrictionTrackerView, ThreadsafeRestrictionTracker
from apache_beam.transforms.core import RestrictionProvider


def run(
    process: Callable[[Any, Any], Iterator[Any]],
    element: Any,
    provider: RestrictionProvider,
    *,
    stop_after: int | None = None,
) -> list[list[Any]]:
    """What each work item gave for an element. The runner checkpoints each when it has given `stop_after` (None: it
    never does)."""
    coder = provider.restriction_coder()
    pending = [*provider.split(element, provider.initial_restriction(element))]
    work_items = []
    while pending:
        restriction = coder.decode(coder.encode(pending.pop(0)))
        tracker = ThreadsafeRestrictionTracker(provider.create_tracker(restriction))
        given = []
        for value in process(element, RestrictionTrackerView(tracker)):
            given.append(value)
            if len(given) == stop_after and (split := tracker.try_split(0)) is not None:
                pending.append(split[1])
        tracker.check_done()
        if (deferred := tracker.deferred_status()) is not None:
            pending.append(deferred[0])
        work_items.append(given)
    return work_items
