"""The views' translations that are kept are those of today.

`python -m tests.pipeline.warehouses.duckdb.test_translated --update` writes them anew.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from pipeline.warehouses.duckdb import ddl
from schemas import views
from schemas.views import TableFunction, View

QUERIES: list[View | TableFunction] = [
    *(view for view in views.ALL if view.name not in views.COPIES_REMOVED),
    *views.FUNCTIONS,
]
FOLDER = ddl.translation_file(QUERIES[0]).parent


def update() -> None:
    FOLDER.mkdir(exist_ok=True)
    for file in FOLDER.glob("*.sql"):
        file.unlink()
    for query in QUERIES:
        ddl.translation_file(query).write_text(ddl.translation(query), "utf-8")


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: query.name)
def test_a_translation_is_fresh(query: View | TableFunction) -> None:
    kept = ddl.translation_file(query).read_text("utf-8")
    assert kept == ddl.translation(query), f"run: python -m {__spec__.name} --update"


def test_no_translation_is_left_of_a_view_that_is_gone() -> None:
    assert {file.stem for file in FOLDER.iterdir()} == {query.name for query in QUERIES}


def test_a_view_that_has_changed_is_translated_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    view = View("v", "d", "SELECT SAFE_CAST('1' AS INT64) AS one")
    monkeypatch.setattr(ddl, "_TRANSLATED", tmp_path)
    ddl.translation_file(view).write_text(ddl.translation(view).replace("one", "kept"))
    assert "AS kept;" in ddl.create_view(view)
    changed = view._replace(sql=f"{view.sql}, 2 AS two")
    assert "AS two;" in ddl.create_view(changed)


if __name__ == "__main__":
    assert sys.argv[1:] == ["--update"], __doc__
    update()
