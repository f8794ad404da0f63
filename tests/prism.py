"""Beam's portable runner for tests."""

from __future__ import annotations

import os
from functools import cache

import pytest

from pipeline import prism
from pipeline.errors import UsageError


@cache
def _problem() -> str | None:
    try:
        prism.find()
    except UsageError as error:
        return str(error)
    return None


def require() -> None:
    """Skips the test where there is no Prism; in CI its absence is a failure."""
    if problem := _problem():
        if os.environ.get("CI"):
            pytest.fail(problem)
        pytest.skip(problem)


def options() -> list[str]:
    """The options that run a job on Prism, in this process's workers."""
    require()
    return ["--runner=PrismRunner"]
