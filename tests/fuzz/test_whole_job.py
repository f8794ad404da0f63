"""Random histories with merges, renames, late edges and deletes through the whole job; the long run is `make fuzz`."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.replay import Config
from tests import prism
from tests.fuzz.whole_job import check
from tests.histories import CONFIGS


@pytest.mark.parametrize(
    ("seed", "name", "config"), [(n, *each) for n, each in enumerate(CONFIGS.items())], ids=list(CONFIGS)
)
def test_in_one_job_or_three(seed: int, name: str, config: Config, tmp_path: Path) -> None:
    assert check(seed, 40, name, config, tmp_path) == []


@pytest.mark.parametrize("name", ["group + fallback", "mixed"])
def test_on_prism(name: str, tmp_path: Path) -> None:
    assert check(7, 40, name, CONFIGS[name], tmp_path, prism.options()) == []
