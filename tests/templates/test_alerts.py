"""The alert policies: of the form that Cloud Monitoring takes, on metrics that exist, with a remedy that is written."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from google.cloud.monitoring_v3 import AlertPolicy
from google.protobuf.json_format import ParseDict

from receiver import metrics as receiver_metrics
from tests.templates.monitored import NAMED, check_counters, check_metrics, filtered, selected
from transforms import metrics

ROOT = Path(__file__).parents[2]
POLICIES = sorted((ROOT / "templates" / "alerts").glob("*.yaml"))

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
    assert [path.stem for path in POLICIES] == [
        *("behind", "dead_letters", "heavy_keys", "receiver_refusing", "receiver_slow", "receiver_spool", "stopped")
    ]


def subject(path: Path) -> str:
    """What a policy is about, as its file's name begins."""
    return "receiver" if path.stem.startswith("receiver_") else "job"


@each_policy
def test_monitoring_takes_it(path: Path) -> None:
    policy: Any = ParseDict(yaml.safe_load(path.read_text("utf-8")), AlertPolicy.pb()())
    assert policy.display_name.startswith(f"Segment {subject(path)}: ")
    assert policy.combiner == AlertPolicy.ConditionCombinerType.OR
    assert all(condition.display_name and condition.WhichOneof("condition") for condition in policy.conditions)


OWN = re.compile(r"\bsegment_receiver_(\w+)")
"""A metric of the receiver's own, as Managed Service for Prometheus has it."""


@each_policy
def test_it_watches_metrics_that_google_documents_by_labels_that_they_have(path: Path) -> None:
    for text in conditions(path):
        if not OWN.search(text):  # the receiver's own: below
            assert check_metrics(text) == {NAMED[subject(path)]}


def test_a_percentile_is_of_a_distribution() -> None:
    for path in POLICIES:
        policy: Any = ParseDict(yaml.safe_load(path.read_text("utf-8")), AlertPolicy.pb()())
        for condition in policy.conditions:
            for aggregation in condition.condition_threshold.aggregations:
                of_parts = "PERCENTILE" in str(aggregation)
                assert of_parts is (filtered(condition.condition_threshold.filter)[0].value_type == "DISTRIBUTION")


def test_the_receiver_s_alerts_come_before_its_clients_give_up() -> None:
    """Segment's webhooks wait for 5 seconds, and the receiver for 3; Segment tries again for 4 hours."""
    slow = yaml.safe_load((ROOT / "templates" / "alerts" / "receiver_slow.yaml").read_text("utf-8"))
    (condition,) = (each["conditionThreshold"] for each in slow["conditions"])
    assert condition["thresholdValue"] < 3000
    refusing, silent = conditions(ROOT / "templates" / "alerts" / "receiver_refusing.yaml")
    assert [labels.get("response_code_class") for _, labels in selected(refusing)] == ["5xx", None]
    assert 'response_code_class = "2xx"' in silent


def test_a_start_is_no_lag() -> None:
    """The history holds the watermark back, and what came while no job ran is old: neither says that a job is slow."""
    waits, age = conditions(ROOT / "templates" / "alerts" / "behind.yaml")
    running = r"dataflow_googleapis_com:job_elapsed_time\{[^}]*\}\)"
    assert re.search(rf"oldest_unacked_message_age.* > 600 and on \(\) min\({running} > 1800$", waits)
    assert re.search(
        rf"data_watermark_age.* > 600 unless on \(job_id\) max by \(job_id\) \({running} < 1800 unless", age
    )
    read = rf'unless on \(job_id\) sum by \(job_id\) \(delta\(.*metric_name="{metrics.HISTORY.name}"\}}\[15m\]\)\) > 0$'
    assert re.search(read, age)
    others = [text for path in POLICIES if path.stem != "behind" for text in conditions(path)]
    assert not [text for text in others if "watermark" in text or "unacked" in text]


@each_policy
def test_it_watches_counters_that_are_declared(path: Path) -> None:
    for text in conditions(path):
        check_counters(text)


def test_it_watches_metrics_that_the_receiver_has() -> None:
    texts = {path.stem: text for path in POLICIES for text in conditions(path) if OWN.search(text)}
    assert list(texts) == ["receiver_spool"]
    gauges = {metric.name for metric in receiver_metrics.METRICS if metric.kind == "gauge"}
    assert set(OWN.findall(" ".join(texts.values()))) <= gauges


@each_policy
def test_its_remedy_is_written(path: Path) -> None:
    content = yaml.safe_load(path.read_text("utf-8"))["documentation"]["content"]
    referred = re.findall(r'`(docs/[\w-]+\.md)`(?:, "([^"]+)")?', content)
    assert referred
    for document, heading in referred:
        text = (ROOT / document).read_text("utf-8")
        assert not heading or re.search(rf"^##+ {re.escape(heading)}$", text, re.MULTILINE), heading
