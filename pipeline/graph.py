"""The graph: sources → Parse → Classify → warehouse, and the facts of identity calls → keyed tables.

    files ───────► Parse ─► Classify ─┬─ page, screen, track ──────────────────────────► events
                     │                └─ identify, group, alias, delete, Engage ───────► identity_calls
    identity_calls   │                     │
    (history) ─► ParseHistory ─────────────┴─► MapAccounts ─┬─► ResolveIdentities ─► contacts, identities, memberships
                     │                                      └─► FoldAccounts ──────► accounts
                     └─ failures of every stage ───────────────────────────────────────► dead_letters

Five sixths of the traffic never leave the stage that read them: what is fused with the source is written by it.
"""

from __future__ import annotations

import apache_beam as beam

from pipeline.options import Settings
from pipeline.sources.files import ReadFiles
from pipeline.warehouses import Job, Warehouse
from schemas.tables import BY_NAME, DEAD_LETTERS, EVENTS, IDENTITY_CALLS
from transforms.classify import Classify
from transforms.core.connections import Router
from transforms.core.messages import Reader
from transforms.fold_accounts import FoldAccounts
from transforms.map_accounts import MapAccounts
from transforms.parse import Parse, ParseHistory
from transforms.resolve_identities import ResolveIdentities


def build(pipeline: beam.Pipeline, settings: Settings, warehouse: Warehouse, job: Job) -> None:
    """Adds the whole job to `pipeline`."""
    connections = settings.connections
    reader = Reader(Router(connections, settings.connection), connections.integration_names)
    identity_calls = []

    if settings.inputs:
        received = pipeline | "ReadFiles" >> ReadFiles(settings.inputs)
        parsed = received | "Parse" >> Parse(reader)
        classified = parsed[Parse.CALLS] | "Classify" >> Classify()
        refused = [
            parsed[Parse.DEAD_LETTERS],
            classified[Classify.DEAD_LETTERS],
            classified[Classify.EVENTS] | "WriteEvents" >> warehouse.append(EVENTS, job),
            classified[Classify.IDENTITY_CALLS] | "WriteIdentityCalls" >> warehouse.append(IDENTITY_CALLS, job),
        ]
        _ = refused | "Refused" >> beam.Flatten() | "WriteDeadLetters" >> warehouse.append(DEAD_LETTERS, job)
        identity_calls.append(classified[Classify.CALLS])

    if job.log_until is not None:
        history = pipeline | "ReadLog" >> warehouse.read_log(job) | "ParseHistory" >> ParseHistory(reader)
        identity_calls.append(history)

    calls = identity_calls | "IdentityCalls" >> beam.Flatten(pipeline=pipeline)
    facts = calls | "MapAccounts" >> MapAccounts(connections)
    window = settings.alias_window if settings.streaming else None
    keyed = facts[MapAccounts.PERSONS] | "ResolveIdentities" >> ResolveIdentities(window)
    keyed |= facts[MapAccounts.ACCOUNTS] | "FoldAccounts" >> FoldAccounts(window)
    taken = [rows | f"Write{name.title()}" >> warehouse.upsert(BY_NAME[name], job) for name, rows in keyed.items()]
    _ = taken | "Written" >> beam.Flatten() | "Publish" >> warehouse.publish(job)
