"""How tests are dealt to the processes of `make test`, and a Beam that finds out less of what it knows."""

from __future__ import annotations

import pytest

from tests import quicker_beam

quicker_beam.install()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that share a fixture of their module go to one process, so that it is set up once."""
    for item in items:
        if isinstance(item, pytest.Function) and _shares_a_fixture(item):
            item.add_marker(pytest.mark.xdist_group(item.nodeid.partition("::")[0]))


def _shares_a_fixture(test: pytest.Function) -> bool:
    fixtures = test._fixtureinfo.name2fixturedefs.values()
    return any(fixture.scope == "module" for definitions in fixtures for fixture in definitions)
