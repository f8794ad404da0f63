"""`schemas` only describes: it opens no client and connects to nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import schemas

ROOT = Path(__file__).parents[2]
PROGRAM = """
import sys
before = set(sys.modules)
import importlib, pkgutil, schemas
names = [module.name for module in pkgutil.walk_packages(schemas.__path__, "schemas.")]
for name in names:
    if name != "schemas.__main__":
        importlib.import_module(name)
print(*sorted(set(sys.modules) - before))
"""
"""Imports every module but the door to the commands, which the pipeline has."""
CLIENTS = {"duckdb", "google.cloud.bigquery", "google.api_core", "pyarrow", "sqlglot", "apache_beam", "pipeline"}


def test_the_schemas_load_no_client() -> None:
    ran = subprocess.run([sys.executable, "-c", PROGRAM], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = set(ran.stdout.split())
    modules = {path.stem for path in Path(schemas.__path__[0]).glob("*.py")} - {"__init__", "__main__"}
    assert {f"schemas.{module}" for module in modules} <= loaded
    assert loaded.isdisjoint(CLIENTS)
