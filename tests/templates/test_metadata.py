"""The template's parameters are the job's options, and what Dataflow's API takes.

`python -m tests.templates.test_metadata --update` writes the help of the options into the metadata.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from google.cloud.dataflow_v1beta3.types import ParameterType, TemplateMetadata
from google.protobuf.json_format import ParseDict

from pipeline import options, sources
from pipeline.options import SegmentOptions

METADATA = Path(__file__).parents[2] / "templates" / "metadata.json"
DOCUMENT: dict[str, Any] = json.loads(METADATA.read_text("utf-8"))
PARAMETERS: dict[str, dict[str, Any]] = {each["name"]: each for each in DOCUMENT["parameters"]}


def grouped_options() -> Iterator[tuple[str, argparse.Action]]:
    """Every option of the job that means something on Dataflow, with the first word of its group's title, in the order
    of the help."""
    local = {*options.LOCAL, *(source.option for source in sources.KINDS if source.is_local)}
    parser = argparse.ArgumentParser(add_help=False)
    SegmentOptions._add_argparse_args(parser)
    for group in parser._action_groups:
        for action in group._group_actions:
            if action.dest not in local:
                yield re.findall(r"\w+", group.title or "")[0].capitalize(), action


OPTIONS = {action.dest: (group, action) for group, action in grouped_options()}
by_name = pytest.mark.parametrize("name", OPTIONS)


def help_text(action: argparse.Action) -> str:
    """The help without the default and the example, which a template's form shows by itself."""
    return (action.help or "").partition(" Default: ")[0]


def test_dataflow_takes_the_metadata() -> None:
    parsed = ParseDict(DOCUMENT, TemplateMetadata.pb()())
    for parameter in parsed.parameters:
        assert parameter.name
        assert parameter.label
        assert parameter.help_text
        assert parameter.group_name
        assert parameter.regexes
    assert {each["paramType"] for each in PARAMETERS.values()} <= set(ParameterType.__members__)


def test_the_template_streams_exactly_once_only() -> None:
    assert DOCUMENT["streaming"] is True
    assert DOCUMENT["supportsExactlyOnce"] is True
    assert DOCUMENT["supportsAtLeastOnce"] is False
    assert DOCUMENT["defaultStreamingMode"] == "EXACTLY_ONCE"


def test_the_parameters_are_the_options_in_their_order() -> None:
    assert list(PARAMETERS) == list(OPTIONS)


@by_name
def test_a_parameter_says_what_the_option_says(name: str) -> None:
    group, action = OPTIONS[name]
    parameter = PARAMETERS[name]
    assert parameter["helpText"] == help_text(action), "run: python -m tests.templates.test_metadata --update"
    assert parameter["groupName"] == group
    assert parameter["isOptional"] is (not parameter["helpText"].startswith("Required"))
    assert [each["value"] for each in parameter.get("enumOptions", ())] == list(action.choices or ())


@by_name
def test_a_parameter_has_the_default_of_the_option(name: str) -> None:
    _, action = OPTIONS[name]
    default = PARAMETERS[name].get("defaultValue")
    if default is None:
        assert action.default is None
        return
    read = default if action.type is None else action.type(default)  # type: ignore[operator]
    assert read == action.default
    assert f"Default: {default}" in (action.help or "")


SOUGHT = {
    "input": (["gs://b/calls/*.jsonl.gz", "gs://b/a.jsonl, gs://c/b.jsonl"], ["a.jsonl", "gs://b", "gs://b/a,b"]),
    "input_subscription": (["projects/acme-data/subscriptions/segment"], ["calls", "projects/acme-web/topics/calls"]),
    "redeliver": (["all", "unknown_connection", "invalid_field,missing_id"], ["", "Unknown connection", "a,"]),
    "rebuild": (["true", "false"], ["yes", ""]),
    "as_of": (["2026-03-15", "2026-03-15T12:00:00Z", "2026-03-15 12:00:00+01:00"], ["yesterday", "15.3.2026", ""]),
    "log_from": (["bigquery://acme-web/segment"], ["duckdb:///w.duckdb", "bigquery://acme-web"]),
    "warehouse": (["bigquery://acme-web/segment"], ["duckdb:///w.duckdb", "acme-web.segment", "bigquery://acme-web"]),
    "history": (["warehouse", "none"], ["all"]),
    "create": (["true", "false"], ["yes", ""]),
    "connections": (["gs://b/connections.yaml"], ["connections.yaml", "gs://b"]),
    "connection": (["Marketing site"], [""]),
    "alias_window": (["60", "0.5"], ["a minute", "-1", "1e3"]),
    "deduplicate_for": (["0", "86400"], ["1 day", "-1"]),
    "event_shards": (["1", "64"], ["0", "a few", "1.5"]),
}


@by_name
def test_a_parameter_takes_what_the_job_takes_on_dataflow(name: str) -> None:
    patterns = PARAMETERS[name]["regexes"]
    taken, refused = SOUGHT[name]
    assert [value for value in taken if not all(re.search(pattern, value) for pattern in patterns)] == []
    assert [value for value in refused if all(re.search(pattern, value) for pattern in patterns)] == []


def update() -> None:
    """Writes the options' help into the metadata, which stays as it is written otherwise."""
    text = METADATA.read_text("utf-8")
    for name, (_, action) in OPTIONS.items():
        said = json.dumps(help_text(action))
        pattern = rf'("name": "{name}",\n.*\n +"helpText": )".*"'
        text = re.sub(pattern, lambda found, said=said: found[1] + said, text)  # type: ignore[misc]
    METADATA.write_text(text, "utf-8")


if __name__ == "__main__":
    if sys.argv[1:] != ["--update"]:
        sys.exit("usage: python -m tests.templates.test_metadata --update")
    update()
