"""A connection's name in a path."""

from __future__ import annotations

import pytest

from transforms.core.connection_paths import folded_name, names_by_path


@pytest.mark.parametrize(
    ("name", "folded"),
    [("default", "default"), ("Marketing site", "marketing-site"), (" A  &  B! ", "a-b"), ("é1", "1"), ("a--b", "a-b")],
)
def test_folded_name(name: str, folded: str) -> None:
    assert folded_name(name) == folded


def test_names_that_fold_alike_are_refused() -> None:
    assert names_by_path(["A b", "c"]) == {"a-b": "A b", "c": "c"}
    with pytest.raises(ValueError, match="A b") as refused:
        names_by_path(["A b", "c", "a_b"])
    assert refused.value.args == ("A b", "a_b")
