"""The dashboard: of the form that Cloud Monitoring takes, on metrics that exist, beside one another without a gap."""

from __future__ import annotations

import itertools
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.templates import cloud_sdk
from tests.templates.monitored import NAMED, check_counters, check_metrics, filtered, selected

ROOT = Path(__file__).parents[2]
FILE = ROOT / "templates" / "dashboard.json"
DASHBOARD: dict[str, Any] = json.loads(FILE.read_text("utf-8"))
TILES: list[dict[str, Any]] = DASHBOARD["mosaicLayout"]["tiles"]
CHARTS = [tile["widget"] for tile in TILES if "xyChart" in tile["widget"]]
each_chart = pytest.mark.parametrize("chart", CHARTS, ids=[chart["title"] for chart in CHARTS])
_TAKEN = """
import sys
sys.path[:0] = [f"{sys.argv[1]}/lib", f"{sys.argv[1]}/lib/third_party"]
from apitools.base.py import encoding
from googlecloudsdk.generated_clients.apis.monitoring.v1 import monitoring_v1_messages as messages

def unknown(message):
    yield from message.all_unrecognized_fields()
    for field in message.all_fields():
        value = message.get_assigned_value(field.name)
        for each in value if isinstance(value, list) else [value]:
            if hasattr(each, "all_fields"):
                yield from unknown(each)

print(*unknown(encoding.JsonToMessage(messages.Dashboard, sys.stdin.read())))
"""
"""Under the Cloud SDK's Python: prints the fields that the API's dashboards do not have."""


def texts(chart: dict[str, Any]) -> list[str]:
    """The filters and queries of a chart."""
    queries = [each["timeSeriesQuery"] for each in chart["xyChart"]["dataSets"]]
    return [
        query["prometheusQuery"] if "prometheusQuery" in query else query["timeSeriesFilter"]["filter"]
        for query in queries
    ]


def taken(text: str) -> str:
    """The fields that the API does not know. Fails where it does not read it at all."""
    sdk = cloud_sdk.require()
    python = sdk / "platform" / "bundledpythonunix" / "bin" / "python3"
    command = [str(python) if python.exists() else sys.executable, "-c", _TAKEN, str(sdk)]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_monitoring_takes_it() -> None:
    assert taken(FILE.read_text("utf-8")) == ""
    assert taken(FILE.read_text("utf-8").replace("plotType", "plot")) != ""


@each_chart
def test_it_shows_metrics_that_google_documents_by_labels_that_they_have(chart: dict[str, Any]) -> None:
    for text in texts(chart):
        assert check_metrics(text) in ({name} for name in NAMED.values())
        check_counters(text)


@each_chart
def test_its_unit_is_the_metric_s(chart: dict[str, Any]) -> None:
    for text, data in zip(texts(chart), chart["xyChart"]["dataSets"], strict=True):
        unit = data["timeSeriesQuery"].get("unitOverride")
        shown = [metric for metric, _ in selected(text)] if "googleapis_com:" in text else [filtered(text)[0]]
        assert unit in {None, *(metric.unit for metric in shown)}


@each_chart
def test_each_line_has_a_name(chart: dict[str, Any]) -> None:
    for text, data in zip(texts(chart), chart["xyChart"]["dataSets"], strict=True):
        named = set(re.findall(r"\$\{labels\.(\w+)\}", data["legendTemplate"]))
        grouped = re.findall(r"^(?:sum|max) by \((\w+)\)", text)
        assert named == set(grouped)


def test_the_alerts_metrics_are_on_it() -> None:
    shown = " ".join(text for chart in CHARTS for text in texts(chart))
    for metric in (
        "subscription_oldest_unacked_message_age",
        "data_watermark_age",
        "dead-letter-calls",
        "person-edges",
    ):
        assert metric in shown
    assert "request_count" in shown
    assert "request_latencies" in shown


def test_its_tiles_lie_side_by_side() -> None:
    places = set[tuple[int, int]]()
    for tile in TILES:
        left, top = tile.get("xPos", 0), tile.get("yPos", 0)
        covered = set(itertools.product(range(left, left + tile["width"]), range(top, top + tile["height"])))
        assert not covered & places
        places |= covered
    bottom = max(row for _, row in places) + 1
    assert places == set(itertools.product(range(DASHBOARD["mosaicLayout"]["columns"]), range(bottom)))


def test_what_it_refers_to_is_written() -> None:
    (content,) = (tile["widget"]["text"]["content"] for tile in TILES if "text" in tile["widget"])
    referred = re.findall(r'`(docs/[\w-]+\.md)`(?:, "([^"]+)")?', content)
    assert referred
    for document, heading in referred:
        text = (ROOT / document).read_text("utf-8")
        assert not heading or re.search(rf"^##+ {re.escape(heading)}$", text, re.MULTILINE), heading
