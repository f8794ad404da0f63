"""Segment's own SDK for browsers, from npm, kept in the user's cache."""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import Final

PACKAGE: Final = "@segment/analytics-next"
VERSION: Final = "1.84.3"
_SCRIPTS: Final = "package/dist/umd/"
_NPM_S: Final = 30.0


class MissingError(Exception):
    """Why the SDK cannot be had, in a few words."""


def is_kept() -> bool:
    """Whether npm need not be asked."""
    return (_folder() / "standalone.js").exists()


def scripts() -> Path:
    """The folder with the SDK's scripts, `standalone.js` among them. Raises MissingError."""
    folder = _folder()
    if not is_kept():
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=folder.parent) as place:
                _put(_unpacked(_packed(place), Path(place)), folder)
        except OSError as error:
            raise MissingError(f"it cannot be kept in {folder.parent}: {error.strerror or error}") from None
    return folder


def _folder() -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "segment-bigquery" / f"analytics-next-{VERSION}"


def _packed(place: str) -> Path:
    """The package, as npm gives it."""
    npm = shutil.which("npm")
    if npm is None:
        raise MissingError("there is no npm")
    command = [npm, "pack", f"{PACKAGE}@{VERSION}", "--silent", "--fetch-retries=0", "--ignore-scripts"]
    try:
        subprocess.run(command, cwd=place, check=True, capture_output=True, timeout=_NPM_S, stdin=subprocess.DEVNULL)
        return next(Path(place).glob("*.tgz"))
    except subprocess.TimeoutExpired:
        raise MissingError(f"npm does not answer within {_NPM_S:.0f} s") from None
    except (subprocess.CalledProcessError, StopIteration):
        raise MissingError("npm cannot get it") from None


def _unpacked(package: Path, place: Path) -> Path:
    """The scripts of the package, in a folder of their own."""
    scripts = place / "scripts"
    scripts.mkdir()
    try:
        with tarfile.open(package) as packed:
            for member in packed:
                name = member.name.removeprefix(_SCRIPTS)
                content = packed.extractfile(member) if member.isfile() and name != member.name else None
                if content is not None and name.endswith(".js") and "/" not in name:
                    (scripts / name).write_bytes(content.read())
    except tarfile.TarError:
        raise MissingError("npm gave no package") from None
    if not (scripts / "standalone.js").exists():
        raise MissingError("its package has no standalone.js")
    return scripts


def _put(made: Path, folder: Path) -> None:
    """Puts the scripts in their place at once; another process may have done so meanwhile."""
    if not folder.exists():
        made.rename(folder)
