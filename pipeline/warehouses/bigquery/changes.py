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

_SECTION_DIGITS: Final = 16
_NUMBER_DIGITS: Final = 12
_NUMBERS: Final = 4
"""A version of `identities` has so many: how often the id has moved, and one for each hop of its path."""


def sequence_number(generation: int, version: tuple[int, ...]) -> str:
    """The sequence number of a version of a job's generation: four sections of sixteen hexadecimal digits, which
    BigQuery compares section by section as unsigned numbers. The first is the generation; the others are one number of
    48 digits, which has each number of the version in twelve.

    They compare as `(generation, *version)` does. A number counts from one and an absent one is zero, so that the empty
    version, a sweep's, is below every other of its generation. Raises ValueError for a version that does not fit.
    """
    numbers = tuple(number + 1 for number in version)
    fits = len(numbers) <= _NUMBERS and all(0 < number < 16**_NUMBER_DIGITS for number in numbers)
    if not fits or not 0 <= generation < 16**_SECTION_DIGITS:
        raise ValueError(f"version {version} of generation {generation} does not fit a sequence number")
    digits = "".join(f"{number:0{_NUMBER_DIGITS}x}" for number in numbers).ljust(_NUMBERS * _NUMBER_DIGITS, "0")
    sections = [digits[start : start + _SECTION_DIGITS] for start in range(0, len(digits), _SECTION_DIGITS)]
    return "/".join((f"{generation:0{_SECTION_DIGITS}x}", *sections))
