"""The graph: sources → Parse → Classify → warehouse, and the facts of identity calls → keyed tables.

    Pub/Sub ───┐
    directory ─┤
    files ─────┴─► Parse ─► Classify ─┬─ page, screen, track ─────────────────────────────► events
                     │                └─ identify, group, alias, delete, Engage ─► identity_calls
    identity_calls   │                                                                  │ the calls that it holds
    (history) ─► ParseHistory ──────────────────────────────────────────────────────────┴─► MapAccounts
                     │                                                                           │
                     │         contacts, identities, memberships ◄─ ResolveIdentities ◄─ persons ┤
                     │                                  accounts ◄─ FoldAccounts ◄───── accounts ┘
                     └─ failures of every stage ──────────────────────────────────────────► dead_letters

Where the job has its steps in its own process, ResolveInProcess does what ResolveIdentities and FoldAccounts do.

Lines of files and directories that a warehouse takes in columns are read and sorted block by block: `ReadBlocks` does
what Parse and Classify do, and a block of events or of identity calls crosses the graph as one element.

Five sixths of the traffic never leave the stage that read them: what is fused with the source is written by it.

Log first: facts flow from the calls that the log holds, so the keyed tables are a fold of the log. A call that
identity_calls refuses, however late, leaves no fact.

Dead letters that are read again go to `Reread` in place of Parse and Classify, and then to the warehouse in one piece,
which writes what they have become and removes them.

Where the warehouse does not enforce keys, `Deduplicate` stands before events. It needs a shuffle, and a message is
acknowledged when it is in the shuffle: so it is left out where that lives no longer than the process. For example, a
job on Prism that is killed there would lose an event that Pub/Sub takes for delivered.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import apache_beam as beam
from apache_beam.pvalue import PCollection

from pipeline import warehouses
from pipeline.job_kind import JobKind
from pipeline.options import Settings
from pipeline.sources.history import History
from pipeline.sources.redelivery import Redelivery
from pipeline.warehouses import JobRun, Warehouse
from schemas.tables import BY_NAME, DEAD_LETTERS, EVENTS
from transforms.classify import Classify
from transforms.core.reader import Reader
from transforms.core.rows import Append
from transforms.deduplicate import Deduplicate
from transforms.fold_accounts import FoldAccounts
from transforms.map_accounts import MapAccounts, MapAccountsInParcels
from transforms.paged_step import PAGE_BYTES
from transforms.parse import Parse, ParseHistory
from transforms.read_blocks import ReadBlocks
from transforms.reread import Reread
from transforms.resolve_identities import ResolveIdentities
from transforms.resolve_in_process import ResolveInProcess
from transforms.windows import END_OF_TIME_S, LATENESS_S, AfterHistory, Arrival, Arrive


def build(
    pipeline: beam.Pipeline, settings: Settings, warehouse: Warehouse, job: JobRun, log: Warehouse | None = None
) -> None:
    """Adds the whole job to `pipeline`. The history is the log of the job's own warehouse, or of the one that is given
    for it."""
    connections = settings.connections
    reader = Reader.of(connections, settings.connection)
    kind = settings.kind
    logged_calls: dict[str, PCollection] = {}
    events_to_deduplicate = []
    writes: list[PCollection] = []

    for source in settings.sources:
        # Each source has its own steps up to the writing, fused with it: a Flatten between them would be a stage of its
        # own to some runners, and messages would be acknowledged before they are written.
        label = source.label
        if isinstance(source, Redelivery):
            received = pipeline | f"Read{label}" >> source.read(warehouse, job)
            redelivered = received | f"Reread{label}" >> Reread(reader)
            replaced = redelivered | f"Replace{label}" >> warehouse.replace_dead_letters(job)
            logged_calls[label] = replaced[warehouses.LOGGED]
            writes.append(replaced[warehouses.REMOVED])
            continue
        read_blocks, write_blocks = source.read_blocks(job), warehouse.write_blocks(job)
        if read_blocks is not None and write_blocks is not None:
            blocks = pipeline | f"Read{label}" >> read_blocks
            classified = blocks | f"ReadBlocks{label}" >> ReadBlocks(reader)
            refused = {"Unread": classified[ReadBlocks.DEAD_LETTERS]}
            refused["Events"] = classified[ReadBlocks.EVENTS] | f"WriteEvents{label}" >> write_blocks.events
            write_calls = write_blocks.identity_calls
        else:
            parsed = pipeline | f"Read{label}" >> source.read(warehouse, job) | f"Parse{label}" >> Parse(reader)
            classified = parsed[Parse.CALLS] | f"Classify{label}" >> Classify()
            refused = {"Unread": parsed[Parse.DEAD_LETTERS], "Unloggable": classified[Classify.DEAD_LETTERS]}
            if _deduplicates(settings, warehouse):
                events_to_deduplicate.append(classified[Classify.EVENTS])
            else:
                refused["Events"] = classified[Classify.EVENTS] | f"WriteEvents{label}" >> warehouse.append(EVENTS, job)
            write_calls = warehouse.log(job)
        logged = classified[Classify.IDENTITY_CALLS] | f"WriteIdentityCalls{label}" >> write_calls
        refused["IdentityCalls"] = logged[warehouses.DEAD_LETTERS]
        writes += refused | f"WriteDeadLetters{label}" >> _WriteDeadLetters(warehouse, job)
        calls = logged[warehouses.LOGGED]
        if source.may_be_late:  # when the log holds them: what follows is soon done
            calls = calls | f"Arrive{label}" >> Arrive()
        logged_calls[label] = calls

    if events_to_deduplicate:
        remember = None if kind.bounded else settings.deduplicate_for
        events = tuple(events_to_deduplicate) | "Events" >> beam.Flatten() | "Deduplicate" >> Deduplicate(remember)
        if kind.on_dataflow:  # where a bundle may be tried again
            write = warehouse.append_once(EVENTS, job, settings.event_shards)
        else:
            write = warehouse.append(EVENTS, job)
        refused = {"Events": events | "WriteEvents" >> write}
        writes += refused | "WriteDeadLettersOfEvents" >> _WriteDeadLetters(warehouse, job)

    if job.log_until is not None or not kind.bounded:  # an unbounded job has the same graph whenever it is updated
        history = History()
        received = pipeline | f"Read{history.label}" >> history.read(log or warehouse, job)
        calls = received | f"Parse{history.label}" >> ParseHistory(reader, settings.as_of)
        if kind.on_dataflow and not kind.bounded:  # where the log may be read again beside live messages
            calls = calls | f"Arrive{history.label}" >> Arrive(recent_s=0)
        logged_calls[history.label] = calls

    window = None if kind.bounded else _window(settings)
    rows = (
        _in_process(pipeline, logged_calls, settings, window)
        if settings.in_process
        else _by_keys(pipeline, logged_calls, settings, window)
    )
    counts = tuple(
        upserts | f"Write{name.title()}" >> warehouse.upsert(BY_NAME[name], job) for name, upserts in rows.items()
    )
    writes.append(counts | "Written" >> beam.Flatten() | "Publish" >> warehouse.publish(job))

    if kind.on_dataflow:  # nobody waits there
        _ = tuple(writes) | "End" >> _EnterEnd(warehouse.finish, job)


def _in_process(
    pipeline: beam.Pipeline, calls: Mapping[str, PCollection], settings: Settings, window: Arrival | None
) -> Mapping[str, PCollection]:
    """The rows of all keyed tables, from the calls of all sources, which are given by their labels and may be none:
    where the job has its steps in this process."""
    parcels = tuple(
        logged | f"MapAccounts{label}" >> MapAccountsInParcels(settings.connections, window)
        for label, logged in calls.items()
    )
    return parcels | "Facts" >> beam.Flatten(pipeline=pipeline) | "ResolveInProcess" >> ResolveInProcess(window)


def _by_keys(
    pipeline: beam.Pipeline, calls: Mapping[str, PCollection], settings: Settings, window: Arrival | None
) -> Mapping[str, PCollection]:
    """The same where the runner brings each key's messages together."""
    page_bytes = PAGE_BYTES if settings.kind.on_dataflow else None  # other runners take any size
    facts = (_joined_facts if settings.kind is JobKind.BATCH else _facts)(pipeline, calls, settings)
    resolved = facts[MapAccounts.PERSONS] | "ResolveIdentities" >> ResolveIdentities(window, page_bytes)
    return resolved | (facts[MapAccounts.ACCOUNTS] | "FoldAccounts" >> FoldAccounts(window, page_bytes))


def _facts(pipeline: beam.Pipeline, calls: Mapping[str, PCollection], settings: Settings) -> Mapping[str, PCollection]:
    flat = tuple(calls.values()) | "IdentityCalls" >> beam.Flatten(pipeline=pipeline)
    return flat | "MapAccounts" >> MapAccounts(settings.connections)


def _joined_facts(
    pipeline: beam.Pipeline, calls: Mapping[str, PCollection], settings: Settings
) -> Mapping[str, PCollection]:
    """A local runner holds what goes into a Flatten in memory, whole. In a local job on files that is therefore not the
    calls of the history and of the input, but their facts, which are joined before: one of each id and bundle."""
    mapped = [
        logged | f"MapAccounts{label}" >> MapAccounts(settings.connections, joined=True)
        for label, logged in calls.items()
    ]
    return {
        name: tuple(facts[name] for facts in mapped) | name.title() >> beam.Flatten(pipeline=pipeline)
        for name in (MapAccounts.PERSONS, MapAccounts.ACCOUNTS)
    }


def _window(settings: Settings) -> Arrival:
    """Windows over arrival. One is kept for minutes where a message may be late; where none ever is, for its own length
    again, since a runner notes each key of a window until then."""
    seconds = settings.alias_window
    may_be_late = any(source.may_be_late for source in settings.sources)
    return Arrival(seconds, lateness=LATENESS_S if may_be_late else seconds)


def _deduplicates(settings: Settings, warehouse: Warehouse) -> bool:
    """Whether events are deduplicated before they are written, since the warehouse does not. A bounded job may: its
    files are there to be read again."""
    if warehouse.enforces_keys:
        return False
    kind = settings.kind
    return kind.bounded or (kind.on_dataflow and settings.deduplicate_for > 0)


class _WriteDeadLetters(beam.PTransform):
    """Writes each of several collections by itself; gives what the writes give, in a list."""

    def __init__(self, warehouse: Warehouse, job: JobRun) -> None:
        super().__init__()
        self.warehouse, self.job = warehouse, job

    def expand(self, refused: dict[str, PCollection[Append]]) -> list[PCollection]:
        return [letters | name >> self.warehouse.append(DEAD_LETTERS, self.job) for name, letters in refused.items()]


class _EnterEnd(beam.PTransform):
    """What all writes give → nothing: enters the end of the job in the warehouse when they are through. A streaming job
    ends when it is drained."""

    def __init__(self, finish: Callable[[JobRun], None], job: JobRun) -> None:
        super().__init__()
        self.finish, self.job = finish, job

    def expand(self, writes: tuple[PCollection, ...]) -> PCollection:
        ended = writes | "Written" >> AfterHistory(self.job, bounded=self.job.bounded, at_s=END_OF_TIME_S)
        return ended | "Enter" >> beam.ParDo(_EnterEndFn(self.finish))


class _EnterEndFn(beam.DoFn):
    def __init__(self, finish: Callable[[JobRun], None]) -> None:
        self.finish = finish

    def process(self, job: JobRun) -> None:
        self.finish(job)
