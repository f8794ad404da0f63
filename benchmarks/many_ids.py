"""What a call costs in a job with 1,000,000 ids against one with 10,000; `python -m benchmarks.many_ids` (ten minutes).

Whole jobs on files into DuckDB, each a process of its own. Two identify calls for each person, of a user id and an
anonymous id; every call costs three keys. It is CPU time that is compared, from which that of a job on one person is
taken away, since starting Python and Beam is no part of a call's cost.
"""

from __future__ import annotations

import json
import statistics
import tempfile
from pathlib import Path

from benchmarks.processes import run

GOAL = 1.15
_ROUNDS = 3
_FEW, _MANY = 5_000, 500_000
_CALLS = 2


def _write(path: Path, people: int) -> Path:
    with path.open("w") as file:
        for number in range(people * _CALLS):
            person = number // _CALLS
            call = {
                "type": "identify",
                "messageId": f"message-{number}",
                "userId": f"user-{person}",
                "anonymousId": f"anonymous-{person}",
                "timestamp": "2025-01-01T00:00:00.000Z",
                "receivedAt": "2025-01-01T00:00:01.000Z",
                "traits": {
                    "email": f"user-{person}@company-{person % 1000}.example",
                    "name": f"User {person}",
                    "plan": "pro",
                },
                "context": {"ip": "8.8.8.8", "library": {"name": "analytics.js", "version": "2.11.1"}},
            }
            file.write(json.dumps(call) + "\n")
    return path


def _cpu(source: Path) -> float:
    """Seconds of CPU that the job on a file takes."""
    warehouse = source.with_suffix(".duckdb")
    used = run("pipeline", f"--input={source}", f"--warehouse=duckdb:///{warehouse}")
    warehouse.unlink()
    return used.cpu


def main() -> None:
    print("Many ids (whole job, microseconds of CPU a call)")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        one, few, many = (_write(folder / f"{people}.jsonl", people) for people in (1, _FEW, _MANY))
        start = statistics.median(_cpu(one) for _ in range(_ROUNDS))
        small, large = [], []
        for _ in range(_ROUNDS):
            small.append(statistics.median(_cpu(few) for _ in range(_ROUNDS)) - start)
            large.append(_cpu(many) - start)
        cheap, dear = (statistics.median(small) / (_FEW * _CALLS), statistics.median(large) / (_MANY * _CALLS))
    print(f"  10,000 ids           {cheap * 1e6:8.1f}")
    print(f"  1,000,000 ids        {dear * 1e6:8.1f}")
    print(f"  ratio                {dear / cheap:8.2f}   goal: at most {GOAL}")


if __name__ == "__main__":
    main()
