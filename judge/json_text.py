"""Section 1: JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from judge.message import DEEPEST, named
from judge.values import Json


def canonical(value: Json) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def is_text(value: Json) -> bool:
    """Whether the value can be written in UTF-8, which has no half of a surrogate pair."""
    try:
        canonical(value).encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def no_such_number(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def whole(digits: str) -> int | float:
    """The number; infinite if it is longer than Python reads, which is beyond FLOAT64 anyway."""
    return int(digits) if len(digits) < 4000 else float(digits)


DECODER = json.JSONDecoder(parse_int=whole, parse_constant=no_such_number)
# A string, a bracket or comma, or what lies between them.
TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[^"\[\]{},]+|.', re.DOTALL)


def parse(text: str) -> Json:
    """The value of a JSON text. What lies far deeper than a message may reach becomes null, and is too deep still."""
    if text.count("[") + text.count("{") <= DEEPEST:
        return DECODER.decode(text)
    kept, level, deepest = [], 0, DEEPEST + 10
    for token in TOKEN.findall(text):
        opens, closes = token in ("[", "{"), token in ("]", "}")
        level -= closes
        if level < deepest or (level == deepest and not opens and not closes):
            kept.append(token)
        elif level == deepest and opens:
            kept.append("null")
        level += opens
    return DECODER.decode("".join(kept))


def depth(value: Json) -> int:
    """How many levels of objects and arrays are nested in the value, itself included; 0 for anything else."""
    return sum(any(isinstance(value, (dict, list)) for value in layer) for layer in layers(value))


def beyond_float64(value: Json) -> bool:
    """Whether a number in the value is greater than any FLOAT64, which BigQuery refuses."""
    return any(
        isinstance(number, (int, float)) and not -(2**1024) < number < 2**1024
        for layer in layers(value)
        for number in layer
    )


def layers(value: Json) -> Iterator[list[Json]]:
    """The value itself, what it holds, what that holds, and so on."""
    layer = [value]
    while layer:
        yield layer
        holders = [value for value in layer if isinstance(value, (dict, list))]
        layer = [child for value in holders for child in (value.values() if isinstance(value, dict) else value)]


def elements(text: str) -> list[str]:
    """The texts between the brackets and commas of an array's or an object's own level."""
    parts, level = [""], 0
    for token in TOKEN.findall(text.strip()):
        level -= token in ("]", "}")
        if level == 1 and token == ",":
            parts.append("")
        elif level >= 1:
            parts[-1] += token
        level += token in ("[", "{")
    parts = [element.strip() for element in parts]
    return [] if parts == [""] else parts


def batch_text(text: str) -> str:
    """The text of the array that `named(object, "batch")` returns."""
    members: dict[str, str] = {}
    for member in elements(text):
        key, end = DECODER.raw_decode(member)
        members[key] = member[end:].strip().removeprefix(":").strip()
    as_parsed = {key: value if parse(value) is not None else None for key, value in members.items()}
    batch = named(as_parsed, "batch")
    if not isinstance(batch, str):
        raise TypeError("the object has no batch")
    return batch
