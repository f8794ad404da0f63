"""The files around the code: the workflow, the hooks, the editor's rules, issue forms, and what they refer to."""

from __future__ import annotations

import configparser
import fnmatch
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]
MAKEFILE = (ROOT / "Makefile").read_text("utf-8")
WORKFLOWS = sorted((ROOT / ".github" / "workflows").iterdir())
FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yaml"))
PAGES = [
    ROOT / name for name in ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "docs/roadmap.md", "docs/install.md")
]


def read(name: str) -> Any:
    return yaml.safe_load((ROOT / name).read_text("utf-8"))


def tracked() -> list[Path]:
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip("this is no clone of the repository")
    paths = [ROOT / name for name in done.stdout.split("\0") if name]
    return [path for path in paths if path.is_file() and not path.is_symlink()]


# ---- the workflow ----


def test_each_python_that_is_supported_runs_what_must_pass() -> None:
    job = read(".github/workflows/ci.yaml")["jobs"]["run"]
    setup = (ROOT / "setup.py").read_text("utf-8")
    supported = re.findall(r'"Programming Language :: Python :: (3\.\d+)"', setup)
    assert job["strategy"]["matrix"]["python"] == supported
    assert job["container"] == "python:${{ matrix.python }}-bookworm"
    (step,) = (step for step in job["steps"] if step.get("run") == ".ci/run")
    assert step["env"] == {"PYTHON": "python${{ matrix.python }}"}
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o111


def test_what_must_pass_runs_with_the_python_that_is_named(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    shutil.copy(ROOT / ".ci" / "run", tmp_path / "run" / "run")
    for program in ("make", "npm", "javac", "mvn", "chromium", "python3"):
        (tmp_path / program).write_text(f'#!/bin/sh\necho {program} "$@" >> {tmp_path}/ran\n', "utf-8")
        (tmp_path / program).chmod(0o755)
    path = f"{tmp_path}:/usr/bin:/bin"
    for variables, given in (({}, ""), ({"PYTHON": "python3.12"}, " PYTHON=python3.12")):
        subprocess.run([tmp_path / "run" / "run"], env={"PATH": path, **variables}, check=True)
        ran = (tmp_path / "ran").read_text("utf-8").splitlines()
        assert ran[-3:] == [f"make {target}{given}" for target in ("lint", "test", "acceptance")]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_may_only_read_and_ends(path: Path) -> None:
    workflow = yaml.safe_load(path.read_text("utf-8"))
    assert workflow["permissions"] == {"contents": "read"}
    assert all(job["timeout-minutes"] <= 60 for job in workflow["jobs"].values())
    used = [step["uses"] for job in workflow["jobs"].values() for step in job["steps"] if "uses" in step]
    assert [each for each in used if not re.fullmatch(r"[\w.-]+/[\w./-]+@v\d+", each)] == []
    made = re.findall(r"make (\w+)", path.read_text("utf-8"))
    assert set(made) <= set(re.findall(r"^([\w-]+):", MAKEFILE, re.MULTILINE))


@pytest.mark.parametrize(
    ("schema", "name"),
    [
        ("github-workflows", ".github/workflows/ci.yaml"),
        ("github-issue-forms", ".github/ISSUE_TEMPLATE/bug.yaml"),
        ("github-issue-forms", ".github/ISSUE_TEMPLATE/change.yaml"),
        ("github-issue-config", ".github/ISSUE_TEMPLATE/config.yml"),
        ("dependabot", ".github/dependabot.yml"),
        ("cloudbuild", "templates/cloudbuild.yaml"),
    ],
)
def test_a_file_follows_its_published_schema(schema: str, name: str) -> None:
    program = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", f"vendor.{schema}", name]
    done = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


# ---- pre-commit ----


def test_the_hooks_are_what_lint_runs() -> None:
    (repository,) = read(".pre-commit-config.yaml")["repos"]
    assert repository["repo"] == "local"
    hooks = {hook["id"]: hook for hook in repository["hooks"]}
    assert all(hook["language"] == "system" and hook["name"] for hook in hooks.values())
    lint = re.findall(
        r"^\t\.venv/bin/(\S+)( [a-z]+)?", MAKEFILE.partition("\nlint:")[2].partition("\n\n")[0], re.MULTILINE
    )
    run = {hook["entry"].removeprefix(".venv/bin/").partition(" --")[0] for hook in hooks.values()}
    assert {f"{program}{command}" for program, command in lint} | {"shellcheck"} == run


def test_scripts_pass_shellcheck() -> None:
    scripts = [
        path for path in tracked() if path.suffix == ".sh" or path.read_bytes()[:30].startswith(b"#!/usr/bin/env bash")
    ]
    assert ROOT / ".ci" / "run" in scripts
    program = ROOT / ".venv" / "bin" / "shellcheck"
    found = str(program) if program.exists() else shutil.which("shellcheck")
    assert found is not None
    done = subprocess.run([found, *map(str, scripts)], capture_output=True, text=True, check=False)
    assert done.stdout == ""


# ---- the editor's rules ----


def rules() -> list[tuple[str, Mapping[str, str]]]:
    """The sections of .editorconfig, in their order."""
    parser = configparser.ConfigParser(strict=True)
    text = (ROOT / ".editorconfig").read_text("utf-8")
    assert text.startswith("root = true\n")
    parser.read_string(text.removeprefix("root = true\n"))
    return [(name, dict(parser[name])) for name in parser.sections()]


def rules_of(path: Path) -> dict[str, str]:
    """The rules of a file: a later section stands over an earlier one."""
    name = str(path.relative_to(ROOT))
    found: dict[str, str] = {}
    for pattern, section in rules():
        choices = re.fullmatch(r"(.*)\{(.*)\}", pattern)
        patterns = [f"{choices[1]}{each}" for each in choices[2].split(",")] if choices else [pattern]
        if any(fnmatch.fnmatch(name if "/" in each else path.name, each.replace("**", "*")) for each in patterns):
            found.update(section)
    return found


def test_files_are_as_the_editor_writes_them() -> None:
    wrong = []
    for path in tracked():
        data, rule = path.read_bytes(), rules_of(path)
        if b"\0" in data or not data:
            continue
        lines = data.split(b"\n")
        problems = {
            "a line ends otherwise": b"\r\n" in data and rule["end_of_line"] == "lf",
            "no line end at its end": lines[-1] != b"" and rule["insert_final_newline"] == "true",
            "space at a line's end": rule["trim_trailing_whitespace"] == "true"
            and any(line.endswith((b" ", b"\t")) for line in lines),
            "a tab": rule["indent_style"] == "space" and any(line.startswith(b"\t") for line in lines),
        }
        wrong += [f"{path.relative_to(ROOT)}: {problem}" for problem, is_so in problems.items() if is_so]
    assert wrong == []


def test_a_line_is_as_long_as_ruff_lets_it() -> None:
    (length,) = re.findall(r"^line-length = (\d+)$", (ROOT / "pyproject.toml").read_text("utf-8"), re.MULTILINE)
    assert rules_of(ROOT / "setup.py")["max_line_length"] == length
    assert rules_of(ROOT / "Makefile")["indent_style"] == "tab"
    assert rules_of(ROOT / ".github" / "workflows" / "ci.yaml")["indent_size"] == "2"


# ---- issues ----

FIELDS = {
    "markdown": {"value"},
    "textarea": {"label", "description", "render", "placeholder", "value"},
    "input": {"label", "description", "placeholder", "value"},
    "dropdown": {"label", "description", "options", "multiple", "default"},
}
"""What an element of a form may have:
https://docs.github.com/en/communities/using-templates-to-encourage-useful-issues-and-pull-requests/syntax-for-githubs-form-schema"""


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)
def test_a_form_is_one_that_github_takes(path: Path) -> None:
    form = yaml.safe_load(path.read_text("utf-8"))
    assert {"name", "description", "body"} <= set(form) <= {"name", "description", "body", "labels", "title"}
    ids = [element["id"] for element in form["body"] if element["type"] != "markdown"]
    assert ids
    assert len(ids) == len(set(ids))
    for element in form["body"]:
        assert set(element) <= {"type", "id", "attributes", "validations"}
        assert set(element["attributes"]) <= FIELDS[element["type"]]
        assert set(element.get("validations", {})) <= {"required"}
        assert ("label" if element["type"] != "markdown" else "value") in element["attributes"]


def test_there_are_forms() -> None:
    assert [path.stem for path in FORMS] == ["bug", "change"]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_what_a_page_links_to_exists(path: Path) -> None:
    links = re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", path.read_text("utf-8"))
    assert [link for link in links if not (path.parent / link).exists()] == []
