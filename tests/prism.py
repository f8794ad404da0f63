"""Beam's portable runner for tests: Prism, from a Go toolchain, built once into the user's cache."""

from __future__ import annotations

import os
import shutil
import subprocess
from functools import cache
from pathlib import Path

import apache_beam
import pytest

_PACKAGE = "github.com/apache/beam/sdks/v2/go/cmd/prism"
_PARALLEL = "32"
"""Prism waits in busy loops, which starve it on few cores unless Go has more threads than cores."""


@cache
def binary() -> str | None:
    """Prism of Beam's own version, or None where it is not there and no Go can build it."""
    folder = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "segment-bigquery"
    folder /= f"prism-{apache_beam.__version__}"
    prism = folder / "prism"
    if prism.exists():
        return str(prism)
    go = shutil.which("go") or shutil.which("/usr/local/go/bin/go")
    if go is None:
        return None
    environment = {**os.environ, "GOBIN": str(folder), "GOFLAGS": "-mod=mod"}
    subprocess.run([go, "install", f"{_PACKAGE}@v{apache_beam.__version__}"], env=environment, check=True)
    return str(prism)


def options() -> list[str]:
    """The options that run a job on Prism, in this process's workers. Skips the test where there is no Prism; in CI its
    absence is a failure."""
    prism = binary()
    if prism is None:
        problem = "Prism is not there: install Go (https://go.dev/dl) and run the tests again"
        if os.environ.get("CI"):
            pytest.fail(problem)
        pytest.skip(problem)
    os.environ["GOMAXPROCS"] = _PARALLEL
    return ["--runner=PrismRunner", f"--prism_location={prism}", "--environment_type=LOOPBACK"]
