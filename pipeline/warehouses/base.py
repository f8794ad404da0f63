"""What every warehouse can do."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, ClassVar, Final, NamedTuple, Protocol

import apache_beam as beam
import msgspec

from pipeline.errors import UsageError
from pipeline.snapshots import Snapshot
from schemas.tables import Table, Timestamp
from schemas.views import View
from transforms import coders

LOGGED: Final = "logged"
DEAD_LETTERS: Final = "dead_letters"
"""The outputs of `Warehouse.log`."""
REMOVED: Final = "removed"
"""With `LOGGED`, the outputs of `Warehouse.replace_dead_letters`."""

Parameters = Mapping[str, int | str | Sequence[str]]
"""The parameters of a statement: INT64, STRING, or ARRAY<STRING>."""


class LogNotEmptyError(UsageError):
    """A job was to leave out a log that holds something."""

    def __init__(self, remedy: str) -> None:
        problem = "the log of earlier jobs is not empty, and tables made without it would be wrong"
        super().__init__(problem, remedy, option="--history", value="none")


class JobRun(msgspec.Struct, frozen=True):
    """One run of the pipeline on a warehouse.

    `generation` is greater than that of every job before it: the versions of the keyed rows that this job writes begin
    with it, so that they stand over those of older jobs whatever the clocks say. `log_until` is the greatest
    `written_at` that was in the log when the job started, None where the log was empty: history reads up to it, and
    what this job logs is written after it. Of a job that reads the log of another warehouse, it is of that one.
    """

    generation: int
    started_at: Timestamp
    log_until: Timestamp | None
    bounded: bool
    rereads_log: bool = False
    """Whether the job was updated under newer rules: it then has state, and reads the log again so that every row is
    written by them."""

    def written_at(self, now: int) -> int:
        """When a row is written to the log or beside it: now, but after all that earlier jobs logged, whatever the
        clock says."""
        return max(now, (self.log_until or 0) + 1)


coders.declare(JobRun)


class BlockWrites(NamedTuple):
    """What writes calls in blocks: `events` takes each `CallBlock` as `append` takes events, `identity_calls` each
    `IdentityBlock` as `log` takes entries."""

    events: beam.PTransform
    identity_calls: beam.PTransform


class GoogleSql(Protocol):
    """Runs GoogleSQL on the tables of a warehouse, for a command that changes them while no job does. Names with an `@`
    are parameters."""

    def rows(self, statement: str, parameters: Parameters | None = None) -> Iterator[tuple[Any, ...]]:
        """The rows of a query. Another statement may run when the last of them is read."""

    def newest_rows(
        self, table: Table, statement: str, parameters: Parameters | None = None
    ) -> Iterator[tuple[Any, ...]]:
        """The rows of a query of one keyed table, with every change that the warehouse has received."""

    def change(self, statement: str, parameters: Parameters | None = None) -> int:
        """Changes a table; returns how many rows. It may be durable at once, or when all changes are."""


class Contents(Protocol):
    """What a warehouse holds, for commands that only look. All of it is as of one moment."""

    def log(self, ids: Collection[str] | None = None) -> Iterator[tuple[str, str]]:
        """(payload, connection) of each call of the log, or of each that carries one of these ids."""

    def pairs(self) -> Iterator[tuple[str, str]]:
        """The pairs of ids that an alias or an identify of the log carries, each once."""

    def rows(self, table: Table) -> Iterator[Mapping[str, Any]]:
        """The rows of a table: timestamps as microseconds since the epoch, JSON as text, structs as mappings."""

    def query(self, statement: str, parameters: Parameters | None = None) -> Iterator[Mapping[str, Any]]:
        """The rows of a GoogleSQL query of tables and views, by the names of its columns. Names with an `@` are
        parameters."""


class Warehouse(Protocol):
    """A place for tables: a value with a few methods that give transforms. Opening it raises UsageError where it cannot
    be used."""

    enforces_keys: ClassVar[bool]
    """Whether a row that is appended again is not stored again."""
    sample_query: ClassVar[str]
    """A query to try, in the warehouse's own SQL."""

    def start(
        self,
        *,
        bounded: bool,
        runner: str,
        options: str,
        history: bool,
        new: bool = True,
        account_mappings: str | None = None,
    ) -> JobRun:
        """Creates what is missing, and enters the job in `jobs`. Raises UsageError, also where no job has written a
        local warehouse that must not be `new`, and LogNotEmptyError where the log must not be left out (`history` is
        False) but holds something."""

    def open_log(self) -> Timestamp | None:
        """Opens a warehouse of which a job on another one reads the log, and which nothing changes: `read_log` and
        `close` are then for it as for its own. Returns the greatest `written_at`, None where the log is empty. Raises
        UsageError, also where no job has written it."""

    def read_log(self, job: JobRun) -> beam.PTransform:
        """PBegin → `Received`: what the log held when the job started."""

    def read_dead_letters(self, reasons: tuple[str, ...] | None) -> beam.PTransform:
        """PBegin → `DeadLetter`: those of these reasons, or of all, that the table holds, each id once."""

    def replace_dead_letters(self, job: JobRun) -> beam.PTransform:
        """`Redelivered` → on `LOGGED` the `Call` of each entry that the log holds as it is; on `REMOVED` numbers of
        dead letters. For a bounded job.

        Writes the rows, and removes each dead letter whose rows are durable. One that is refused as before stays as it
        is; where it is refused for another reason, or a part of it is, new ones take its place. Wherever the job ends,
        no letter is lost or doubled.
        """

    def append(self, table: Table, job: JobRun) -> beam.PTransform:
        """`Append` → `Append` of a dead letter for each row that the table cannot hold. Rows are durable when the
        bundle that wrote them ends."""

    def write_blocks(self, job: JobRun) -> BlockWrites | None:
        """What writes calls in blocks; None where the warehouse takes them one by one."""

    def append_once(self, table: Table, job: JobRun, shards: int) -> beam.PTransform:
        """The same, where the collection holds a row once, behind a shuffle: the table then holds it once, too, even if
        a bundle is tried again. Rows may be durable only after their bundle, in state that outlives it. `shards` is how
        many workers can write at a time."""

    def log(self, job: JobRun) -> beam.PTransform:
        """`LogEntry` → on `LOGGED` the `Call` of each entry that the log holds as it is, when it is durable there; on
        `DEAD_LETTERS` an `Append` of a dead letter for each that the log cannot hold.

        Facts flow from `LOGGED` alone. A bundle that is tried again gives the same calls again. Where the log enforces
        keys, a call whose content differs from what it holds under the `message_id` is counted as conflicting.
        """

    def upsert(self, table: Table, job: JobRun) -> beam.PTransform:
        """`Upsert` → the number of rows that the warehouse has accepted, once it has."""

    def publish(self, job: JobRun) -> beam.PTransform:
        """Those numbers of all keyed tables → nothing: once all rows that the history gives are accepted, shows the
        rows of a bounded job, and removes those that no job since this one started has written."""

    def finish(self, job: JobRun) -> None:
        """Enters the end of the job."""

    def row_counts(self) -> Mapping[str, int]:
        """How many rows each table has now, for whoever watches a job of this process; of a warehouse where that is not
        known at once, nothing."""

    def explain(self) -> UsageError | None:
        """Why the job failed, where it was for the warehouse."""

    def close(self) -> None:
        """Lets go of the warehouse, whatever became of the job."""

    def contents(self) -> AbstractContextManager[Contents]:
        """What it holds, while no job runs. Raises UsageError where it cannot be read, or no job has written it."""

    def googlesql(self) -> AbstractContextManager[GoogleSql]:
        """Its tables, to be changed; what was changed is durable at the end. Raises UsageError where they cannot be
        changed, or no job has written them."""

    def running_since(self) -> Timestamp | None:
        """When the job was started that may still write the tables, None where there is none. Raises UsageError."""

    def erase_removed(self) -> None:
        """Leaves nothing in its storage of rows that were removed, as far as that is in its hands. Raises
        UsageError."""

    def open_command(self) -> str:
        """What to type to look into the warehouse."""


class ViewSchema(Protocol):
    """A schema, or dataset, of views of a warehouse's tables."""

    def rows(self, statement: str) -> Iterator[tuple[Any, ...]]:
        """The rows of a GoogleSQL query on the tables."""

    def existing(self) -> Mapping[str, str]:
        """The descriptions of its views, by name."""

    def make(self, view: View) -> None:
        """Makes a view, or makes it anew. Its query names views of the tables' own schema."""

    def drop(self, name: str) -> None:
        """Removes a view."""


class WarehouseKind(Protocol):
    """A kind of warehouse, by the URLs that name one. What a command or an option must know of it is here."""

    @property
    def scheme(self) -> str:
        """What its URLs begin with."""

    @property
    def url_form(self) -> str:
        """How its URLs look, for help and errors."""

    @property
    def dialect(self) -> str:
        """The name of its SQL, for `python -m schemas ddl --dialect`."""

    @property
    def noun(self) -> str:
        """What one is to its users: a file, a dataset."""

    @property
    def is_local(self) -> bool:
        """Whether only processes of this machine can write it."""

    def check(self, url: str) -> None:
        """Raises UsageError for a URL that names no warehouse of this kind, or a place of this machine where there can
        be none."""

    def place(self, url: str) -> Hashable:
        """What a URL names, the same for every URL of one warehouse. Raises UsageError."""

    def open(self, url: str, *, create: bool, update: bool) -> Warehouse:
        """The warehouse of a URL. `create` says whether a job makes what is missing, `update` that it takes the place
        of the one that runs, with its state, as Dataflow's --update does. Raises UsageError."""

    def ddl(self, dataset: str | None) -> Iterator[str]:
        """The statements that make every table and view, in `dataset` where there are such. Raises UsageError."""

    def create(self, url: str, location: str | None) -> tuple[str, ...]:
        """Makes the tables, columns and views that are missing; returns a line for each. `location` is where a new one
        lies. Raises UsageError, and IncompatibleSchemaError where what exists cannot hold what this version writes."""

    def compaction(self, url: str) -> str:
        """The script that removes copies of events, for whoever runs it by a clock. Raises UsageError where there are
        none."""

    def snapshot(self, url: str, path: str) -> Snapshot:
        """The copy, in a file at this path, of a warehouse that a job of this process has open, or will have. Raises
        UsageError where there can be none."""

    def view_schema(self, url: str, name: str) -> AbstractContextManager[ViewSchema]:
        """A schema of views of this warehouse, made where it is missing. Raises UsageError."""
