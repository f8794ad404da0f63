"""The packages that clients are made of, from npm and Maven: installed once into the user's cache."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import pytest

from tests import kept

HERE = Path(__file__).parent
_NPM = ("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")
_MAVEN = ("mvn", "--quiet", "--batch-mode", "--no-transfer-progress", "dependency:copy-dependencies")
_INSTALLS_S = 240.0


def node_modules() -> Path:
    """The folder of npm's packages. Skips the test where there is no npm; in CI that is a failure."""
    require("node", "nodejs npm")
    require("npm", "nodejs npm")
    return _installed("npm", ("package.json", "package-lock.json"), HERE / "node", _NPM) / "node_modules"


def jars() -> Path:
    """The folder of the Java client and what it needs. Skips the test where there is no Maven; in CI that is a
    failure."""
    require("javac", "default-jdk-headless")
    require("mvn", "maven")
    command = (*_MAVEN, "-DoutputDirectory=jars")
    return _installed("maven", ("pom.xml",), HERE / "java", command) / "jars"


def require(command: str, packages: str) -> None:
    """Skips the test where a command is missing; in CI that is a failure."""
    if shutil.which(command) is None:
        _is_missing(f"there is no {command}: on Debian, apt-get install {packages}")


def _installed(kind: str, files: Sequence[str], source: Path, command: Sequence[str]) -> Path:
    """The folder where a command has run once on these files: a change of theirs gives another folder."""
    contents = {name: (source / name).read_bytes() for name in files}
    digest = hashlib.sha256(b"".join(contents.values())).hexdigest()
    with kept.alone(f"clients-{kind}-{digest[:16]}") as folder:
        if not folder.exists():
            unfinished = folder.with_suffix(".part")
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir()
            for name, content in contents.items():
                (unfinished / name).write_bytes(content)
            ran = subprocess.run(command, cwd=unfinished, capture_output=True, text=True, timeout=_INSTALLS_S)
            if ran.returncode:
                _is_missing(f"{' '.join(command)} fails: {' '.join((ran.stdout + ran.stderr).split())[:500]}")
            unfinished.rename(folder)
        return folder


def _is_missing(problem: str) -> NoReturn:
    if os.environ.get("CI"):
        pytest.fail(problem)
    pytest.skip(problem)
