"""Segment's SDK comes from npm once; where it cannot be had, a few words say why."""

from __future__ import annotations

import io
import shutil
import tarfile
from pathlib import Path

import pytest

from examples import browser_sdk


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and nothing but a `npm` of the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    npm = tmp_path / "bin" / "npm"
    monkeypatch.setattr(shutil, "which", lambda _: str(npm) if npm.exists() else None)
    return tmp_path


def npm(folder: Path, script: str) -> None:
    program = folder / "bin" / "npm"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


def package(folder: Path, *names: str) -> Path:
    """A package as npm packs it, with these files."""
    file = folder / "made.tgz"
    with tarfile.open(file, "w:gz") as packed:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size = 2
            packed.addfile(member, io.BytesIO(b"{}"))
    return file


def test_the_scripts_are_kept_and_npm_is_asked_once(folder: Path) -> None:
    names = ["dist/umd/standalone.js", "dist/umd/1.bundle.js", "dist/umd/1.bundle.js.map", "dist/umd/a/b.js", "x.js"]
    made = package(folder, *(f"package/{name}" for name in names), "package/dist/umd/../../../../evil.js")
    npm(folder, f'cp {made} segment.tgz; echo "$@" >> {folder}/asked')
    assert not browser_sdk.is_kept()
    scripts = browser_sdk.scripts()
    assert sorted(path.name for path in scripts.iterdir()) == ["1.bundle.js", "standalone.js"]
    assert browser_sdk.scripts() == scripts
    assert browser_sdk.is_kept()
    assert (folder / "asked").read_text().count(f"pack {browser_sdk.PACKAGE}@{browser_sdk.VERSION}") == 1
    assert list(folder.rglob("evil.js")) == []


@pytest.mark.parametrize(
    ("script", "why"),
    [
        (None, "there is no npm"),
        ("exit 1", "npm cannot get it"),
        ("exit 0", "npm cannot get it"),
        ("echo no package > segment.tgz", "npm gave no package"),
        ("exec sleep 60", "npm does not answer within 0 s"),
        ("cp {made} segment.tgz", "its package has no standalone.js"),
    ],
)
def test_where_it_cannot_be_had_a_few_words_say_why(
    script: str | None, why: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if script is not None:
        npm(folder, script.format(made=package(folder, "package/index.js")))
    if "sleep" in str(script):
        monkeypatch.setattr(browser_sdk, "_NPM_S", 0.2)
    with pytest.raises(browser_sdk.MissingError, match=why):
        browser_sdk.scripts()
    assert not browser_sdk.is_kept()


def test_a_cache_that_cannot_be_written_is_said(folder: Path) -> None:
    npm(folder, "exit 0")
    (folder / "cache").write_text("a file")
    with pytest.raises(browser_sdk.MissingError, match="cannot be kept in"):
        browser_sdk.scripts()
