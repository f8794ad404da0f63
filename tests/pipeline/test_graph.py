"""The graph: what a running job can be updated by, every transform under a label that stays."""

from __future__ import annotations

from collections.abc import Sequence

from apache_beam.pipeline import AppliedPTransform

from tests.golden.__main__ import GRAPH, graph, transforms


def unlabelled(found: Sequence[AppliedPTransform]) -> list[str]:
    """Our own transforms whose label is one that Beam made up of a class or a function, which a refactoring changes.
    What stands inside a transform of Beam's is Beam's to name."""
    return [
        transform.full_label
        for transform in found
        if "(" in transform.full_label.rpartition("/")[2]
        and (transform.parent is None or not type(transform.parent.transform).__module__.startswith("apache_beam."))
    ]


def test_every_transform_has_the_label_that_it_had() -> None:
    assert graph() == GRAPH.read_text(), "if it is meant: python -m tests.golden --update"


def test_no_label_is_made_up_by_beam() -> None:
    assert unlabelled(transforms()) == []


def test_the_graph_is_read_as_it_is_drawn() -> None:
    stages = {label.partition("/")[0] for label in graph().splitlines()}
    assert stages >= {"ReadFiles", "Parse", "Classify", "ReadLog", "ParseHistory", "MapAccounts", "ResolveIdentities"}
    assert stages >= {
        "FoldAccounts",
        "WriteEvents",
        "WriteIdentityCalls",
        "WriteDeadLetters",
        "WriteContacts",
        "Publish",
    }
