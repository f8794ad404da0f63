"""dbt, in the environment of its own that `make` sets up: runs it, for tests of what it makes."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import pytest

ROOT: Final = Path(__file__).parents[2]
PACKAGE: Final = ROOT / "dbt"
CSV: Final = "answer.csv"
"""Where `metric_answers.py` looks for the answer of a query that has it for its option `--csv`."""
MANIFEST: Final = "semantic_manifest.json"
"""Metrics and semantic models, as dbt has parsed them."""
EMPTY: Final[Mapping[str, Any]] = {}
_COMMANDS: Final = ROOT / ".venv-dbt/bin"
_TOKEN: Final = re.compile(
    r"\"{3}.*?\"{3}|'(?:\\.|[^'\\])*'|\"(?:\\.|[^\"\\])*\"|`[^`]*`|--[^\n]*|/\*.*?\*/|;|[^;'\"`/-]+|.", re.DOTALL
)
"""Texts, quoted names, comments and what is between them."""
_STATEMENTS: Final = Path(__file__).with_name("bigquery_statements.py")
_METRICS: Final = Path(__file__).with_name("metric_answers.py")


def require() -> None:
    """Skips the test where dbt is not installed; in CI that is a failure."""
    if (_COMMANDS / "dbt").exists():
        return
    missing = "dbt is not installed: make .venv-dbt/.installed"
    if os.environ.get("CI"):
        pytest.fail(missing)
    pytest.skip(missing)


def dbt(
    *arguments: str, project: Path, target: Path, variables: Mapping[str, object] = EMPTY, **environment: str
) -> dict[str, Any]:
    """Runs a command of dbt in a project, and gives the outcome of each of its nodes by name. Fails the test where dbt
    does; files that it writes go to `target`."""
    command = [str(_COMMANDS / "dbt"), *arguments, *_options(project, target, variables)]
    _run(command, project, environment)
    results = target / "run_results.json"
    return (
        {result["unique_id"].split(".")[2]: result for result in json.loads(results.read_text("utf-8"))["results"]}
        if results.exists()
        else {}
    )


def bigquery_statements(
    *arguments: str,
    project: Path,
    target: Path,
    catalog: Mapping[str, Sequence[str]] = EMPTY,
    variables: Mapping[str, object] = EMPTY,
) -> list[str]:
    """The statements that a command of dbt would have BigQuery execute, one by one; `catalog` has the columns of tables
    that are there already."""
    target.mkdir(parents=True, exist_ok=True)
    file = target / "statements.json"
    command = [str(_COMMANDS / "python"), str(_STATEMENTS), str(file), json.dumps(catalog), *arguments]
    _run([*command, "--target=bigquery", *_options(project, target, variables)], project, {})
    return [statement for script in json.loads(file.read_text("utf-8")) for statement in _split(script)]


def metric_answers(
    queries: Sequence[Sequence[str]], *, target: Path, into: str = "duckdb", **environment: str
) -> list[str]:
    """What `mf query` prints for each query of the package's metrics, or its CSV file; `target` has the files of a run
    of dbt on the target named `into`."""
    folder = target / "metrics"
    (folder / "target").mkdir(parents=True, exist_ok=True)
    (folder / "target" / MANIFEST).write_bytes((target / MANIFEST).read_bytes())
    (folder / "dbt_project.yml").write_bytes((PACKAGE / "dbt_project.yml").read_bytes())
    profile = (PACKAGE / "profiles.yml").read_text("utf-8").replace("target: duckdb", f"target: {into}")
    (folder / "profiles.yml").write_text(profile, "utf-8")
    file = folder / "answers.json"
    _run([str(_COMMANDS / "python"), str(_METRICS), str(file), json.dumps(queries)], folder, environment)
    answers: list[str] = json.loads(file.read_text("utf-8"))
    return answers


def _options(project: Path, target: Path, variables: Mapping[str, object]) -> Iterator[str]:
    yield from ("--profiles-dir", str(project), "--target-path", str(target), "--log-path", str(target))
    yield from ("--no-use-colors", "--log-level-file=none", "--vars", json.dumps(variables))


def _run(command: list[str], project: Path, environment: Mapping[str, str]) -> None:
    ran = subprocess.run(
        command, cwd=project, env={**os.environ, **environment}, capture_output=True, text=True, timeout=240
    )
    if ran.returncode:
        pytest.fail(f"{' '.join(command[:3])} …\n{ran.stdout}\n{ran.stderr}", pytrace=False)


def _split(script: str) -> Iterator[str]:
    """The statements of a script, without comments."""
    statement = ""
    for token in _TOKEN.findall(script):
        if token == ";":
            yield statement.strip()
            statement = ""
        elif not token.startswith(("--", "/*")):
            statement += token
    if statement.strip():
        yield statement.strip()
