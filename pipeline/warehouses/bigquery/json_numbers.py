"""The numbers of JSON columns, as BigQuery itself writes them.

BigQuery holds a number of JSON as INT64, UINT64 or FLOAT64. Where it parses in the mode `exact`, the default of
PARSE_JSON, it refuses one that "cannot be stored without loss of precision"; in the mode `round` it rounds it:
https://cloud.google.com/bigquery/docs/reference/standard-sql/json_functions#parse_json . It tells them apart by writing
the FLOAT64 as text and comparing that with what came (`CheckNumberRoundtrip` in
https://github.com/google/zetasql/blob/master/zetasql/public/json_value.cc). Its text is that of the algorithm Grisu2,
which for one number in a thousand is not the shortest that stands for the FLOAT64: 67.174118 is written as
67.17411800000001, so the mode `exact` refuses the first, and takes the second, which is the same FLOAT64.

Which of the modes the Storage Write API has is not documented
(https://cloud.google.com/bigquery/docs/supported-data-types says only that JSON is sent as a string). So rows are sent
as they are, and those that are refused are sent again with BigQuery's own text in place of such numbers.

The algorithm: Florian Loitsch, Printing Floating-Point Numbers Quickly and Accurately with Integers, 2010,
https://www.cs.tufts.edu/~nr/cs257/archive/florian-loitsch/printf.pdf .
"""

from __future__ import annotations

import functools
import math
import re
from decimal import Decimal
from typing import Final, NamedTuple

_TOKEN: Final = re.compile(r'"(?:[^"\\]|\\.)*"|(-?\d+(\.\d+)?([eE][-+]?\d+)?)', re.DOTALL)
"""A string, or a number: group 1; groups 2 and 3 are what an integer lacks."""
_INTEGERS: Final = range(-(2**63), 2**64)
_LONGEST: Final = 1_500
"""So many characters a number may have where it is compared."""
_SMALLEST_EXPONENT, _STEP = -300, 8
"""The powers of ten that the algorithm multiplies by: every eighth."""
_ALPHA: Final = -60
"""The least binary exponent of a product."""


class _Scaled(NamedTuple):
    """`significand * 2**exponent`, of 64 bits."""

    significand: int
    exponent: int


def as_bigquery_writes(document: str) -> str:
    """The JSON document with BigQuery's text for each number whose own would not be taken in the mode `exact`; the
    others, and numbers beyond FLOAT64, stay as they are."""
    return _TOKEN.sub(lambda token: token[0] if token[1] is None else _number(token[1], token[2] or token[3]), document)


def _number(number: str, fraction: str | None) -> str:
    if not fraction and len(number) < 4_000 and int(number) in _INTEGERS:
        return number
    value = float(number)
    if math.isinf(value):
        return number
    written = text(value)
    return number if len(number) <= _LONGEST and Decimal(number) == Decimal(written) else written


def text(value: float) -> str:
    """A finite FLOAT64 as BigQuery writes it."""
    if value == 0:
        return "-0.0" if math.copysign(1, value) < 0 else "0.0"
    digits, exponent = _digits(abs(value))
    return str(Decimal((value < 0, digits, exponent)))


def _digits(value: float) -> tuple[tuple[int, ...], int]:
    """Grisu2: the digits of a positive number, and the power of ten by which they are to be multiplied."""
    low, exact, high = _boundaries(value)
    power, tens = _power(high.exponent)
    exact, low, high = (_product(scaled, power) for scaled in (exact, low, high))
    width = high.significand - 1 - (low.significand + 1)
    distance = high.significand - 1 - exact.significand
    shift = -high.exponent
    whole, rest = divmod(high.significand - 1, 1 << shift)
    digits: list[int] = []
    for left in reversed(range(len(str(whole)))):
        unit = 10**left
        digit, whole = divmod(whole, unit)
        digits.append(digit)
        remaining = (whole << shift) + rest
        if remaining <= width:
            _round(digits, distance, width, remaining, unit << shift)
            return tuple(digits), left - tens
    behind = 0
    while rest > width or not behind:
        digit, rest = divmod(rest * 10, 1 << shift)
        digits.append(digit)
        width, distance, behind = width * 10, distance * 10, behind + 1
    _round(digits, distance, width, rest, 1 << shift)
    return tuple(digits), -behind - tens


def _round(digits: list[int], distance: int, width: int, rest: int, unit: int) -> None:
    """Lowers the last digit while that brings it nearer to the number, and leaves it between the boundaries."""
    while rest < distance and width - rest >= unit and abs(distance - rest) > abs(rest + unit - distance):
        digits[-1] -= 1
        rest += unit


def _boundaries(value: float) -> tuple[_Scaled, _Scaled, _Scaled]:
    """The middle between a number and the one below it, the number, the middle between it and the one above it."""
    exponent = max(math.frexp(value)[1] - 53, -1074)
    significand = int(math.ldexp(value, -exponent))
    high = _normal(2 * significand + 1, exponent - 1)
    is_closer = significand == 1 << 52 and exponent > -1074
    bits, below = (2, 4 * significand - 1) if is_closer else (1, 2 * significand - 1)
    low = _Scaled(below << (exponent - bits - high.exponent), high.exponent)
    return low, _normal(significand, exponent), high


def _normal(significand: int, exponent: int) -> _Scaled:
    shift = 64 - significand.bit_length()
    return _Scaled(significand << shift, exponent - shift)


def _product(one: _Scaled, other: _Scaled) -> _Scaled:
    return _Scaled(
        (one.significand * other.significand + (1 << 63)) >> 64,
        one.exponent + other.exponent + 64,
    )


def _power(exponent: int) -> tuple[_Scaled, int]:
    """A power of ten that brings a number of this binary exponent to one from -60 to -32, and its decimal exponent."""
    wanted = _ALPHA - exponent - 1
    least = int(wanted * 78_913 / (1 << 18)) + (wanted > 0)
    index = (least - _SMALLEST_EXPONENT + _STEP - 1) // _STEP
    tens = _SMALLEST_EXPONENT + index * _STEP
    return _power_of_ten(tens), tens


@functools.cache
def _power_of_ten(tens: int) -> _Scaled:
    """The nearest number of 64 bits."""
    if tens >= 0:
        power, exponent = 10**tens, 0
    else:
        exponent = -64 - (10**-tens).bit_length() - 64
        power = (1 << -exponent) // 10**-tens
    excess = power.bit_length() - 64
    if excess <= 0:
        return _normal(power, exponent)
    rounded = (power + (1 << (excess - 1))) >> excess
    return _normal(rounded, exponent + excess)
