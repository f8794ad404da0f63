"""Random histories with merges, renames, late edges and deletes through the whole job; the long run is `make fuzz`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.replay import Config
from tests import prism
from tests.bigquery_double import BigQueryDouble
from tests.fuzz.whole_job import check, check_bigquery
from tests.histories import CONFIGS


@pytest.mark.parametrize(
    ("seed", "name", "config"), [(n, *each) for n, each in enumerate(CONFIGS.items())], ids=list(CONFIGS)
)
def test_in_one_job_or_three(seed: int, name: str, config: Config, tmp_path: Path) -> None:
    assert check(seed, 40, name, config, tmp_path) == []


@pytest.fixture
def bigquery(monkeypatch: pytest.MonkeyPatch) -> Iterator[BigQueryDouble]:
    with BigQueryDouble(named_row_errors=2) as double:
        monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", double.rest_url)
        monkeypatch.setenv("BIGQUERY_STORAGE_EMULATOR_HOST", double.storage_target)
        yield double


@pytest.mark.parametrize(("seed", "name"), [(0, "group + fallback"), (2, "email_domain"), (3, "mixed")])
def test_bigquery_ends_in_the_same_tables_whatever_fails(
    seed: int, name: str, bigquery: BigQueryDouble, tmp_path: Path
) -> None:
    assert check_bigquery(seed, 40, name, CONFIGS[name], tmp_path, bigquery, faults=0.2) == []
    assert bigquery.faults.struck


def test_bigquery_on_prism(bigquery: BigQueryDouble, tmp_path: Path) -> None:
    assert check_bigquery(7, 40, "mixed", CONFIGS["mixed"], tmp_path, bigquery, 0.2, prism.options()) == []


@pytest.mark.parametrize("name", ["group + fallback", "mixed"])
def test_on_prism(name: str, tmp_path: Path) -> None:
    assert check(7, 40, name, CONFIGS[name], tmp_path, prism.options()) == []
