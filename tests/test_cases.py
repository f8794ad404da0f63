"""Inputs made after public reports of people who do this job: each gives the rows that they would expect.

A case is a folder: `input.jsonl`, maybe `connections.yaml`, and `right.json` with what was reported, and queries with
their rows. Times are as RFC 3339 writes them.
"""

from __future__ import annotations

import json
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import duckdb
import pytest

from pipeline import audit
from pipeline.options import parse
from pipeline.run import run

CASES = Path(__file__).with_name("cases")


@pytest.mark.parametrize("case", sorted(path.name for path in CASES.iterdir()))
def test_a_case_gives_the_right_rows(case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "warehouse.duckdb"
    configured = CASES / case / "connections.yaml"
    connections = [f"--connections={configured}"] if configured.exists() else []
    warehouse = f"--warehouse=duckdb:///{file}"
    run(*parse([f"--input={CASES / case / 'input.jsonl'}", warehouse, *connections]), "")
    with duckdb.connect(str(file), read_only=True) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        for right in json.loads((CASES / case / "right.json").read_text("utf-8"))["right"]:
            assert _shown(connection.execute(right["query"]).fetchall()) == right["rows"], right["query"]
    assert audit.main([warehouse, *connections]) == 0, capsys.readouterr().out


def _shown(value: Any) -> Any:
    if isinstance(value, datetime):
        time = value.astimezone(timezone.utc)
        return f"{time:%Y-%m-%dT%H:%M:%S}{f'.{time.microsecond:06}' * bool(time.microsecond)}Z"
    return [_shown(element) for element in value] if isinstance(value, list | tuple) else value
