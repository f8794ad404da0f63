"""What is released: what the sdist and the wheel hold, and what CHANGELOG.md says of a version.

`make release` does the rest: twine's checks, and the sample in an environment with the wheel alone.
"""

from __future__ import annotations

import datetime
import email
import hashlib
import importlib.util
import itertools
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import kept
from transforms import coders
from transforms.core.rules_version import RULES_VERSION

ROOT = Path(__file__).parents[1]
SETUP = (ROOT / "setup.py").read_text("utf-8")
(VERSION,) = re.findall(r'^VERSION = "(\d+\.\d+\.\d+)"$', SETUP, re.MULTILINE)
CHANGELOG = (ROOT / "CHANGELOG.md").read_text("utf-8")
RELEASES = re.findall(r"^## \[(\S+)\] - (\S+)\n(.*?)(?=^## |\Z)", CHANGELOG, re.MULTILINE | re.DOTALL)
WAYS = {"update", "update with history", "replace"}
"""The ways of docs/dataflow.md, "Updating"."""


def loaded() -> Any:
    spec = importlib.util.spec_from_file_location("release", ROOT / ".ci" / "release.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


RELEASE = loaded()


def committed() -> list[str]:
    """The files of the next commit, as they are."""
    words = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip("this is no clone of the repository")
    return [name for name in done.stdout.splitlines() if (ROOT / name).is_file() and not (ROOT / name).is_symlink()]


@pytest.fixture(scope="module")
def backend() -> Iterator[Path]:
    """A Python with what builds the package, which stays for the next time."""
    wanted = RELEASE.requirements(ROOT)
    name = f"build-{hashlib.sha256(repr([wanted, sys.version]).encode()).hexdigest()[:16]}"
    with kept.alone(name) as folder:
        if not (folder / "complete").exists():
            shutil.rmtree(folder, ignore_errors=True)
            try:
                RELEASE.environment(folder, *wanted)
            except subprocess.CalledProcessError:
                assert not os.environ.get("CI")
                pytest.skip("no package index can be reached: run the tests once with one")
            (folder / "complete").touch()
        yield folder / "bin" / "python"


@pytest.fixture(scope="module")
def built(backend: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("release")
    source = RELEASE.exported(folder / "source", committed())
    sdist, wheel = RELEASE.build(backend, source, folder / "built", "https://github.com/acme/segment-bigquery")
    return sdist, wheel


def test_nothing_is_stray_and_nothing_lacks(built: tuple[Path, Path]) -> None:
    for path in built:
        RELEASE.check(path, committed())
        with pytest.raises(RELEASE.ReleaseError, match=r"stray files \['schemas/tables.py'\]"):
            RELEASE.check(path, [name for name in committed() if name != "schemas/tables.py"])
        with pytest.raises(RELEASE.ReleaseError, match=r"lacks \['schemas/forgotten.py'\]"):
            RELEASE.check(path, [*committed(), "schemas/forgotten.py"])


def test_its_description_and_its_links(built: tuple[Path, Path]) -> None:
    with zipfile.ZipFile(built[1]) as wheel, tarfile.open(built[0]) as sdist:
        (name,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = email.message_from_bytes(wheel.read(name))
        read = sdist.extractfile(f"segment_bigquery-{VERSION}/PKG-INFO")
        assert read is not None
        assert email.message_from_bytes(read.read()).get_all("Project-URL") == metadata.get_all("Project-URL")
    assert (metadata["Name"], metadata["Version"]) == ("segment-bigquery", VERSION)
    assert metadata["Description-Content-Type"] == "text/markdown"
    description = metadata.get_payload()
    assert isinstance(description, str)
    assert description.startswith("# segment-bigquery")
    assert not re.search(r"\]\((?!https?://|#)", description)
    linked = re.findall(rf"https://github\.com/acme/segment-bigquery/blob/v{VERSION}/([^)#]+)", description)
    assert linked
    assert not [path for path in linked if not (ROOT / path).exists()]
    assert {line.split(", ")[0] for line in metadata.get_all("Project-URL", [])} >= {"Source", "Changelog"}
    assert set(metadata.get_all("Provides-Extra", [])) == {"dev", "gcp", "receiver", "report"}


def test_its_version_is_in_one_place() -> None:
    words = ["git", "grep", "-lF", VERSION, "--", "*.py", "*.toml", "*.yaml", "Makefile", ":!tests"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout.split() in (["setup.py"], [])


def test_the_changelog_has_the_version_that_is_built() -> None:
    assert RELEASES[0][0] == VERSION
    numbers = [tuple(map(int, version.split("."))) for version, _, _ in RELEASES]
    days = [datetime.date.fromisoformat(day) for _, day, _ in RELEASES]
    assert numbers == sorted(set(numbers), reverse=True)
    assert days == sorted(days, reverse=True)


@pytest.mark.parametrize(("version", "text"), [(version, text) for version, _, text in RELEASES])
def test_each_release_says_how_a_job_gets_to_it(version: str, text: str) -> None:
    (way,) = re.findall(r"^Jobs that run: \*\*([^*]+)\*\*", text, re.MULTILINE)
    assert way in WAYS
    kinds = re.findall(r"^### (.*)$", text, re.MULTILINE)
    assert kinds
    assert set(kinds) <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def test_the_ways_are_those_of_the_document() -> None:
    updating = (ROOT / "docs" / "dataflow.md").read_text("utf-8").partition("## Updating")[2]
    assert set(re.findall(r"^\| \*\*([^*]+)\*\* \|", updating, re.MULTILINE)) == WAYS


def test_a_change_of_rules_or_encoding_is_told() -> None:
    texts = [re.search(r"Rules (\d+), encoding (\d+)\.", text) for _, _, text in RELEASES]
    told = [(int(found[1]), int(found[2])) for found in texts if found]
    assert len(told) == len(RELEASES)
    assert told[0] == (RULES_VERSION, coders.VERSION)
    for (newer, older), (_, _, text) in zip(itertools.pairwise(told), RELEASES, strict=False):
        assert newer == older or "**update**" not in text


@pytest.mark.parametrize(
    ("remote", "address"),
    [
        ("https://github.com/acme/segment-bigquery.git", "https://github.com/acme/segment-bigquery"),
        ("git@github.com:acme/segment-bigquery.git", "https://github.com/acme/segment-bigquery"),
        ("ssh://git@git.acme.example/data/segment-bigquery", "https://git.acme.example/data/segment-bigquery"),
        ("/srv/git/segment-bigquery", ""),
        ("", ""),
    ],
)
def test_the_address_is_that_of_the_remote(monkeypatch: pytest.MonkeyPatch, remote: str, address: str) -> None:
    done = subprocess.CompletedProcess([], 0, f"{remote}\n", "")
    monkeypatch.setattr(RELEASE.subprocess, "run", lambda *words, **settings: done)
    assert RELEASE.origin() == address
