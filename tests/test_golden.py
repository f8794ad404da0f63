"""The whole job on small readable inputs: every table is as `tests/golden` holds it, and as the replay has it.

After a change that is meant: `python -m tests.golden --update`, and read the diff.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from judge import Config, ConnectionRules, MappingRules, replay
from tests.golden import __main__ as golden
from tests.warehouse import comparable, tables

DEFAULT = Config().connections[0].account_mapping


def config(case: str) -> Config:
    """A case's connections file as the judge reads it."""
    document = yaml.safe_load((golden.HERE / case / "connections.yaml").read_text())
    connections = tuple(
        ConnectionRules(
            each["name"],
            tuple(each["project_ids"]) if "project_ids" in each else None,
            MappingRules(**each["account_mapping"]) if "account_mapping" in each else DEFAULT,
        )
        for each in document.pop("connections")
    )
    return Config(connections, **document)


def lines(case: str) -> list[bytes]:
    found = sorted((golden.HERE / case).glob("input*.jsonl"))
    return [line for path in found for line in path.read_bytes().split(b"\n") if line]


def test_there_is_a_case_for_each_way_to_name_accounts() -> None:
    assert set(golden.CASES) >= {"group", "identify_traits", "email_domain", "engage", "deletion", "batches", "rubbish"}


@pytest.mark.parametrize("case", golden.CASES)
def test_the_tables_are_as_they_were_and_the_replays(case: str, tmp_path: Path) -> None:
    file = tmp_path / "warehouse.duckdb"
    golden.job(case, file)
    assert golden.texts(file) == golden.expected(case), "if it is meant: python -m tests.golden --update"
    assert comparable(tables(file)) == comparable(replay(lines(case), config(case)))


def test_an_update_writes_what_differs_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(golden, "HERE", tmp_path)
    (tmp_path / "stale").write_text("rows\n")
    (tmp_path / "kept").write_text("rows\n")
    wanted = [(tmp_path / "new", "rows\n"), (tmp_path / "stale", None), (tmp_path / "kept", "rows\n")]
    monkeypatch.setattr(golden, "files", lambda: iter(wanted))
    assert golden.main([]) == 1
    assert not (tmp_path / "new").exists()
    assert golden.main(["--update"]) == 0
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"new": "rows\n", "kept": "rows\n"}
    assert golden.main([]) == 0
