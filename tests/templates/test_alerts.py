"""The alert policies: of the form that Cloud Monitoring takes, on metrics that exist, with a remedy that is written."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from google.cloud.monitoring_v3 import AlertPolicy
from google.protobuf.json_format import ParseDict

from transforms import metrics

ROOT = Path(__file__).parents[2]
POLICIES = sorted((ROOT / "templates" / "alerts").glob("*.yaml"))

OF_DATAFLOW = {"data_watermark_age", "system_lag", "is_failed", "user_counter"}
"""Of https://cloud.google.com/monitoring/api/metrics_gcp_d_h#gcp-dataflow, under `dataflow.googleapis.com/job/`."""
OF_PUBSUB = {"oldest_unacked_message_age"}

each_policy = pytest.mark.parametrize("path", POLICIES, ids=[path.stem for path in POLICIES])


def conditions(path: Path) -> list[str]:
    """The filter or query of each condition."""
    policy: Any = ParseDict(yaml.safe_load(path.read_text("utf-8")), AlertPolicy.pb()())
    found = []
    for condition in policy.conditions:
        kind = condition.WhichOneof("condition")
        stated = getattr(condition, kind)
        found.append(stated.query if kind == "condition_prometheus_query_language" else stated.filter)
    return found


def test_there_are_policies() -> None:
    assert [path.stem for path in POLICIES] == ["behind", "dead_letters", "heavy_keys", "stopped"]


@each_policy
def test_monitoring_takes_it(path: Path) -> None:
    policy: Any = ParseDict(yaml.safe_load(path.read_text("utf-8")), AlertPolicy.pb()())
    assert policy.display_name.startswith("Segment job: ")
    assert policy.combiner == AlertPolicy.ConditionCombinerType.OR
    assert all(condition.display_name and condition.WhichOneof("condition") for condition in policy.conditions)


@each_policy
def test_it_watches_metrics_that_exist(path: Path) -> None:
    for text in conditions(path):
        named = re.findall(r'metric.type = "(\w+).googleapis.com/(?:job|subscription)/(\w+)"', text)
        named += re.findall(r"(\w+)_googleapis_com:job_(\w+)\{", text)
        ((service, metric),) = named
        assert metric in (OF_DATAFLOW if service == "dataflow" else OF_PUBSUB)
        assert re.search(r'job_name ?= ?"segment"|subscription_id = "segment"', text)


@each_policy
def test_it_watches_counters_that_are_declared(path: Path) -> None:
    families = {counter.of("") for counter in metrics.COUNTERS if counter.labels}
    distributions = {f"{each.name}_MAX" for each in metrics.DISTRIBUTIONS}
    for text in conditions(path):
        if "user_counter" in text:
            watched = set(re.findall(r'"([\w-]+-[\w-]+(?::|_MAX))', text))
            assert watched
            assert watched <= families | distributions


@each_policy
def test_its_remedy_is_written(path: Path) -> None:
    content = yaml.safe_load(path.read_text("utf-8"))["documentation"]["content"]
    referred = re.findall(r'`(docs/[\w-]+\.md)`(?:, "([^"]+)")?', content)
    assert referred
    for document, heading in referred:
        text = (ROOT / document).read_text("utf-8")
        assert not heading or re.search(rf"^##+ {re.escape(heading)}$", text, re.MULTILINE), heading
