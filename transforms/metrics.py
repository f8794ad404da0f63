"""Every counter and distribution of the pipeline, declared once with its unit and meaning.

A name is `what-unit`; a family has one counter for each label, `what-unit:label`. Counts are gathered in plain integers
and handed to Beam when a bundle ends, which costs a message nothing.
"""

from __future__ import annotations

import collections
import contextlib
import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import apache_beam as beam
from apache_beam.metrics import Metrics
from apache_beam.metrics.metric import MetricResults, MetricsFilter

NAMESPACE = "segment"
_REPORTED_MESSAGES = 1_000
"""So many messages are counted between two reports of a long bundle."""


@dataclass(frozen=True)
class Counter:
    """A counter, or with `labels` a family of them, one for each value of what `labels` names. `singular` is what one
    is, where `meaning` says what several are."""

    name: str
    meaning: str
    labels: str = ""
    singular: str = ""

    def phrase(self, count: int) -> str:
        """What so many are, to stand behind their number."""
        return self.singular if count == 1 and self.singular else self.meaning

    def of(self, label: str) -> str:
        return f"{self.name}:{label}"


@dataclass(frozen=True)
class Distribution:
    """A distribution; the unit is the last word of its name."""

    name: str
    meaning: str


@dataclass(frozen=True)
class Notes:
    """A set of lines for the user; a bundle that is tried again adds none."""

    name: str
    meaning: str


RECEIVED = Counter("received-messages", "messages that the sources gave")
READ_BYTES = Counter("read-bytes", "bytes of the input's files that were read, as they are stored")
LOG_ROWS = Counter("read-log-rows", "rows of the log of earlier jobs that were read: the history")
READ = Counter("read-calls", "calls read from this job's input, one for each item of a batch")
TYPES = Counter("typed-calls", "calls read whose type could be told", labels="type")
UNREADABLE_TIMES = Counter(
    "unreadable-times",
    "unreadable times, or times before 1971, of calls that have another time",
    labels="field",
    singular="unreadable time, or time before 1971, of a call that has another time",
)
UNUSABLE_IDS = Counter(
    "unusable-ids",
    "unusable ids, of calls that have another id",
    labels="field",
    singular="unusable id, of a call that has another id",
)
OUTCOMES = Counter(
    "outcome-calls",
    "calls by their first outcome: event, identity_call, dead_letter, duplicate, conflicting or disabled; they add up"
    " to read-calls",
    labels="outcome",
)
DEAD_LETTERS = Counter("dead-letter-calls", "calls refused", labels="reason")
WRITTEN = Counter("written-rows", "rows that were not in the table before; of a keyed table, all shown", labels="table")
REPEATED = Counter("repeated-rows", "rows that were in the table already", labels="table")
CONFLICTING = Counter(
    "conflicting-rows", "rows that are not stored, since the table holds another call under their key", labels="table"
)
EMPTY = Counter(
    "empty-messages",
    "messages without a call in them: an empty array or batch",
    singular="message without a call in it: an empty array or batch",
)
BLANK = Counter(
    "blank-lines",
    "lines of white space only",
    singular="line of white space only",
)
UNREADABLE = Counter(
    "unreadable-files",
    "files that could be read only in part",
    singular="file that could be read only in part",
)
LOST = Counter(
    "lost-files",
    "files that were there when the job was checked, and could not be read",
    singular="file that was there when the job was checked, and could not be read",
)
HISTORY = Counter(
    "history-calls",
    "identity calls of earlier jobs that were read again",
    singular="identity call of earlier jobs that was read again",
)
LATER_HISTORY = Counter(
    "history-later-calls",
    "calls of earlier jobs that were left out, since they happened after --as_of",
    singular="call of earlier jobs that was left out, since it happened after --as_of",
)
UNKNOWN_CONNECTIONS = Counter(
    "history-unknown-connection-calls",
    "calls of earlier jobs whose connection is not configured any more",
    singular="call of earlier jobs whose connection is not configured any more",
)
UNREADABLE_HISTORY = Counter(
    "history-refused-calls",
    "calls of earlier jobs that the rules refuse by now, or disable",
    labels="reason",
    singular="call of earlier jobs that the rules refuse by now, or disable",
)
GROUPS_WITHOUT_EFFECT = Counter(
    "group-without-effect-calls",
    "group calls through a connection that does not map accounts by group calls",
    singular="group call through a connection that does not map accounts by group calls",
)
LONG_PREVIOUS_IDS = Counter(
    "contact-previous-ids-cut-rows",
    "contacts written with as many previous_ids as a row holds; identities has all",
    singular="contact written with as many previous_ids as a row holds; identities has all",
)
REREAD = Counter("reread-dead-letters", "dead letters that were read again", singular="dead letter that was read again")
UNREADABLE_LETTERS = Counter(
    "unreadable-dead-letters", "dead letters that cannot be read again, and stay: cut or keyed_row", labels="cause"
)
APPENDS = Counter("sent-append-requests", "requests with rows that were sent to BigQuery", labels="table")
APPEND_RETRIES = Counter(
    "retried-append-requests", "of those, the ones sent again, by what the one before failed with", labels="status"
)
LOADS = Counter(
    "ended-load-jobs",
    "load jobs that BigQuery has ended, with rows of days that it takes from no stream",
    labels="table",
)
LOAD_RETRIES = Counter(
    "retried-load-jobs",
    "requests for load jobs that were tried again, by what the one before failed with",
    labels="reason",
)
STREAMS = Counter("opened-append-streams", "streams to BigQuery that were opened, first or again", labels="table")
LEFT_STREAMS = Counter(
    "left-append-streams",
    "streams to BigQuery that this job made and left for others, since a row was refused or it was unclear what they"
    " hold",
    labels="table",
)
LATE = Counter(
    "late-messages",
    "messages of a subscription published before its watermark: they arrive with it, in the open window",
    singular="message of a subscription published before its watermark: it arrives with it, in the open window",
)
RETRIES = Counter(
    "retried-requests",
    "requests to Pub/Sub that failed and were tried again",
    singular="request to Pub/Sub that failed and was tried again",
)
APPEND_BYTES = Distribution("append-request-bytes", "rows of one request to BigQuery")
IN_FLIGHT = Distribution("append-in-flight-bytes", "rows on their way to one BigQuery table, each time some are sent")
LAG = Distribution(
    "lag-msec", "from the publication of a pull's oldest message until all it brought was durable, for each pull"
)
WINDOW_KEYS = Distribution("window-keys", "keys of a stage that one bundle of a window ran")
EDGES = Distribution("person-edges", "edges that begin at an id, at each change of it")
TOKENS = Distribution("depth-tokens", "edges of chain ids that have led to an id, at each change of it")
CHAIN_EDGES = Distribution("chains-edges", "edges out of deep ids, each time there are new ones")
RESIDENTS = Distribution("household-ids", "ids that have come to an id, at each change of it")
MEMBERS = Distribution("contact-ids", "ids that belong to a contact, each time it is folded")

UNREADABLE_PARTS = Notes("unreadable-file-lines", "what could not be read of a file, and why")
LOST_FILES = Notes("lost-file-lines", "the files that could not be read, and why")

COUNTERS = (
    RECEIVED,
    READ_BYTES,
    LOG_ROWS,
    READ,
    TYPES,
    UNREADABLE_TIMES,
    UNUSABLE_IDS,
    OUTCOMES,
    DEAD_LETTERS,
    WRITTEN,
    REPEATED,
    CONFLICTING,
    EMPTY,
    BLANK,
    UNREADABLE,
    LOST,
    HISTORY,
    LATER_HISTORY,
    UNKNOWN_CONNECTIONS,
    UNREADABLE_HISTORY,
    GROUPS_WITHOUT_EFFECT,
    LONG_PREVIOUS_IDS,
    REREAD,
    UNREADABLE_LETTERS,
    APPENDS,
    APPEND_RETRIES,
    LOADS,
    LOAD_RETRIES,
    STREAMS,
    LEFT_STREAMS,
    LATE,
    RETRIES,
)
DISTRIBUTIONS = (APPEND_BYTES, IN_FLIGHT, LAG, WINDOW_KEYS, EDGES, TOKENS, CHAIN_EDGES, RESIDENTS, MEMBERS)
NOTES = (UNREADABLE_PARTS, LOST_FILES)

PUBLISHING = "publishing"
"""What observers alone are told, as a count: the keyed rows of a bounded job are about to be shown."""


class Observer(Protocol):
    """Sees what the steps of this process report, from any of their threads. Steps in other processes, as on Dataflow,
    report to Beam alone."""

    def counted(self, counts: Mapping[str, int]) -> None:
        """Counts by the counters' names, since the last report."""

    def observed(self, distribution: str, value: int) -> None:
        """One value of a distribution, by its name."""


_observers: list[Observer] = []


@contextlib.contextmanager
def observed_by(observer: Observer) -> Iterator[None]:
    """Has an observer see what is reported while the block lasts."""
    _observers.append(observer)
    try:
        yield
    finally:
        _observers.remove(observer)


class Tally(collections.Counter[str]):
    """What a DoFn counted since it last reported."""

    def refused(self, reason: str, calls: int = 1) -> None:
        """Counts calls whose outcome is a dead letter."""
        self[OUTCOMES.of("dead_letter")] += calls
        self[DEAD_LETTERS.of(reason)] += calls

    def received(self, counter: Counter = RECEIVED) -> None:
        """Counts a message of a source whose bundles are long, and reports now and then."""
        self[counter.name] += 1
        if self[counter.name] == _REPORTED_MESSAGES:
            self.report()

    def report(self) -> None:
        """Hands the counts to Beam, and starts anew. A step whose bundles are long reports now and then."""
        for name, count in self.items():
            Metrics.counter(NAMESPACE, name).inc(count)
        for observer in tuple(_observers):
            observer.counted(self)
        self.clear()


class CountingFn(beam.DoFn):
    """A DoFn that counts into `tally`, which is reported when a bundle ends."""

    def __init__(self) -> None:
        self.tally = Tally()

    def finish_bundle(self) -> Any:
        self.tally.report()


def tell(name: str) -> None:
    """Has the observers see one count that is none of Beam's counters."""
    for observer in tuple(_observers):
        observer.counted({name: 1})


def observe(distribution: Distribution, value: int) -> None:
    """Adds one value to a distribution."""
    _distribution(distribution.name).update(value)
    for observer in tuple(_observers):
        observer.observed(distribution.name, value)


def note(notes: Notes, line: str) -> None:
    """Adds a line, once."""
    Metrics.string_set(NAMESPACE, notes.name).add(line)


_distribution = functools.cache(functools.partial(Metrics.distribution, NAMESPACE))


def counts(results: MetricResults) -> dict[str, int]:
    """Every counter of a job by its name."""
    counters = results.query(MetricsFilter().with_namespace(NAMESPACE))[MetricResults.COUNTERS]
    totals: collections.Counter[str] = collections.Counter()
    for counter in counters:
        totals[counter.key.metric.name] += counter.committed if counter.committed is not None else counter.attempted
    return dict(totals)


def family(counted: dict[str, int], counter: Counter) -> dict[str, int]:
    """The counts of a family by label."""
    prefix = counter.of("")
    return {name[len(prefix) :]: count for name, count in sorted(counted.items()) if name.startswith(prefix)}


def noted(results: MetricResults, notes: Notes) -> tuple[str, ...]:
    """The lines of a job, sorted."""
    results_of_name = results.query(MetricsFilter().with_namespace(NAMESPACE).with_name(notes.name))
    lines = (
        entry.committed if entry.committed is not None else entry.attempted
        for entry in results_of_name[MetricResults.STRINGSETS]
    )
    return tuple(sorted({line for entry in lines for line in entry}))
