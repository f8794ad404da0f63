"""Prometheus' text."""

from __future__ import annotations

import re

import pytest

from receiver import metrics
from receiver.metrics import METRICS, Metric, Registry

DECLARED = [value for value in vars(metrics).values() if isinstance(value, Metric)]


def test_every_metric_is_shown_once() -> None:
    assert sorted(METRICS, key=lambda metric: metric.name) == sorted(DECLARED, key=lambda metric: metric.name)
    assert len({metric.name for metric in METRICS}) == len(METRICS)


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_a_metric_has_a_unit_and_a_meaning(metric: Metric) -> None:
    assert re.fullmatch(r"[a-z_]+", metric.name)
    assert (metric.kind == "counter") == metric.name.endswith("_total")
    assert metric.meaning
    assert "\n" not in metric.meaning


def test_the_text() -> None:
    registry = Registry()
    registry.add(metrics.CALLS, 'a "b" \\ c\nd', by=3)
    registry.add(metrics.CALLS, "a", by=12_345_678_901)
    registry.put(metrics.READY, True)
    registry.observe(0.001)
    registry.observe(0.002)
    registry.observe(60)
    text = registry.text().decode()
    assert text.endswith("\n")
    lines = text.splitlines()
    assert "# HELP segment_receiver_calls_total calls that were stored" in lines
    assert "# TYPE segment_receiver_calls_total counter" in lines
    assert 'segment_receiver_calls_total{connection="a \\"b\\" \\\\ c\\nd"} 3' in lines
    assert 'segment_receiver_calls_total{connection="a"} 12345678901' in lines
    assert "segment_receiver_ready 1" in lines
    assert [line for line in lines if "store_seconds" in line][2:5] == [
        'segment_receiver_store_seconds_bucket{le="0.001"} 1',
        'segment_receiver_store_seconds_bucket{le="0.0025"} 2',
        'segment_receiver_store_seconds_bucket{le="0.005"} 2',
    ]
    assert lines[-4:] != []
    assert 'segment_receiver_store_seconds_bucket{le="+Inf"} 3' in lines
    assert "segment_receiver_store_seconds_count 3" in lines
    assert "segment_receiver_store_seconds_sum 60.003000" in lines
    assert registry.value(metrics.CALLS, "a") == 12_345_678_901


def test_a_value_that_is_held_is_the_one_that_is_shown() -> None:
    registry = Registry()
    held = registry.sample(metrics.CALLS, "a")
    held.value += 2
    registry.add(metrics.CALLS, "a")
    assert registry.sample(metrics.CALLS, "a") is held
    assert registry.value(metrics.CALLS, "a") == 3
    assert 'segment_receiver_calls_total{connection="a"} 3' in registry.text().decode().splitlines()
