"""What each table is, said once: a row type is the table's columns, their types, modes and descriptions.

A table is declared as a `Row` subclass, one line a column::

    email: Annotated[str | None, "the `email` trait"] = None

From that line come the GoogleSQL and the DuckDB DDL (`pipeline.warehouses`), the Arrow batches and protobuf rows of the
warehouses, and the check that a row fits (`Table.misfit`). Names and meanings are those of `docs/semantics.md`.
"""

from __future__ import annotations

import enum
import functools
import types
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, NewType, Union, get_args, get_origin, get_type_hints

import msgspec
import orjson
from msgspec import Raw

Timestamp = NewType("Timestamp", int)
"""Whole microseconds since the Unix epoch, UTC."""

Json = Raw
"""One JSON value as it was written, valid UTF-8."""

INT64 = range(-(2**63), 2**63)
TIMESTAMPS = range(-62_135_596_800_000_000, 253_402_300_800_000_000)
"""The years 1 to 9999, which is what BigQuery's TIMESTAMP holds."""


class Type(enum.Enum):
    """A column's type by its GoogleSQL name."""

    STRING = "STRING"
    INT64 = "INT64"
    BOOL = "BOOL"
    TIMESTAMP = "TIMESTAMP"
    BYTES = "BYTES"
    JSON = "JSON"
    STRUCT = "STRUCT"


class Mode(enum.Enum):
    """BigQuery's column modes."""

    REQUIRED = "REQUIRED"
    NULLABLE = "NULLABLE"
    REPEATED = "REPEATED"


class Column(msgspec.Struct, frozen=True):
    """One column: `fields` are those of a STRUCT, empty for every other type."""

    name: str
    type: Type
    mode: Mode
    description: str
    fields: tuple[Column, ...] = ()


class Row(msgspec.Struct, frozen=True, gc=False):
    """The base of every row type; its fields are the table's columns, in order."""


class Write(enum.Enum):
    """How rows of a table are written."""

    APPEND = "append"
    """Once for each key, the first stands; a warehouse that cannot enforce keys may hold a later copy beside it."""
    UPSERT = "upsert"
    """The row with the greatest version stands; a tombstone removes it."""


class Table(msgspec.Struct, frozen=True):
    """A table: its rows, its key, and how BigQuery lays it out. `written` is the column that a sink fills with now."""

    name: str
    row: type[Row]
    write: Write
    key: tuple[str, ...]
    written: str | None = None
    partition_by: str | None = None
    cluster_by: tuple[str, ...] = ()

    @property
    def description(self) -> str:
        return " ".join((self.row.__doc__ or "").split())

    @property
    def columns(self) -> tuple[Column, ...]:
        return _columns(self.row)

    def column(self, name: str) -> Column:
        return next(c for c in self.columns if c.name == name)

    def misfit(self, row: Row) -> str | None:
        """Why `row` cannot be stored in this table, in one line, or None where it can."""
        if type(row) is not self.row:
            return f"a {type(row).__name__} is not a row of {self.name}"
        return next(_misfits(self.columns, row), None)


_SCALARS: Mapping[Any, Type] = {
    str: Type.STRING,
    int: Type.INT64,
    bool: Type.BOOL,
    Timestamp: Type.TIMESTAMP,
    bytes: Type.BYTES,
    Raw: Type.JSON,
}


@functools.cache
def _columns(row: type[Row]) -> tuple[Column, ...]:
    hints = get_type_hints(row, include_extras=True)
    return tuple(_column(name, hints[name]) for name in row.__struct_fields__)


def _column(name: str, hint: Any) -> Column:
    hint, description = get_args(hint)
    mode = Mode.REQUIRED
    if get_origin(hint) in (types.UnionType, Union):
        mode, hint = Mode.NULLABLE, next(h for h in get_args(hint) if h is not types.NoneType)
    elif get_origin(hint) is tuple:
        mode, hint = Mode.REPEATED, get_args(hint)[0]
    if hint in _SCALARS:
        return Column(name, _SCALARS[hint], mode, description)
    return Column(name, Type.STRUCT, mode, description, _columns(hint))


def _misfits(columns: tuple[Column, ...], row: Row) -> Iterator[str]:
    for column in columns:
        value = getattr(row, column.name)
        if value is None:
            if column.mode is not Mode.NULLABLE:
                yield f"{column.name}: a {column.mode.value} column cannot be NULL"
        elif column.mode is Mode.REPEATED:
            for element in value:
                yield from _misfit(column, element)
        else:
            yield from _misfit(column, value)


def _misfit(column: Column, value: object) -> Iterator[str]:
    """BigQuery's and DuckDB's limits: 64-bit integers, years 1 to 9999, UTF-8, JSON with finite numbers."""
    if column.type is Type.STRUCT and isinstance(value, Row):
        yield from _misfits(column.fields, value)
        return
    if not isinstance(value, _PYTHON[column.type]) or isinstance(value, bool) != (column.type is Type.BOOL):
        yield f"{column.name}: a {type(value).__name__} is no {column.type.value}"
    elif isinstance(value, int) and column.type is Type.INT64 and value not in INT64:
        yield f"{column.name}: {value} is out of the range of INT64"
    elif isinstance(value, int) and column.type is Type.TIMESTAMP and value not in TIMESTAMPS:
        yield f"{column.name}: {value} is outside the years 1 to 9999"
    elif isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            yield f"{column.name}: the text has a lone surrogate, which UTF-8 cannot hold"
    elif isinstance(value, Raw):
        problem = json_misfit(value)
        if problem:
            yield f"{column.name}: {problem}"


_PYTHON: Mapping[Type, type] = {
    Type.STRING: str,
    Type.INT64: int,
    Type.BOOL: bool,
    Type.TIMESTAMP: int,
    Type.BYTES: bytes,
    Type.JSON: Raw,
    Type.STRUCT: Row,
}


def json_misfit(value: Raw | bytes) -> str | None:
    """Why BigQuery would refuse this JSON text (a number beyond FLOAT64, bad UTF-8, bad syntax), or None."""
    try:
        orjson.loads(bytes(value))
    except orjson.JSONDecodeError as error:
        return str(error)
    return None


class Event(Row, frozen=True):
    """Every page, screen and track call, one row for each message_id, with the ids as they were sent: the view
    events_resolved says who they are today."""

    message_id: Annotated[str, "Segment's messageId; where a call had none, the SHA-256 of its canonical JSON"]
    type: Annotated[str, "Page, Screen or Action (a track call)"]
    name: Annotated[str, "the page's or screen's name, or the tracked event; empty where a page has none"]
    timestamp: Annotated[Timestamp, "when it happened, corrected for the sender's clock"]
    received_at: Annotated[Timestamp, "when Segment received it"]
    sent_at: Annotated[Timestamp | None, "when the sender's device sent it, by its own clock"]
    user_id: Annotated[str | None, "the userId as it was sent"]
    anonymous_id: Annotated[str | None, "the anonymousId as it was sent"]
    group_id: Annotated[str | None, "the context.groupId as it was sent"]
    connection: Annotated[str, "the connection, a named set of Segment sources, that it came through"]
    properties: Annotated[Json, "the call's properties, as they were sent"]
    context: Annotated[Json, "the call's context, as it was sent"]
    integrations: Annotated[Json | None, "the call's integrations object, as it was sent"]
    original_timestamp: Annotated[Timestamp | None, "when it happened, by the sender's clock"] = None
    project_id: Annotated[str | None, "the projectId: the Segment source that it came from"] = None
    channel: Annotated[str | None, "the channel: server, browser or mobile"] = None
    extra: Annotated[Json | None, "every other field of the call, as it was sent"] = None


class IdentityCall(Row, frozen=True, kw_only=True):
    """The log: every identify, group, alias and delete call and every Engage track call, as it was received. The keyed
    tables are a fold of it, and a later job goes on from it."""

    message_id: Annotated[str, "Segment's messageId; where a call had none, the SHA-256 of its canonical JSON"]
    type: Annotated[str, "identify, group, alias, delete or track (an Engage track)"]
    timestamp: Annotated[Timestamp, "when it happened, corrected for the sender's clock"]
    received_at: Annotated[Timestamp, "when Segment received it"]
    user_id: Annotated[str | None, "the userId as it was sent"]
    anonymous_id: Annotated[str | None, "the anonymousId as it was sent"]
    previous_id: Annotated[str | None, "the previousId of an alias"]
    group_id: Annotated[str | None, "the groupId of a group call, else the context.groupId"]
    connection: Annotated[str, "the connection, a named set of Segment sources, that it came through"]
    traits: Annotated[Json, "the call's traits, as they were sent"]
    properties: Annotated[Json | None, "the properties of an Engage track"]
    context: Annotated[Json, "the call's context, as it was sent"]
    sent_at: Annotated[Timestamp | None, "when the sender's device sent it, by its own clock"] = None
    original_timestamp: Annotated[Timestamp | None, "when it happened, by the sender's clock"] = None
    project_id: Annotated[str | None, "the projectId: the Segment source that it came from"] = None
    promoted: Annotated[
        Json | None, "the columns of contacts (identify) or accounts (group) that the traits of this call alone give"
    ] = None
    written_at: Annotated[Timestamp | None, "when this row was written"] = None
    payload: Annotated[str, "the call as one JSON object, with what it inherited or was given written into it"]


class Audience(Row, frozen=True):
    """A contact's place in one Engage audience or journey step."""

    audience_key: Annotated[str, "the audience's key, in snake case"]
    is_member: Annotated[bool, "whether the contact is in the audience"]
    updated_at: Annotated[Timestamp, "when it was said, by the call's timestamp"]


class Contact(Row, frozen=True):
    """One person that was identified, by the label it answers to now. Its facts are those of all ids that belong to it,
    the newest of each trait."""

    external_id: Annotated[str, "the id that the contact answers to now"]
    email: Annotated[str | None, "the trait email, else the external_id if that is an e-mail address"] = None
    name: Annotated[str | None, "the trait name, else first and last name"] = None
    first_name: Annotated[str | None, "the trait firstName"] = None
    last_name: Annotated[str | None, "the trait lastName"] = None
    phone: Annotated[str | None, "the trait phone"] = None
    title: Annotated[str | None, "the trait title"] = None
    username: Annotated[str | None, "the trait username"] = None
    website: Annotated[str | None, "the trait website"] = None
    created_at: Annotated[Timestamp | None, "the trait createdAt"] = None
    account_id: Annotated[str | None, "the account of the newest membership, an explicit one before a fallback"] = None
    account_source: Annotated[str | None, "what named that account: group, identify_traits or email_domain"] = None
    traits: Annotated[Json, "every trait, the newest value of each; a trait that was set to null is absent"] = Raw(
        b"{}"
    )
    audiences: Annotated[tuple[Audience, ...], "Engage audiences and journey steps, by key"] = ()
    previous_ids: Annotated[tuple[str, ...], "the contact's other ids, sorted; at most the first 1,000"] = ()
    connections: Annotated[tuple[str, ...], "the connections of its identify calls, sorted"] = ()
    first_identified_at: Annotated[Timestamp | None, "timestamp of its first identify call"] = None
    last_identified_at: Annotated[Timestamp | None, "timestamp of its last identify call"] = None
    updated_at: Annotated[Timestamp | None, "when this row was written"] = None


class Account(Row, frozen=True):
    """One company, as group calls, identify traits or e-mail domains named it."""

    account_id: Annotated[str, "the groupId, the id in the identify's traits, or the e-mail domain"]
    name: Annotated[str, "the newest name that was given, else the account_id"]
    domain: Annotated[str | None, "the e-mail domain, else the host of the trait website or domain"] = None
    website: Annotated[str | None, "the trait website"] = None
    industry: Annotated[str | None, "the trait industry"] = None
    plan: Annotated[str | None, "the trait plan"] = None
    employees: Annotated[int | None, "the trait employees"] = None
    account_source: Annotated[str | None, "what named it: group, identify_traits or email_domain"] = None
    traits: Annotated[Json, "every trait, the newest value of each; a trait that was set to null is absent"] = Raw(
        b"{}"
    )
    connections: Annotated[tuple[str, ...], "the connections of the calls that named it, sorted"] = ()
    first_named_at: Annotated[Timestamp | None, "timestamp of the first call that named it"] = None
    last_named_at: Annotated[Timestamp | None, "timestamp of the last call that named it"] = None
    updated_at: Annotated[Timestamp | None, "when this row was written"] = None


class Identity(Row, frozen=True):
    """Which contact an id belongs to now: one row for each id that is not its contact's label. An id without a row
    stands for itself."""

    id: Annotated[str, "a userId or an anonymousId"]
    external_id: Annotated[str, "the label of the contact that it belongs to"]
    updated_at: Annotated[Timestamp | None, "when this row was written"] = None


class Membership(Row, frozen=True):
    """A contact and an account that a call of one of the contact's ids named together."""

    external_id: Annotated[str, "the contact's label, whether or not it has a row in contacts"]
    account_id: Annotated[str, "the account"]
    account_source: Annotated[str, "what named the account: group, identify_traits or email_domain"]
    first_named_at: Annotated[Timestamp, "timestamp of the first such call"]
    last_named_at: Annotated[Timestamp, "timestamp of the last such call"]
    updated_at: Annotated[Timestamp | None, "when this row was written"] = None


class DeadLetter(Row, frozen=True, kw_only=True):
    """A message that could not be read or stored, with its bytes: docs/dead-letters.md says what each reason means."""

    dead_letter_id: Annotated[str, "SHA-256 of stage, reason and payload: a redelivery is one dead letter"]
    failed_at: Annotated[Timestamp | None, "when this row was written"] = None
    stage: Annotated[str, "the stage that refused it: parse or write"]
    reason: Annotated[str, "why, as one of the documented reasons"]
    detail: Annotated[str, "why, in words; for too_large the length and the SHA-256 of the whole message"]
    payload: Annotated[bytes, "the message's bytes, unchanged; for too_large the first megabyte"]
    attributes: Annotated[Json, "the Pub/Sub attributes; empty for a line of a file"]
    message_id: Annotated[str | None, "the message's id, where it could be read"] = None
    connection: Annotated[str | None, "the message's connection, where it could be told"] = None
    retryable: Annotated[
        bool, "whether the same message may be accepted later: after a change of configuration, or by a bounded job"
    ] = False
    published_at: Annotated[Timestamp | None, "when the message was published; NULL for a line of a file"] = None
    inherited: Annotated[
        str | None, "what an item of an array or a batch inherits from it, as JSON; NULL for a whole message"
    ] = None


class Job(Row, frozen=True):
    """Each job that wrote to this warehouse."""

    generation: Annotated[int, "greater than that of every job before it; versions of keyed rows begin with it"]
    started_at: Annotated[Timestamp, "when it started"]
    ended_at: Annotated[Timestamp | None, "when it ended; NULL while it runs or where it was killed"]
    runner: Annotated[str, "the Beam runner"]
    options: Annotated[str, "its options, without secrets"]
    history_done: Annotated[bool, "whether it has read everything that earlier jobs received"]
    rules_version: Annotated[int | None, "the version of the rules that it writes rows by; NULL for jobs of before"] = (
        None
    )
    account_mappings: Annotated[
        Json | None, "how it maps accounts: the mapping of each connection, and of every other; NULL for jobs of before"
    ] = None


EVENTS = Table(
    "events",
    Event,
    Write.APPEND,
    ("message_id",),
    partition_by="received_at",
    cluster_by=("type", "name"),
)
IDENTITY_CALLS = Table(
    "identity_calls",
    IdentityCall,
    Write.APPEND,
    ("message_id",),
    written="written_at",
    partition_by="received_at",
    cluster_by=("type", "user_id"),
)
CONTACTS = Table("contacts", Contact, Write.UPSERT, ("external_id",), "updated_at", cluster_by=("external_id",))
ACCOUNTS = Table("accounts", Account, Write.UPSERT, ("account_id",), "updated_at", cluster_by=("account_id",))
IDENTITIES = Table("identities", Identity, Write.UPSERT, ("id",), "updated_at", cluster_by=("id",))
MEMBERSHIPS = Table(
    "memberships",
    Membership,
    Write.UPSERT,
    ("external_id", "account_id"),
    "updated_at",
    cluster_by=("external_id", "account_id"),
)
DEAD_LETTERS = Table(
    "dead_letters", DeadLetter, Write.APPEND, ("dead_letter_id",), written="failed_at", partition_by="failed_at"
)
JOBS = Table("jobs", Job, Write.UPSERT, ("generation",))

KEYED = (CONTACTS, ACCOUNTS, IDENTITIES, MEMBERSHIPS)
"""The tables that are a fold of the identity calls."""
APPENDED = (EVENTS, IDENTITY_CALLS, DEAD_LETTERS)
ALL = (*APPENDED, *KEYED, JOBS)
BY_NAME: Mapping[str, Table] = {table.name: table for table in ALL}
