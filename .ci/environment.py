"""Sets up .venv with what a target of the Makefile needs, and says what it does meanwhile. Whatever Python runs this is
the one that a new .venv is made with.

    python .ci/environment.py                  what a local run needs
    python .ci/environment.py --extra=gcp      and what an extra of setup.py brings: gcp, report or dev, which is all

What is installed stays until setup.py or constraints.txt changes. With --this-python a .venv of another Python is made
anew.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import queue
import re
import shutil
import subprocess
import sys
import threading
import time
import venv
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
FOLDER: Final = Path(".venv")
PYTHON: Final = FOLDER / "bin" / "python"
RECORD: Final = FOLDER / "installed.json"
"""What is installed there: the extras, and what setup.py and constraints.txt held then."""
ALL: Final = "dev"
QUIET: Final = {
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    "PIP_ROOT_USER_ACTION": "ignore",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONUNBUFFERED": "1",
}
"""The environment in which pip tells each step when it begins it, and leaves nothing of its own behind."""
_LARGE_MB: Final = 5.0
_SILENT_S: Final = 5.0
"""A line is printed at least as often."""
_PLACE: Final = "import os, sys; print(os.path.realpath(sys.base_prefix), sys.version_info[:3])"
"""What tells one Python from another."""


def main() -> int:
    """Returns 0 when it is set up, 1 where it cannot be."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--extra", default="", help="an extra of setup.py")
    parser.add_argument("--this-python", action="store_true", help="make a .venv of another Python anew")
    given = parser.parse_args()
    os.chdir(ROOT)
    is_anew = given.this_python and FOLDER.exists() and place(PYTHON) != place(Path(sys.executable))
    present, wanted = set() if is_anew else installed(), {given.extra} - {""}
    if present is not None and not is_anew and (wanted <= present or ALL in present):
        return 0
    extras = {ALL} if ALL in {*wanted, *(present or ())} else {*wanted, *(present or ())}
    print(f"Setting up {FOLDER} with Python {sys.version.split()[0]}, once: {purpose(extras)}", flush=True)
    if is_anew or not has_pip():
        if FOLDER.is_symlink():
            print(f"{FOLDER} is a link to a folder of another Python: remove the link first", file=sys.stderr)
            return 1
        make(FOLDER)
    started = time.monotonic()
    if install(extras):
        print("It cannot be installed: pip says why, above", file=sys.stderr)
        return 1
    RECORD.write_text(json.dumps({"extras": sorted(extras), "of": locked()}), "utf-8")
    print(f"  done in {time.monotonic() - started:.0f} s; {FOLDER} takes {size_mb(FOLDER):,.0f} MB", flush=True)
    return 0


def purpose(extras: set[str]) -> str:
    if ALL in extras:
        return "all that develops and tests it, a few minutes"
    with_extras = f", with {' and '.join(sorted(extras))}" if extras else ""
    return f"what a local run needs{with_extras}"


def place(python: Path) -> str:
    """Where a Python is installed, and its version; empty where it does not run."""
    try:
        return subprocess.run([str(python), "-c", _PLACE], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return ""


def installed() -> set[str] | None:
    """The extras that are installed as setup.py and constraints.txt are now; None where nothing is."""
    try:
        record = json.loads(RECORD.read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return set(record["extras"]) if record["of"] == locked() else None


def locked() -> str:
    return hashlib.sha256(b"".join(Path(name).read_bytes() for name in ("setup.py", "constraints.txt"))).hexdigest()


def has_pip() -> bool:
    command = [str(PYTHON), "-m", "pip", "--version"]
    return PYTHON.exists() and not subprocess.run(command, capture_output=True, env={**os.environ, **QUIET}).returncode


def make(folder: Path) -> None:
    """An environment with pip. What else Python 3.10 and 3.11 put there is not needed, nor what they compile."""
    venv.create(folder, clear=True, with_pip=True)
    command = [str(PYTHON), "-m", "pip", "uninstall", "--quiet", "--yes", "setuptools"]
    subprocess.run(command, capture_output=True, check=False, env={**os.environ, **QUIET})
    for cache in list(folder.rglob("__pycache__")):
        shutil.rmtree(cache)


def install(extras: set[str]) -> int:
    """Installs the project where it is, and tells of pip's steps what takes time. Returns pip's status."""
    project = f".[{','.join(sorted(extras))}]" if extras else "."
    words = ("install", "--progress-bar=off", "--no-compile", "--use-pep517", "-c", "constraints.txt", "-e", project)
    command = [str(PYTHON), "-m", "pip", *words]
    pip = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, **QUIET})
    for line in told(lines(pip)):
        print(f"  {line}", flush=True)
    return pip.wait()


def lines(process: subprocess.Popen[str]) -> Iterator[str | None]:
    """The lines that a process prints; None where there is none for a while."""
    arrived: queue.Queue[str] = queue.Queue()

    def read() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            arrived.put(line)
        arrived.put("")

    threading.Thread(target=read, daemon=True).start()
    while True:
        try:
            line = arrived.get(timeout=_SILENT_S)
        except queue.Empty:
            yield None
            continue
        if not line:
            return
        yield line


def told(output: Iterator[str | None]) -> Iterator[str]:
    """What pip does, in few lines."""
    started = last = time.monotonic()
    doing, collected = "asking the package index", 0
    for line in output:
        news = ""
        if line is None:
            news = f"still {doing}, {time.monotonic() - started:.0f} s"
        elif found := re.match(r"Collecting ([\w.-]+)", line.strip()):
            collected += 1
            doing = f"looking packages up: {collected}, now {found[1]}"
            news = doing if time.monotonic() - last > _SILENT_S else ""
        elif found := re.match(r"(Downloading|Using cached) ([\w.]+?)-\d\S* \(([\d.]+) MB\)", line.strip()):
            if float(found[3]) >= _LARGE_MB:
                doing = news = f"{found[1].lower()} {found[2]} ({found[3]} MB)"
        elif line.startswith("Installing collected packages: "):
            doing = news = f"installing {line.count(',') + 1} packages"
        if news:
            last = time.monotonic()
            yield news


def size_mb(folder: Path) -> float:
    """How much room a folder takes, as `du` counts it."""
    files = (Path(path, name) for path, _, names in os.walk(folder) for name in names)
    return sum(file.lstat().st_blocks * 512 for file in files) / 2**20


if __name__ == "__main__":
    sys.exit(main())
