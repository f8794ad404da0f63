"""Makes a release: the sdist and the wheel in dist/, checked, installed into an empty environment and run there.

    python .ci/release.py --url=https://github.com/acme/segment-bigquery

What is built is what is committed. The address is the repository's; without one it is that of the remote `origin`.
"""

from __future__ import annotations

import argparse
import ast
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import venv
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
URL: Final = "SEGMENT_BIGQUERY_URL"
"""The environment variable by which setup.py learns the repository's address."""
TWINE: Final = ("twine>=6,<7", "readme-renderer[md]")
_BACKEND: Final = "import sys; from setuptools import build_meta; getattr(build_meta, sys.argv[1])(sys.argv[2])"
_COUNT: Final = "import duckdb; print(len(duckdb.connect('sample.duckdb').sql('FROM events')))"
_READ: Final = re.compile(r"^([\d,]+) read = ", re.MULTILINE)


class ReleaseError(Exception):
    """Why there is no release, in one line."""


def main() -> int:
    """Returns 0 when dist/ has a release, 1 where there is none."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--url", default="", help="the repository's address")
    url = parser.parse_args().url or origin()
    try:
        with tempfile.TemporaryDirectory(prefix="release-") as folder:
            release(Path(folder), url)
    except ReleaseError as error:
        print(f"There is no release: {error}", file=sys.stderr)
        return 1
    except subprocess.CalledProcessError as error:
        print(f"There is no release: `{error.cmd[-1]}` failed, and says why above", file=sys.stderr)
        return 1
    return 0


def release(folder: Path, url: str) -> None:
    """Makes dist/ anew, in steps that are each told. Raises ReleaseError and CalledProcessError."""
    if output("git", "status", "--porcelain", "--untracked-files=no"):
        raise ReleaseError("what is built is what is committed, and some files are not; commit them, or put them away")
    if not url:
        print("No address of the repository is known, so the package has no links: --url=https://… gives one")
    tell("building the sdist, and the wheel from it")
    source = exported(folder / "source", files("HEAD"))
    tools = environment(folder / "tools", *requirements(source), *TWINE)
    built = build(tools, source, folder / "built", url)
    for path in built:
        check(path, files("HEAD"))
    tell("checking both with twine")
    run(tools, "-m", "twine", "check", "--strict", *map(str, built))
    tell("installing the wheel into an empty environment")
    empty = environment(folder / "empty", f"--constraint={ROOT / 'constraints.txt'}", str(built[1]))
    run(empty, "-m", "pip", "check")
    tell("running the sample there")
    run_sample(empty, folder / "sample", source / "examples")
    shutil.rmtree(ROOT / "dist", ignore_errors=True)
    shutil.copytree(folder / "built", ROOT / "dist")
    version = built[1].name.split("-")[1]
    print(f"dist/ has {' and '.join(path.name for path in built)}; tag the commit: git tag v{version}")


def origin() -> str:
    """The address of the remote `origin` in a browser; empty where there is none."""
    done = subprocess.run(["git", "remote", "get-url", "origin"], cwd=ROOT, capture_output=True, text=True, check=False)
    found = re.fullmatch(r"(?:https://|ssh://git@|git@)([\w.-]+)[:/]([\w./-]+?)(?:\.git)?", done.stdout.strip())
    return f"https://{found[1]}/{found[2]}" if found else ""


def files(commit: str) -> list[str]:
    """The files of a commit."""
    return output("git", "ls-tree", "-r", "--name-only", commit).splitlines()


def exported(folder: Path, names: Sequence[str]) -> Path:
    """Those files of the repository in a folder of their own, without whatever else stands beside them."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    return folder


def requirements(source: Path) -> list[str]:
    """What builds the package."""
    (listed,) = re.findall(r"^requires = \[(.*)\]$", (source / "pyproject.toml").read_text("utf-8"), re.MULTILINE)
    return re.findall(r'"([^"]+)"', listed)


def environment(folder: Path, *wanted: str) -> Path:
    """The Python of a new environment with these packages."""
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *wanted)
    return python


def build(python: Path, source: Path, folder: Path, url: str = "") -> tuple[Path, Path]:
    """The sdist of a source tree, and the wheel that is built from what the sdist holds."""
    folder.mkdir()
    variables = {**os.environ, URL: url}
    run(python, "-c", _BACKEND, "build_sdist", str(folder), cwd=source, env=variables)
    (sdist,) = folder.iterdir()
    with unpacked(sdist) as sources:
        run(python, "-c", _BACKEND, "build_wheel", str(folder), cwd=sources, env=variables)
    (wheel,) = folder.glob("*.whl")
    return sdist, wheel


@contextmanager
def unpacked(sdist: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="sdist-") as folder, tarfile.open(sdist) as archive:
        archive.extractall(folder)
        (inside,) = Path(folder).iterdir()
        yield inside


def contents(path: Path) -> set[str]:
    """The files of an sdist, without its folder's name, or of a wheel."""
    if path.suffix == ".whl":
        with zipfile.ZipFile(path) as archive:
            return {name for name in archive.namelist() if not name.endswith("/")}
    with tarfile.open(path) as sources:
        return {member.name.partition("/")[2] for member in sources if member.isfile()}


BESIDE: Final = {"CHANGELOG.md", "LICENSE", "MANIFEST.in", "README.md", "constraints.txt", "pyproject.toml", "setup.py"}
_MADE: Final = re.compile(r"PKG-INFO|setup\.cfg|segment_bigquery(\.egg-info|-[\w.]+\.dist-info)/.*")


def packages() -> set[str]:
    """The packages that setup.py lists, without those inside of others."""
    assigned = {
        node.targets[0].id: node.value
        for node in ast.parse((ROOT / "setup.py").read_text("utf-8")).body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }
    return {name.partition(".")[0] for name in ast.literal_eval(assigned["PACKAGES"])}


def check(path: Path, committed: Sequence[str]) -> None:
    """Raises ReleaseError where an sdist or a wheel lacks a file of the packages, or holds a stray one."""
    top = packages()
    files = {name for name in committed if name.partition("/")[0] in top}
    expected = files if path.suffix == ".whl" else files | BESIDE
    found = {name for name in contents(path) if not _MADE.fullmatch(name)}
    if found != expected:
        stray, lacking = sorted(found - expected), sorted(expected - found)
        raise ReleaseError(f"{path.name} has stray files {stray}, and lacks {lacking}")


def run_sample(python: Path, folder: Path, examples: Path) -> None:
    """Runs the commands that were installed, away from the repository. Raises ReleaseError."""
    folder.mkdir()
    for name in ("events.jsonl", "connections.yaml"):
        shutil.copy(examples / name, folder)
    options = ("--input=events.jsonl", "--connections=connections.yaml", "--warehouse=duckdb:///sample.duckdb")
    printed = output(str(python.with_name("segment-pipeline")), *options, cwd=folder)
    print(printed, end="")
    output(str(python.with_name("segment-receiver")), "--help", cwd=folder)
    rows = output(str(python), "-c", _COUNT, cwd=folder)
    if not (found := _READ.search(printed)) or int(rows) < 0.5 * int(found[1].replace(",", "")):
        raise ReleaseError(f"the sample gave {rows.strip()} rows of events")


def tell(step: str) -> None:
    print(f"  {step}", flush=True)


def run(python: Path, *words: str, cwd: Path | None = None, env: dict[str, str] | None = None) -> None:
    """Runs a Python. Raises CalledProcessError with what it says printed."""
    subprocess.run([str(python), *words], cwd=cwd, env=env, check=True, stdout=subprocess.DEVNULL)


def output(*words: str, cwd: Path = ROOT) -> str:
    """What a command prints. Raises CalledProcessError."""
    return subprocess.run(words, cwd=cwd, check=True, stdout=subprocess.PIPE, text=True).stdout


if __name__ == "__main__":
    sys.exit(main())
