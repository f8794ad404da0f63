"""The graph: sources → Parse → Classify → warehouse, and the facts of identity calls → keyed tables.

    Pub/Sub ─┐
    files ───┴───► Parse ─► Classify ─┬─ page, screen, track ──────────────────────────► events
                     │                └─ identify, group, alias, delete, Engage ───────► identity_calls
    identity_calls   │                     │
    (history) ─► ParseHistory ─────────────┴─► MapAccounts ─┬─► ResolveIdentities ─► contacts, identities, memberships
                     │                                      └─► FoldAccounts ──────► accounts
                     └─ failures of every stage ───────────────────────────────────────► dead_letters

Five sixths of the traffic never leave the stage that read them: what is fused with the source is written by it. Where
the warehouse does not enforce keys, `Deduplicate` stands before events, unless a runner that forgets would then have
messages acknowledged that nobody has written.
"""

from __future__ import annotations

import apache_beam as beam
from apache_beam.pvalue import PCollection

from pipeline.options import Settings
from pipeline.sources.files import ReadFiles
from pipeline.sources.pubsub import ReadPubSub
from pipeline.warehouses import JobRun, Warehouse
from schemas.tables import BY_NAME, DEAD_LETTERS, EVENTS, IDENTITY_CALLS
from transforms.classify import Classify
from transforms.core.connections import Router
from transforms.core.reader import Reader, Received
from transforms.core.rows import Append
from transforms.deduplicate import Deduplicate
from transforms.fold_accounts import FoldAccounts
from transforms.map_accounts import MapAccounts
from transforms.parse import Parse, ParseHistory
from transforms.resolve_identities import ResolveIdentities
from transforms.windows import Arrival


def build(pipeline: beam.Pipeline, settings: Settings, warehouse: Warehouse, job: JobRun) -> None:
    """Adds the whole job to `pipeline`."""
    connections = settings.connections
    reader = Reader(Router(connections, settings.connection), connections.integration_names)
    identity_calls = []
    unwritten = []

    for beside, received in _sources(pipeline, settings).items():
        parsed = received | f"Parse{beside}" >> Parse(reader)
        classified = parsed[Parse.CALLS] | f"Classify{beside}" >> Classify()
        logged = classified[Classify.IDENTITY_CALLS]
        refused = {
            "Unread": parsed[Parse.DEAD_LETTERS],
            "Unlogged": classified[Classify.DEAD_LETTERS],
            "IdentityCalls": logged | f"WriteIdentityCalls{beside}" >> warehouse.append(IDENTITY_CALLS, job),
        }
        if _deduplicates(settings, warehouse):
            unwritten.append(classified[Classify.EVENTS])
        else:
            refused["Events"] = classified[Classify.EVENTS] | f"WriteEvents{beside}" >> warehouse.append(EVENTS, job)
        _ = refused | f"WriteDeadLetters{beside}" >> _WriteDeadLetters(warehouse, job)
        identity_calls.append(classified[Classify.CALLS])

    if unwritten:
        remember = settings.deduplicate_for if settings.streaming else None
        events = unwritten | "Events" >> beam.Flatten() | "Deduplicate" >> Deduplicate(remember)
        refused = {"Events": events | "WriteEvents" >> warehouse.append(EVENTS, job)}
        _ = refused | "WriteDeadLettersOfEvents" >> _WriteDeadLetters(warehouse, job)

    if job.log_until is not None or not job.bounded:  # an unbounded job has the same graph whenever it is updated
        history = pipeline | "ReadLog" >> warehouse.read_log(job) | "ParseHistory" >> ParseHistory(reader)
        identity_calls.append(history)

    calls = identity_calls | "IdentityCalls" >> beam.Flatten(pipeline=pipeline)
    facts = calls | "MapAccounts" >> MapAccounts(connections)
    window = _window(settings) if settings.streaming else None
    keyed = facts[MapAccounts.PERSONS] | "ResolveIdentities" >> ResolveIdentities(window)
    keyed |= facts[MapAccounts.ACCOUNTS] | "FoldAccounts" >> FoldAccounts(window)
    taken = [rows | f"Write{name.title()}" >> warehouse.upsert(BY_NAME[name], job) for name, rows in keyed.items()]
    _ = taken | "Written" >> beam.Flatten() | "Publish" >> warehouse.publish(job)


def _sources(pipeline: beam.Pipeline, settings: Settings) -> dict[str, PCollection[Received]]:
    """What is received, by what distinguishes the labels of a source's steps. Each source has its own steps up to the
    writing, fused with it: a Flatten between them would be a stage of its own to some runners, and messages be
    acknowledged before it."""
    sources = {}
    if settings.inputs:
        beside = "" if settings.input_subscription is None else "Files"
        sources[beside] = pipeline | "ReadFiles" >> ReadFiles(settings.inputs)
    if settings.input_subscription is not None:
        native = settings.on_dataflow
        sources[""] = pipeline | "ReadPubSub" >> ReadPubSub(settings.input_subscription, native=native)
    return sources


def _window(settings: Settings) -> Arrival:
    """Windows over arrival. Dataflow's source may be late, by as long as Pub/Sub keeps a message; ours never is: there
    a window is kept for its own length again, and not for weeks in the memory of a runner that has nothing else."""
    seconds = settings.alias_window
    return Arrival(seconds) if settings.on_dataflow else Arrival(seconds, lateness=seconds)


def _deduplicates(settings: Settings, warehouse: Warehouse) -> bool:
    """Whether events are deduplicated before they are written, since the warehouse does not. That takes a shuffle,
    which acknowledges a message: so its state must outlive the job's processes. Files are there to be read again."""
    if warehouse.enforces_keys:
        return False
    return not settings.streaming or (settings.on_dataflow and settings.deduplicate_for > 0)


class _WriteDeadLetters(beam.PTransform):
    """Writes each of several collections by itself."""

    def __init__(self, warehouse: Warehouse, job: JobRun) -> None:
        super().__init__()
        self.warehouse, self.job = warehouse, job

    def expand(self, refused: dict[str, PCollection[Append]]) -> None:
        for name, letters in refused.items():
            _ = letters | name >> self.warehouse.append(DEAD_LETTERS, self.job)
