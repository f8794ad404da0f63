"""JSON as BigQuery takes it: https://cloud.google.com/bigquery/quotas#json_limits , and numbers by the mode `exact` or
`round`: https://cloud.google.com/bigquery/docs/reference/standard-sql/json_functions#parse_json ."""

from __future__ import annotations

import json
import re

import orjson

from pipeline.warehouses.bigquery.json_numbers import as_bigquery_writes

JSON_LEVELS = 500
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[\[{]|[\]}]', re.DOTALL)


def problem(text: str, *, exact: bool = False) -> str | None:
    """Why this is no JSON value that BigQuery holds, or None; with `exact` numbers must be written as it writes them,
    or so that they are equal to that."""
    levels = text.count("{") + text.count("[")
    if levels > JSON_LEVELS and depth(text) > JSON_LEVELS:
        return f"the JSON is nested deeper than {JSON_LEVELS} levels"
    try:
        orjson.loads(text)
    except ValueError as error:
        return f"invalid JSON: {error}"
    number = inexact_number(text) if exact else None
    return None if number is None else f"Input number: {number} cannot round-trip through string representation"


def inexact_number(text: str) -> str | None:
    """The first number that the mode `exact` refuses."""
    if as_bigquery_writes(text) == text:
        return None
    numbers: list[str] = []
    json.loads(text, parse_float=numbers.append, parse_int=numbers.append)
    return next(number for number in numbers if as_bigquery_writes(number) != number)


def parse_exactly(text: str | None) -> str | None:
    """PARSE_JSON in its default mode. Raises ValueError."""
    wrong = None if text is None else problem(text, exact=True)
    if wrong:
        raise ValueError(f"Invalid input: {wrong}; error in PARSE_JSON expression")
    return text


def depth(text: str) -> int:
    """How many levels of objects and arrays a JSON text has."""
    deepest = level = 0
    for token in _TOKEN.findall(text):
        if token in "[{":
            level += 1
            deepest = max(deepest, level)
        elif token in "]}":
            level -= 1
    return deepest
