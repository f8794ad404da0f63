"""Random histories with merges, renames, late edges and deletes through the whole job; the long run is `make fuzz`."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest

from judge import Config
from pipeline.job_kind import JobKind
from pipeline.run import run
from tests import prism
from tests.bigquery_double import BigQueryDouble
from tests.fuzz import whole_job
from tests.fuzz.whole_job import check, check_bigquery
from tests.histories import CONFIGS


@pytest.mark.parametrize(
    ("seed", "name", "config"), [(n, *each) for n, each in enumerate(CONFIGS.items())], ids=list(CONFIGS)
)
def test_in_one_job_or_three(seed: int, name: str, config: Config, tmp_path: Path) -> None:
    assert check(seed, 40, name, config, tmp_path) == []


@pytest.fixture
def bigquery() -> Iterator[BigQueryDouble]:
    with BigQueryDouble(named_row_errors=2) as double, mock.patch.dict(os.environ, double.environment):
        yield double


@pytest.mark.parametrize(("seed", "name"), [(0, "group + fallback"), (2, "email_domain"), (3, "mixed")])
def test_bigquery_ends_in_the_same_tables_whatever_fails(
    seed: int, name: str, bigquery: BigQueryDouble, tmp_path: Path
) -> None:
    assert check_bigquery(seed, 40, name, CONFIGS[name], tmp_path, bigquery, faults=0.3) == []
    assert bigquery.faults.struck


def test_bigquery_on_prism(bigquery: BigQueryDouble, tmp_path: Path) -> None:
    assert check_bigquery(7, 40, "mixed", CONFIGS["mixed"], tmp_path, bigquery, 0.2, prism.options()) == []


def test_jobs_that_gather_in_windows_sweep_when_their_history_is_through(
    bigquery: BigQueryDouble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        whole_job, "run", lambda settings, *more: run(dataclasses.replace(settings, kind=JobKind.STREAMING), *more)
    )
    options = [*prism.options(), "--streaming"]
    assert check_bigquery(3, 20, "mixed", CONFIGS["mixed"], tmp_path, bigquery, 0.1, options, jobs=3) == []
    assert [job["history_done"] for job in bigquery.rows("acme-data.d3.jobs")] == [True] * 3


@pytest.mark.parametrize("name", ["group + fallback", "mixed"])
def test_on_prism(name: str, tmp_path: Path) -> None:
    assert check(7, 40, name, CONFIGS[name], tmp_path, prism.options()) == []
