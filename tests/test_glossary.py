"""The glossary and the code name the same things, and no name stands for two.

`python -m tests.test_glossary --update` writes the list of the public classes into the glossary.
"""

from __future__ import annotations

import ast
import re
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
GLOSSARY = ROOT / "docs" / "glossary.md"
PACKAGES = ("schemas", "transforms", "pipeline", "receiver", "templates", "judge", "segment_pipeline")
BLOCK = re.compile(r"(<!-- classes: [^\n]* -->\n)(.*?)(<!-- end -->)", re.DOTALL)
FILLERS = {"beside", "each", "found", "said", "taken", "there", "told"}
"""Words that stand for anything: never the name of a variable, a parameter or a function."""


class PublicClass(NamedTuple):
    name: str
    module: str
    meaning: str
    """The first sentence of its docstring, on one line."""


def modules() -> Iterator[Path]:
    for package in PACKAGES:
        yield from sorted((ROOT / package).rglob("*.py"))


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"), str(path))


def public_classes() -> list[PublicClass]:
    """The public classes at the top of every module, by name."""
    classes = []
    for path in modules():
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for node in parsed(path).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                text = " ".join((ast.get_docstring(node) or "").split())
                sentence = re.match(r".*?[.:](?= |$)", text)
                classes.append(PublicClass(node.name, module, sentence[0] if sentence else text))
    return sorted(classes)


CLASSES = public_classes()


def class_table() -> str:
    rows = [f"| `{name}` | `{module}` | {meaning.replace('|', chr(92) + '|')} |" for name, module, meaning in CLASSES]
    return "\n".join(["| class | module | |", "| --- | --- | --- |", *rows])


def terms() -> Mapping[str, list[str]]:
    """The names in the code of each term."""
    section = GLOSSARY.read_text("utf-8").partition("## Terms")[2].partition("\n## ")[0]
    rows = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("| ")][2:]
    return {row[0]: re.findall(r"`(\w+)`", row[2]) if len(row) > 2 else [] for row in rows}


def test_no_public_name_stands_for_two_classes() -> None:
    named: dict[str, list[str]] = defaultdict(list)
    for name, module, _ in CLASSES:
        named[name].append(module)
    assert {name: where for name, where in named.items() if len(where) > 1} == {}


@pytest.mark.parametrize("public", CLASSES, ids=[public.name for public in CLASSES])
def test_every_public_class_says_what_it_is(public: PublicClass) -> None:
    assert public.meaning


def test_the_glossary_lists_the_public_classes() -> None:
    block = BLOCK.search(GLOSSARY.read_text("utf-8"))
    assert block is not None
    assert block[2].strip() == class_table(), "run: python -m tests.test_glossary --update"


def test_terms_are_sorted_and_name_classes_that_exist() -> None:
    names = {public.name for public in CLASSES} | type_aliases()
    listed = terms()
    assert list(listed) == sorted(listed)
    assert {term: set(code) - names for term, code in listed.items() if set(code) - names} == {}


def type_aliases() -> set[str]:
    """Public names that stand for a type at the top of a module, such as `Stamp = tuple[int, str]`."""
    return {
        target.id
        for path in modules()
        for node in parsed(path).body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name) and target.id[0].isupper() and not target.id.isupper()
    }


def names_defined(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """Every name that a module gives to a variable, a parameter, a function or an attribute, with its line."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id, node.lineno
        elif isinstance(node, ast.arg):
            yield node.arg, node.lineno
        elif isinstance(node, ast.FunctionDef):
            yield node.name, node.lineno
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr, node.lineno


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_no_name_is_a_filler(path: Path) -> None:
    assert [f"{name} in line {line}" for name, line in names_defined(parsed(path)) if name.strip("_") in FILLERS] == []


def update() -> None:
    page = GLOSSARY.read_text("utf-8")
    GLOSSARY.write_text(BLOCK.sub(lambda block: f"{block[1]}\n{class_table()}\n\n{block[3]}", page), "utf-8")


if __name__ == "__main__":
    if sys.argv[1:] != ["--update"]:
        sys.exit("usage: python -m tests.test_glossary --update")
    update()
