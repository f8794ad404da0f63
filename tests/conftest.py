"""Which tests `make test` and `make acceptance` run, how they are dealt to processes, and a Beam that finds out less of
what it knows."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any, Final

import pytest
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

from tests import quicker_beam

ROOT = Path(__file__).parents[1]

ACCEPTANCE: Final = (
    *("tests/dbt/", "tests/examples/", "tests/faults/", "tests/fuzz/", "tests/receiver/clients/"),
    *("tests/strict_runner/", "tests/templates/", "tests/pipeline/test_mutated_input.py"),
    "tests/benchmarks/test_streaming.py",
    *(f"tests/pipeline/warehouses/bigquery/{name}.py" for name in ("test_bqemulator", "test_strict_job")),
    "tests/pipeline/warehouses/duckdb/test_whole_job.py",
    *("tests/test_contributing.py", "tests/test_light_install.py", "tests/test_pasted.py", "tests/test_pictures.py"),
    "tests/test_release.py",
)
"""The tests of whole programs, other people's among them: half of the time is theirs. `make acceptance` runs them, and
those that have the mark themselves: jobs and purges that are killed, or fail."""

quicker_beam.install()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks the tests of whole programs."""
    for item in items:
        if item.nodeid.startswith(ACCEPTANCE):
            item.add_marker(pytest.mark.acceptance)


@pytest.hookimpl(optionalhook=True)
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
