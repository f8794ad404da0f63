"""The graph: sources → Parse → Classify → warehouse, and the facts of identity calls → keyed tables.

    Pub/Sub ─┐
    files ───┴───► Parse ─► Classify ─┬─ page, screen, track ──────────────────────────► events
                     │                └─ identify, group, alias, delete, Engage ───────► identity_calls
    identity_calls   │                     │
    (history) ─► ParseHistory ─────────────┴─► MapAccounts ─┬─► ResolveIdentities ─► contacts, identities, memberships
                     │                                      └─► FoldAccounts ──────► accounts
                     └─ failures of every stage ───────────────────────────────────────► dead_letters

Five sixths of the traffic never leave the stage that read them: what is fused with the source is written by it.
"""

from __future__ import annotations

import apache_beam as beam
from apache_beam.pvalue import PCollection

from pipeline.options import Settings
from pipeline.sources.files import ReadFiles
from pipeline.sources.pubsub import ReadPubSub
from pipeline.warehouses import Job, Warehouse
from schemas.tables import BY_NAME, DEAD_LETTERS, EVENTS, IDENTITY_CALLS
from transforms.classify import Classify
from transforms.core.connections import Router
from transforms.core.messages import Call, Reader, Received
from transforms.core.rows import Append
from transforms.fold_accounts import FoldAccounts
from transforms.map_accounts import MapAccounts
from transforms.parse import Parse, ParseHistory
from transforms.resolve_identities import ResolveIdentities
from transforms.windows import HistoryWritten


def build(pipeline: beam.Pipeline, settings: Settings, warehouse: Warehouse, job: Job) -> None:
    """Adds the whole job to `pipeline`."""
    connections = settings.connections
    reader = Reader(Router(connections, settings.connection), connections.integration_names)
    identity_calls = []

    if settings.inputs:
        files = pipeline | "ReadFiles" >> ReadFiles(settings.inputs)
        beside = "" if settings.input_subscription is None else "Files"
        identity_calls.append(_written(files, reader, warehouse, job, beside))
    if settings.input_subscription is not None:
        source = ReadPubSub(settings.input_subscription, native=settings.runner == "DataflowRunner")
        identity_calls.append(_written(pipeline | "ReadPubSub" >> source, reader, warehouse, job))

    if job.log_until is not None:
        history = pipeline | "ReadLog" >> warehouse.read_log(job) | "ParseHistory" >> ParseHistory(reader)
        identity_calls.append(history)

    calls = identity_calls | "IdentityCalls" >> beam.Flatten(pipeline=pipeline)
    facts = calls | "MapAccounts" >> MapAccounts(connections)
    window = settings.alias_window if settings.streaming else None
    keyed = facts[MapAccounts.PERSONS] | "ResolveIdentities" >> ResolveIdentities(window)
    keyed |= facts[MapAccounts.ACCOUNTS] | "FoldAccounts" >> FoldAccounts(window)
    taken = [rows | f"Write{name.title()}" >> warehouse.upsert(BY_NAME[name], job) for name, rows in keyed.items()]
    written = taken | "Written" >> beam.Flatten()
    if window is not None:
        written |= "HistoryWritten" >> HistoryWritten(window)
    _ = written | "Publish" >> warehouse.publish(job)


def _written(
    received: PCollection[Received], reader: Reader, warehouse: Warehouse, job: Job, beside: str = ""
) -> PCollection[Call]:
    """Writes what was received; returns its identity calls. Every step is fused with the source, of which each has its
    own: a Flatten between them would be a stage of its own to some runners, and messages be acknowledged before it."""
    parsed = received | f"Parse{beside}" >> Parse(reader)
    classified = parsed[Parse.CALLS] | f"Classify{beside}" >> Classify()
    logged = classified[Classify.IDENTITY_CALLS]
    refused = {
        "Unread": parsed[Parse.DEAD_LETTERS],
        "Unlogged": classified[Classify.DEAD_LETTERS],
        "Events": classified[Classify.EVENTS] | f"WriteEvents{beside}" >> warehouse.append(EVENTS, job),
        "IdentityCalls": logged | f"WriteIdentityCalls{beside}" >> warehouse.append(IDENTITY_CALLS, job),
    }
    _ = refused | f"WriteDeadLetters{beside}" >> _WriteDeadLetters(warehouse, job)
    return classified[Classify.CALLS]


class _WriteDeadLetters(beam.PTransform):
    """Writes each of several collections by itself."""

    def __init__(self, warehouse: Warehouse, job: Job) -> None:
        super().__init__()
        self.warehouse, self.job = warehouse, job

    def expand(self, refused: dict[str, PCollection[Append]]) -> None:
        for name, letters in refused.items():
            _ = letters | name >> self.warehouse.append(DEAD_LETTERS, self.job)
