"""A warehouse that no job is entered in, and a subscription that nobody looks up: a launch without an account.

    python tests/templates/unopened.py LAUNCHER [ARGUMENT ...]    starts a launcher with it

It imports nothing but what is installed, since it stands beside a launcher that has nothing else.
"""

from __future__ import annotations

import runpy
import sys
from dataclasses import dataclass
from typing import Any

import pipeline.run
import pipeline.sources.pubsub
from pipeline.warehouses import JobRun, Warehouse, open_warehouse
from schemas.tables import Timestamp


@dataclass
class Unopened:
    """A warehouse whose transforms are the real ones."""

    warehouse: Warehouse

    @classmethod
    def of(cls, url: str, **_: object) -> Unopened:
        return cls(open_warehouse(url))

    def start(self, *, bounded: bool, **_: object) -> JobRun:
        now = Timestamp(1_700_000_000_000_000)
        return JobRun(now, now, now, bounded)

    def open_log(self) -> Timestamp:
        return Timestamp(1_700_000_000_000_000)

    def close(self) -> None:
        pass

    def __getattr__(self, name: str) -> Any:
        return getattr(self.warehouse, name)


if __name__ == "__main__":
    vars(pipeline.run).update(open_warehouse=Unopened.of)
    vars(pipeline.sources.pubsub).update(check_subscription=lambda _: None)
    sys.argv = sys.argv[1:]
    runpy.run_path(sys.argv[0], run_name="__main__")
