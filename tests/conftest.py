"""How tests are dealt to the processes of `make test`, and a Beam that finds out less of what it knows."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

from pipeline import quicker_beam

ROOT = Path(__file__).parents[1]

quicker_beam.install()


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Gives each test to the process that is free first. Those of a module that has fixtures of its own go to one
    process together, so that these are set up once. A mark does not do: this pytest forgets what xdist makes of it."""
    scheduler = LoadScopeScheduling(config, log)
    scheduler._split_scope = scope
    return scheduler


def scope(nodeid: str) -> str:
    """What goes to one process with a test: its module, or it alone."""
    module = nodeid.partition("::")[0]
    return module if has_fixtures(module) else nodeid


@functools.cache
def has_fixtures(module: str) -> bool:
    """Whether a module's tests share a fixture."""
    return 'scope="module"' in (ROOT / module).read_text("utf-8")
