"""What alerts and the dashboard ask Cloud Monitoring for, compared with what Google documents and what we count."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from transforms import metrics

DOCUMENTED = Path(__file__).with_name("documented_metrics.txt")
"""Says where it is from, and of when."""


class Metric(NamedTuple):
    """A metric as Google documents it."""

    type: str
    kind: str
    value_type: str
    unit: str
    resource: str
    labels: frozenset[str]
    resource_labels: frozenset[str]


def documented() -> Iterator[Metric]:
    resource, resource_labels = "", frozenset[str]()
    for line in DOCUMENTED.read_text("utf-8").splitlines():
        if line.startswith("["):
            resource, _, labels = line.strip("[]").partition(": ")
            resource_labels = frozenset(labels.split())
        elif not line.startswith("#"):
            name, kind, value_type, unit, *own = line.split()
            yield Metric(name, kind, value_type, unit, resource, frozenset(own), resource_labels)


def in_promql(name: str) -> str:
    """A metric's name there: https://cloud.google.com/monitoring/promql/promql-mapping"""
    service, _, path = name.partition("/")
    return f"{re.sub(r'[^a-z_]', '_', service)}:{re.sub(r'[^a-z_]', '_', path)}"


METRICS = {each.type: each for each in documented()}
IN_PROMQL = {in_promql(name): each for name, each in METRICS.items()}


NAMED = {"job": "segment", "receiver": "segment-receiver"}
"""The names of the job and its subscription, and of the receiver's service, which the policies are for."""
PLACES = ("job_name", "subscription_id", "service_name")


def selected(text: str) -> list[tuple[Metric, dict[str, str]]]:
    """The metrics that a query selects, each with the labels that it compares."""
    found = re.findall(r"(\w+_googleapis_com:\w+)\{([^}]*)\}", text)
    assert len(found) == text.count("googleapis_com")
    return [(IN_PROMQL[name], dict(re.findall(r'(\w+)=~?"([^"]*)"', labels))) for name, labels in found]


def filtered(text: str) -> tuple[Metric, dict[str, str]]:
    """The metric of a filter, and the labels that it compares, by `metric.` or `resource.` and their name."""
    (name,) = re.findall(r'metric\.type = "([^"]+)"', text)
    (resource,) = re.findall(r'resource\.type = "(\w+)"', text)
    assert METRICS[name].resource == resource
    return METRICS[name], dict(re.findall(r"((?:metric|resource)\.labels\.\w+) =\s+(\S+)", text))


def check_metrics(text: str) -> set[str]:
    """Checks that a filter or a query asks for metrics that Google documents, by labels that they have, and gauges
    alone for their difference: PromQL's `delta` would double what a metric of the kind DELTA tells, which has a `rate`.
    Returns what it is about, as the labels of `PLACES` name it."""
    if "googleapis_com:" not in text:
        metric, compared = filtered(text)
        known = {f"metric.labels.{each}" for each in metric.labels}
        known |= {f"resource.labels.{each}" for each in metric.resource_labels}
        assert set(compared) <= known
        return {
            compared[f"resource.labels.{place}"].strip('"')
            for place in PLACES
            if f"resource.labels.{place}" in compared
        }
    about = set()
    for metric, labels in selected(text):
        assert labels.pop("monitored_resource") == metric.resource
        assert set(labels) <= metric.labels | metric.resource_labels
        about |= {labels[place] for place in PLACES if place in labels}
        assert metric.value_type in {"INT64", "DOUBLE"}
    grouped = {label for labels in re.findall(r"(?:by|on) \(([^)]*)\)", text) for label in labels.split(", ") if label}
    assert grouped <= set.intersection(*({*each.labels, *each.resource_labels} for each, _ in selected(text)))
    for function, name in re.findall(r"(delta|rate)\((\w+:\w+)\{", text):
        assert IN_PROMQL[name].kind == ("GAUGE" if function == "delta" else "DELTA")
    return about


def check_counters(text: str) -> None:
    """Checks that the job's counters which a filter or a query asks for are declared."""
    families = {counter.of("") if counter.labels else counter.name for counter in metrics.COUNTERS}
    distributions = {f"{each.name}_MAX" for each in metrics.DISTRIBUTIONS}
    if "user_counter" in text:
        counted = set(re.findall(r'"([a-z]+-[a-z-]+(?::|_MAX|(?=")))', text))
        for group, end in re.findall(r'"\(([a-z|-]+)\)(_MAX)?"', text):
            counted |= {f"{name}{end}" for name in group.split("|")}
        assert counted
        assert counted <= families | distributions
