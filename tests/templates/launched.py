"""Jobs as the Flex Template launches them, from its own parameters, into endpoints on this machine."""

from __future__ import annotations

import gc
import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from apache_beam import coders
from apache_beam.portability import common_urns
from apache_beam.portability.api import beam_runner_api_pb2
from apache_beam.runners.pipeline_context import PipelineContext
from google.cloud import dataflow_v1beta3
from google.protobuf.json_format import MessageToDict, ParseDict

import pipeline.run
import pipeline.sources.pubsub
from templates import launcher
from tests.dataflow import PROJECT, Dataflow
from tests.templates.unopened import Unopened
from transforms.coders import (
    VERSION,
    AppendCoder,
    DeadLetterCoder,
    LogEntryCoder,
    OffsetRangeCoder,
    PackedCoder,
    StructCoder,
    UpsertCoder,
)

IMAGE = f"europe-west1-docker.pkg.dev/{PROJECT}/segment/segment-bigquery:0.1.0"
WAREHOUSE = {"warehouse": f"bigquery://{PROJECT}/segment"}
SUBSCRIPTION = {"input_subscription": f"projects/{PROJECT}/subscriptions/segment"}
FILES = {"input": "gs://acme-web-segment/history/*.jsonl.gz"}
CONNECTIONS = {"connections": "gs://acme-web-segment/connections.yaml"}

LAUNCHES: Mapping[str, Mapping[str, str]] = {
    "streaming": {
        **SUBSCRIPTION,
        **WAREHOUSE,
        **CONNECTIONS,
        "alias_window": "60",
        "deduplicate_for": "86400",
        "event_shards": "16",
    },
    "backfill": {**FILES, **WAREHOUSE, **CONNECTIONS, "connection": "default", "history": "warehouse"},
    "both": {**FILES, **SUBSCRIPTION, **WAREHOUSE, **CONNECTIONS},
    "redeliver": {"redeliver": "unknown_connection", **WAREHOUSE, **CONNECTIONS},
    "rebuild": {"rebuild": "true", **WAREHOUSE, **CONNECTIONS, "create": "false"},
    "as_of": {
        "rebuild": "true",
        "as_of": "2025-03-15",
        "log_from": f"bigquery://{PROJECT}/segment",
        "warehouse": f"bigquery://{PROJECT}/segment_of_march",
        **CONNECTIONS,
    },
}
"""The template's parameters of each launch; between them, all that it has."""

OBJECTS = {FILES["input"].replace("*", "2025"): b"", CONNECTIONS["connections"]: b"connections: [{name: default}]"}
WORKERS = [
    "--max_num_workers=8",
    "--num_workers=1",
    "--machine_type=n2-standard-2",
    "--service_account_email=segment-worker@acme-web.iam.gserviceaccount.com",
    "--no_use_public_ips",
    '--labels={"team": "data"}',
]
"""What `gcloud dataflow flex-template run` passes on from its own flags."""


def launch(service: Dataflow, parameters: Mapping[str, str], *others: str) -> int:
    """Starts the launcher in this process, with the environment that the template's image sets. Returns its status."""
    service.objects.update(OBJECTS)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**service.environment, launcher.IMAGE: IMAGE}.items():
            patch.setenv(name, value)
        patch.setattr(pipeline.run, "open_warehouse", Unopened.of)
        patch.setattr(pipeline.sources.pubsub, "check_subscription", lambda _: None)
        given = [f"--{name}={value}" for name, value in parameters.items()]
        status = launcher.main([*given, *WORKERS, *service.options(), *others])
    gc.unfreeze()
    return status


def graph(launched: beam_runner_api_pb2.Pipeline) -> str:
    """What a running job must have in common with the one that updates it: every transform by its unique name, and of
    those that keep something, the coders of what they keep, how late a window takes it, and their timers."""
    context = PipelineContext(launched.components)
    lines: list[str] = []
    for transform in sorted(launched.components.transforms.values(), key=lambda each: each.unique_name):
        if not transform.unique_name.startswith("ref_"):  # the root
            lines += [transform.unique_name, *(f"    {kept}" for kept in _kept(transform, launched, context))]
    return "".join(f"{line}\n" for line in lines)


def _kept(
    transform: beam_runner_api_pb2.PTransform, launched: beam_runner_api_pb2.Pipeline, context: PipelineContext
) -> Iterator[str]:
    components = launched.components

    def kept(coder_id: str) -> str:
        return described(context.coders.get_by_id(coder_id))

    def elements(name: str) -> str:
        return kept(components.pcollections[transform.inputs[name]].coder_id)

    if transform.spec.urn == common_urns.primitives.GROUP_BY_KEY.urn:
        (read,) = transform.inputs
        yield f"keeps {elements(read)}"
        strategy = components.pcollections[transform.inputs[read]].windowing_strategy_id
        if lateness_ms := components.windowing_strategies[strategy].allowed_lateness:
            yield f"takes what is {lateness_ms / 1000:g} s late"
    if transform.spec.urn != common_urns.primitives.PAR_DO.urn:
        return
    payload = beam_runner_api_pb2.ParDoPayload.FromString(transform.spec.payload)
    (read,) = set(transform.inputs) - set(payload.side_inputs)
    if payload.state_specs or payload.timer_family_specs or payload.restriction_coder_id:
        yield f"keeps {elements(read)}"
    for name in payload.side_inputs:
        yield f"side input: {elements(name)}"
    for name, state in sorted(payload.state_specs.items()):
        kind = str(state.WhichOneof("spec"))
        (coder_id,) = (value for field, value in getattr(state, kind).ListFields() if field.name.endswith("coder_id"))
        yield f"state {name}, {kind.removesuffix('_spec')}: {kept(coder_id)}"
    for name, timer in sorted(payload.timer_family_specs.items()):
        yield f"timer {name.removeprefix('ts-')}, {beam_runner_api_pb2.TimeDomain.Enum.Name(timer.time_domain)}"
    if payload.restriction_coder_id:
        yield f"restriction: {kept(payload.restriction_coder_id)}"


_DECLARED: Mapping[type[coders.Coder], str] = {
    UpsertCoder: "Upsert",
    AppendCoder: "Append",
    DeadLetterCoder: "DeadLetter",
    LogEntryCoder: "LogEntry",
    OffsetRangeCoder: "OffsetRange",
    PackedCoder: "Packed",
}


def described(coder: coders.Coder) -> str:
    """A coder in a few words."""
    struct = coder.struct.__name__ if isinstance(coder, StructCoder) else _DECLARED.get(type(coder))
    if struct is not None:
        return f"{struct} in encoding {VERSION}"
    parts = ", ".join(map(described, coder._get_component_coders()))
    name = type(coder).__name__.removesuffix("Coder")
    return f"{name}({parts})" if parts else name


def summary(posted: Mapping[str, Any]) -> str:
    """A job as it was posted, without what differs from launch to launch, and with those options alone that decide
    how it streams and where the code comes from. Its steps are those of the graph."""
    job = MessageToDict(ParseDict(posted, dataflow_v1beta3.Job.pb()()))
    environment = job["environment"]
    (pool,) = environment["workerPools"]
    options = environment["sdkPipelineOptions"]["options"]
    settings = ("machineType", "numWorkers", "autoscalingSettings", "ipConfiguration", "workerHarnessContainerImage")
    shown = {
        "type": environment["version"]["job_type"],
        "labels": job.get("labels", {}),
        "experiments": environment["experiments"],
        "serviceOptions": environment.get("serviceOptions", []),
        "serviceAccountEmail": environment["serviceAccountEmail"],
        "workers": {name: pool[name] for name in settings},
        "sdkImages": [each["containerImage"] for each in pool["sdkHarnessContainerImages"]],
        "packages": [each["name"] for each in pool["packages"]],
        "options": {
            name: options[name]
            for name in ("streaming", "save_main_session", "update", "sdk_location", "pickle_library")
        },
    }
    return json.dumps(shown, indent=2) + "\n"
