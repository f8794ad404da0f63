"""Runs a module as `python -m` does, where nothing is installed but what setup.py requires without its extras.

python -m tests.light_install MODULE ARGUMENT…
"""

from __future__ import annotations

import ast
import contextlib
import importlib.machinery
import io
import json
import re
import runpy
import subprocess
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import ClassVar, Final, NamedTuple
from unittest import mock

ROOT: Final = Path(__file__).parents[1]
SETUP: Final = ROOT / "setup.py"
PROJECT: Final = "segment-bigquery"
_SHARED: Final = "google"
"""A package that many distributions have a part of."""


def requirements() -> list[str]:
    """What setup.py requires without extras."""
    keywords = (node for node in ast.walk(ast.parse(SETUP.read_text("utf-8"))) if isinstance(node, ast.keyword))
    (listed,) = (ast.literal_eval(node.value) for node in keywords if node.arg == "install_requires")
    return list(listed)


def project(requirement: str) -> str:
    """The name of the distribution that a requirement is of."""
    return re.sub(r"[-_.]+", "-", re.split(r"[^\w.-]", requirement)[0]).lower()


def required_by(name: str) -> set[str]:
    """A distribution, and those of this environment that it requires without extras, and theirs."""
    found: set[str] = set()
    waiting = [project(name)]
    while waiting:
        each = waiting.pop()
        if each not in found and is_installed(each):
            found.add(each)
            waiting += [project(line) for line in metadata.requires(each) or () if "extra ==" not in line]
    return found


def is_installed(name: str) -> bool:
    try:
        metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def left_out() -> set[str]:
    """The packages of this environment, of the shared one its parts, that a light installation has not."""
    light = set[str]().union(*map(required_by, requirements()))
    lacked, present = set[str](), set[str]()
    for package, names in metadata.packages_distributions().items():
        for name in names:
            parts = _parts_of_shared(name) if package == _SHARED else {package}
            (present if project(name) in light else lacked).update(parts)
    return lacked - present


def _parts_of_shared(name: str) -> set[str]:
    return {".".join(file.parts[:2]) for file in metadata.files(name) or () if file.parts[0] == _SHARED}


class Light(importlib.machinery.PathFinder):
    """Finds modules as Python does, but for those packages."""

    left_out: ClassVar[frozenset[str]] = frozenset()

    @classmethod
    def find_spec(
        cls, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        words = fullname.split(".")
        if {words[0], ".".join(words[:2])} & cls.left_out:
            return None
        return super().find_spec(fullname, path, target)


class Ran(NamedTuple):
    """How a command ended."""

    status: int
    output: str
    errors: str


def ran(commands: Sequence[Sequence[str]]) -> list[Ran]:
    """What commands do there, each a module and its arguments: one after the other, in one new process."""
    command = [sys.executable, "-m", "tests.light_install"]
    done = subprocess.run(command, input=json.dumps(commands), cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    return [Ran(*each) for each in json.loads(done.stdout)]


def _ran_here(words: Sequence[str]) -> Ran:
    output, errors = io.StringIO(), io.StringIO()
    with (
        mock.patch.object(sys, "argv", list(words)),
        contextlib.redirect_stdout(output),
        contextlib.redirect_stderr(errors),
    ):
        try:
            runpy.run_module(words[0], run_name="__main__", alter_sys=True)
            status = 0
        except SystemExit as exit:
            status = exit.code if isinstance(exit.code, int) else 0 if exit.code is None else 1
            if isinstance(exit.code, str):  # which Python prints
                errors.write(f"{exit.code}\n")
    return Ran(status, output.getvalue(), errors.getvalue())


if __name__ == "__main__":
    own = {package for package, names in metadata.packages_distributions().items() if PROJECT in names}
    Light.left_out = frozenset(left_out() - own)
    sys.meta_path[sys.meta_path.index(importlib.machinery.PathFinder)] = Light
    print(json.dumps([_ran_here(words) for words in json.load(sys.stdin)]))
