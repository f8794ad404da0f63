"""BigQuery's change data capture: how it orders the versions of keyed rows.

https://cloud.google.com/bigquery/docs/change-data-capture
"""

from __future__ import annotations

from typing import Final

CHANGE_TYPE: Final = "_CHANGE_TYPE"
CHANGE_SEQUENCE_NUMBER: Final = "_CHANGE_SEQUENCE_NUMBER"
"""Pseudo-columns: fields of a row that is sent, and not of the table."""
UPSERT: Final = "UPSERT"
DELETE: Final = "DELETE"

_SECTIONS: Final = 4
_LARGEST: Final = 2**64 - 1


def sequence_number(generation: int, version: tuple[int, ...]) -> str:
    """The sequence number of a version of a job's generation: four sections of sixteen hexadecimal digits, which
    BigQuery compares section by section as unsigned numbers.

    They compare as `(generation, *version)` does. A number counts from one and an absent one is zero, so that the empty
    version, a sweep's, is below every other of its generation. Raises ValueError for a version that does not fit.
    """
    sections = (generation, *(number + 1 for number in version))
    if len(sections) > _SECTIONS or not 0 <= min(sections) <= max(sections) <= _LARGEST or min(version, default=0) < 0:
        raise ValueError(f"version {version} of generation {generation} does not fit a sequence number")
    return "/".join(f"{section:016x}" for section in sections + (0,) * (_SECTIONS - len(sections)))
