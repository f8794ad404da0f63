"""Section 7: deletion."""

from __future__ import annotations

from collections.abc import Iterable

from judge.time_forms import FIRST_TIME
from judge.values import Stamp

NEVER: Stamp = (FIRST_TIME - 1, "")  # before every stamp


def after_deletion(stamps: Iterable[Stamp], forgotten: Stamp) -> tuple[Stamp, Stamp] | None:
    """(least, greatest) of what a delete leaves: nothing if the greatest is not after it, else the least is raised."""
    stamps = list(stamps)
    if not stamps or max(stamps) <= forgotten:
        return None
    return max(min(stamps), forgotten), max(stamps)
