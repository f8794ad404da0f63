"""How tests are dealt to the processes of `make test`."""

from __future__ import annotations

import pytest

from tests import conftest

HERE = "tests/transforms/core/test_times.py"


@pytest.mark.parametrize(
    ("nodeid", "expected"),
    [
        ("tests/dbt/test_models.py::test_retention", "tests/dbt/test_models.py"),
        ("tests/dbt/test_models.py::test_two_loads[sessions@a::b]", "tests/dbt/test_models.py"),
        (f"{HERE}::test_a[1]", f"{HERE}::test_a[1]"),
    ],
)
def test_tests_that_share_a_fixture_go_together_and_others_alone(nodeid: str, expected: str) -> None:
    assert conftest.scope(nodeid) == expected
