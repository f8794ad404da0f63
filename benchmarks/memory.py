"""Memory of a job by messages and by ids; `python -m benchmarks.memory` (some minutes).

Whole jobs on files into DuckDB, each a process of its own, of which the peak is printed. Events are of a few people, so
that only messages grow; identify calls are of a person each, so that ids grow with them, two for each call. Then a job
on one further call reads the log of such a warehouse.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.processes import run

SIZES = (1, 50_000, 200_000)
_HISTORY = 50_000
_PEOPLE = 100


def event(number: int) -> dict[str, Any]:
    """A page of one of a few people."""
    return {
        **_call(number, "page", f"user-{number % _PEOPLE}"),
        "name": "Pricing",
        "properties": {"path": "/pricing", "title": "Pricing", "url": "https://acme.example/pricing"},
    }


def identify(number: int) -> dict[str, Any]:
    """An identify call of a person of its own, by a user id and an anonymous id."""
    return {
        **_call(number, "identify", f"user-{number}"),
        "traits": {"email": f"user-{number}@company-{number % 1000}.example", "name": f"User {number}", "plan": "pro"},
    }


def _call(number: int, type_: str, user: str) -> dict[str, Any]:
    return {
        "type": type_,
        "messageId": f"{type_}-{number}",
        "userId": user,
        "anonymousId": f"anonymous-{user}",
        "timestamp": "2025-01-01T00:00:00.000Z",
        "receivedAt": "2025-01-01T00:00:01.000Z",
        "context": {"ip": "203.0.113.7", "library": {"name": "analytics.js", "version": "2.11.1"}},
    }


def main() -> None:
    print(f"Memory (peak of the process){'':9}MB")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for title, call in (("events of 100 people", event), ("identify calls, two ids each", identify)):
            for size in SIZES:
                print(f"  {size:9,} {title:30} {_peak(folder, title, call, range(size)):6,.0f}", flush=True)
        _peak(folder, "history", identify, range(_HISTORY))
        again = _peak(folder, "history", identify, range(_HISTORY, _HISTORY + 1))
        print(f"  {1:9,} {f'more, after {_HISTORY:,} of them':30} {again:6,.0f}")


def _peak(folder: Path, title: str, call: Callable[[int], dict[str, Any]], numbers: range) -> float:
    """The peak in MB of a job on these calls into the warehouse of that title, new unless the numbers go on."""
    warehouse = folder / f"{title}.duckdb"
    if not numbers.start:
        warehouse.unlink(missing_ok=True)
    source = folder / "calls.jsonl"
    with source.open("w") as file:
        file.writelines(_lines(call, numbers))
    return run("pipeline", f"--input={source}", f"--warehouse=duckdb:///{warehouse}").peak / 1e6


def _lines(call: Callable[[int], dict[str, Any]], numbers: range) -> Iterator[str]:
    return (json.dumps(call(number)) + "\n" for number in numbers)


if __name__ == "__main__":
    main()
