"""`.ci/environment.py`, which the Makefile sets up .venv with: what it installs when, and what it says meanwhile."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]


def loaded() -> Any:
    spec = importlib.util.spec_from_file_location("environment", ROOT / ".ci" / "environment.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The script in a project of its own, whose .venv is this Python; `made` and `asked` are what it did."""
    module = loaded()
    (tmp_path / "setup.py").write_text("setup()\n", "utf-8")
    (tmp_path / "constraints.txt").write_text("duckdb==1.5.6\n", "utf-8")
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "python").symlink_to(sys.executable)
    module.made, module.asked = [], []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(module, "has_pip", lambda: True)
    monkeypatch.setattr(module, "make", module.made.append)
    monkeypatch.setattr(module, "install", lambda extras: module.asked.append(sorted(extras)))
    return module


def run(environment: Any, monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["environment.py", *words])
    status: int = environment.main()
    return status


@pytest.mark.parametrize(
    ("words", "installs"),
    [
        ("", [[]]),
        ("--extra=gcp", [["gcp"]]),
        ("--extra=gcp | ", [["gcp"]]),
        ("| --extra=gcp | --extra=gcp", [[], ["gcp"]]),
        ("--extra=report | --extra=gcp", [["report"], ["gcp", "report"]]),
        ("| --extra=dev | --extra=gcp |", [[], ["dev"]]),
    ],
)
def test_what_is_installed_grows(
    environment: Any, monkeypatch: pytest.MonkeyPatch, words: str, installs: list[list[str]]
) -> None:
    for each in words.split("|"):
        assert run(environment, monkeypatch, *each.split()) == 0
    assert environment.asked == installs
    assert environment.made == []


@pytest.mark.parametrize("name", ["setup.py", "constraints.txt"])
def test_it_is_installed_again_when_a_file_has_changed(
    environment: Any, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    assert run(environment, monkeypatch, "--extra=gcp") == 0
    Path(name).write_text("changed\n", "utf-8")
    assert run(environment, monkeypatch) == 0
    assert environment.asked == [["gcp"], []]


def test_another_python_makes_it_anew_only_where_it_is_meant(
    environment: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(environment, monkeypatch, "--extra=dev") == 0
    assert run(environment, monkeypatch, "--this-python") == 0
    assert environment.made == []
    python = Path(".venv/bin/python")
    python.unlink()
    python.write_text("#!/bin/sh\necho /usr/lib/python3.9 3.9.2\n", "utf-8")
    python.chmod(0o755)
    assert run(environment, monkeypatch) == 0
    assert (environment.made, environment.asked) == ([], [["dev"]])
    assert run(environment, monkeypatch, "--this-python") == 0
    assert (environment.made, environment.asked) == ([Path(".venv")], [["dev"], []])
    Path(".venv").rename("elsewhere")
    Path(".venv").symlink_to("elsewhere")
    assert run(environment, monkeypatch, "--this-python") == 1
    assert capsys.readouterr().err == ".venv is a link to a folder of another Python: remove the link first\n"
    assert len(environment.made) == 1


def test_what_could_not_be_installed_is_tried_again(
    environment: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(environment, "install", lambda extras: 1)
    assert run(environment, monkeypatch) == 1
    assert capsys.readouterr().err.count("\n") == 1
    assert environment.installed() is None
    Path(".venv/installed.json").write_text("{", "utf-8")
    assert environment.installed() is None


SAID: Mapping[str | None, str | None] = {
    "Obtaining file:///work": None,
    "Collecting apache-beam~=2.77.0 (from segment-bigquery==0.1.0)": None,
    "  Downloading apache_beam-2.77.0-cp311-cp311-manylinux.whl.metadata (15 kB)": None,
    "  Downloading pyarrow-25.0.1-cp311-cp311-manylinux_2_28_x86_64.whl (50.1 MB)": "downloading pyarrow (50.1 MB)",
    "Using cached duckdb-1.5.6-cp311-cp311-manylinux.whl (21.5 MB)": "using cached duckdb (21.5 MB)",
    "Downloading rich-15.0.0-py3-none-any.whl (0.2 MB)": None,
    "Installing collected packages: pytz, duckdb, pyarrow": "installing 3 packages",
    None: "still installing 3 packages, 0 s",
}


def test_each_long_step_is_told() -> None:
    module = loaded()
    assert list(module.told(iter(SAID))) == [line for line in SAID.values() if line]


def test_nothing_takes_minutes_in_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    module = loaded()
    monkeypatch.setattr(module, "_SILENT_S", 0.01)
    program = "import time; print('Collecting duckdb', flush=True); time.sleep(0.2)"
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as process:
        told = list(module.told(module.lines(process)))
    assert len(told) > 2
    assert all(line.startswith("still looking packages up: 1, now duckdb, ") for line in told[-2:])


EXTRAS = {
    **dict.fromkeys(("run", "stream", "live"), ""),
    "report": "-report",
    "gcp": "-gcp",
    **dict.fromkeys(("dbt", "test", "acceptance", "lint", "bench", "fuzz", "faults", "release"), "-dev"),
}


def test_each_target_installs_what_it_needs() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    assert dict(re.findall(r"^([a-z-]+): installed(\S*)(?: \$\(DBT\))? ##", makefile, re.MULTILINE)) == EXTRAS


@pytest.mark.parametrize(
    ("words", "given"),
    [
        (["installed"], ""),
        (["installed-dev"], "--extra=dev"),
        (["installed-dev", "PYTHON=python3"], "--extra=dev --this-python"),
    ],
)
def test_make_gives_the_extra_and_the_python_that_is_named(words: list[str], given: str) -> None:
    done = subprocess.run(["make", "-n", *words], cwd=ROOT, capture_output=True, text=True, check=True)
    (line,) = (line for line in done.stdout.splitlines() if "environment.py" in line)
    assert line.partition("environment.py")[2].split() == given.split()


def test_every_extra_is_one_of_setup() -> None:
    setup = (ROOT / "setup.py").read_text("utf-8")
    named = {extra.lstrip("-") for extra in EXTRAS.values() if extra}
    assert named <= set(re.findall(r'^        "(\w+)": [A-Z\[]', setup, re.MULTILINE))
