"""What became of each call of a message, by the same rules as the job reads it by, as the page shows it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import msgspec
from msgspec import Raw

from receiver.sink import Message
from schemas.segment import CALL_TYPES
from schemas.tables import BY_NAME, DEAD_LETTERS, EVENTS, IDENTITY_CALLS, DeadLetter, Row, Table, Timestamp, Type
from transforms.core import call_rows, secrets, times
from transforms.core.accounts import Way
from transforms.core.connections import Connections
from transforms.core.dead_letters import Refused
from transforms.core.facts import AccountKnown, Known, learned
from transforms.core.fields import MessageFields, items, parse, parse_item
from transforms.core.reader import Call, Disabled, Reader, ReadOutcome, Received
from transforms.core.rows import Append

MOST_SHOWN: Final = 16_000
"""So many characters of a call or of a column are shown."""
_MOST_OF_A_NAME: Final = 200
_NO_ACCOUNTS: Final = "no effect: this connection does not name accounts by group calls"
_NO_EDGE: Final = "no effect: an id does not become itself"
_NO_PROPERTY: Final = "no effect: the Engage call sets no property"


class ShownText(msgspec.Struct, frozen=True):
    """A text, or its beginning and how many characters are left out; `is_json` tells whether it is JSON as written."""

    text: str
    left_out: int = 0
    is_json: bool = False


class ShownRow(msgspec.Struct, frozen=True):
    """A row that the call becomes: each column's text, None for NULL."""

    table: str
    columns: dict[str, ShownText | None]


class ShownCall(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A call as it was sent, without secrets, beside its outcome. `effects` say what an identity call tells, a line for
    each fact. `stored_at` is in milliseconds since the epoch."""

    stored_at: int
    connection: str
    outcome: str
    type: str = ""
    name: str = ""
    who: str = ""
    message_id: str = ""
    raw: ShownText
    inherited: ShownText | None = None
    rows: tuple[ShownRow, ...] = ()
    effects: tuple[str, ...] = ()
    reason: str = ""
    detail: str = ""


class Showing:
    """Reads messages as the job does under one configuration."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._reader = Reader.of(connections)

    def calls(self, message: Message, stored_at: Timestamp) -> Iterator[ShownCall]:
        """Each call of the message, in its order."""
        received = Received(message.payload, {"connection": message.connection}, stored_at)
        outcomes = self._reader.read(received)
        # Of a plain object, and of a message that is refused as a whole, the one outcome is the message's.
        raws = [message.payload] if isinstance(outcomes, tuple) else _items(message.payload)
        for raw, outcome in zip(raws, outcomes, strict=True):
            yield self._shown(message, raw, stored_at, outcome)

    def _shown(self, message: Message, raw: bytes, stored_at: Timestamp, outcome: ReadOutcome) -> ShownCall:
        if isinstance(outcome, Call):
            return self._shown_call(outcome, stored_at)
        if isinstance(outcome, DeadLetter):
            return _shown_letter(message, raw, stored_at, outcome)
        return _shown_disabled(message, raw, stored_at, outcome)

    def _shown_call(self, call: Call, stored_at: Timestamp) -> ShownCall:
        try:
            event, entry = call_rows.rows(call)
        except Refused as refused:
            return _refused(call, stored_at, [call_rows.refused_call(call, refused)], outcome="dead_letter")
        appends = [append for append in (event, None if entry is None else entry.append) if append is not None]
        letters = [letter for append in appends if (letter := _misfit(append)) is not None]
        if letters:
            return _refused(call, stored_at, letters, outcome="dead_letter")
        return _described(
            call,
            stored_at,
            outcome="event" if event is not None else "identity_call",
            rows=tuple(_row(_TABLES[type(append.row)], append.row) for append in appends),
            effects=() if entry is None else effects(call, self._connections),
        )


_TABLES: Final = {table.row: table for table in (EVENTS, IDENTITY_CALLS, DEAD_LETTERS)}


def _misfit(append: Append) -> Row | None:
    """The dead letter of a row that no warehouse can hold."""
    why = _TABLES[type(append.row)].misfit(append.row)
    return None if why is None else append.refused(why).row


def _refused(call: Call, stored_at: Timestamp, letters: Sequence[Row], *, outcome: str) -> ShownCall:
    letter = letters[0]
    assert isinstance(letter, DeadLetter)
    return _described(
        call,
        stored_at,
        outcome=outcome,
        rows=tuple(_row(DEAD_LETTERS, letter) for letter in letters),
        reason=letter.reason,
        detail=letter.detail,
    )


def _described(
    call: Call,
    stored_at: Timestamp,
    *,
    outcome: str,
    rows: tuple[ShownRow, ...],
    effects: tuple[str, ...] = (),
    reason: str = "",
    detail: str = "",
) -> ShownCall:
    event = call_rows.event(call) if call.name is None else None
    return ShownCall(
        stored_at=stored_at // 1000,
        connection=call.connection.name,
        outcome=outcome,
        type=call.type,
        name=_short(call.name or (event.name if event is not None else "")),
        who=_short(call.user_id or call.anonymous_id or call.group_id or ""),
        message_id=_short(call.message_id),
        raw=_json(call.message),
        inherited=_inherited(call.inherited),
        rows=rows,
        effects=effects,
        reason=reason,
        detail=detail,
    )


def _shown_letter(message: Message, raw: bytes, stored_at: Timestamp, letter: DeadLetter) -> ShownCall:
    fields = _fields(raw)
    type_ = fields.type if isinstance(fields.type, str) else ""
    is_known = type_.lower() in CALL_TYPES
    return ShownCall(
        stored_at=stored_at // 1000,
        connection=letter.connection or message.connection,
        outcome="dead_letter",
        type=type_.lower() if is_known else "",
        name=_first_text(fields.event, fields.name, "" if is_known else type_),
        who=_first_text(fields.userId, fields.anonymousId),
        message_id=_short(letter.message_id or ""),
        raw=_json(raw),
        inherited=_inherited(letter.inherited),
        rows=(_row(DEAD_LETTERS, letter),),
        reason=letter.reason,
        detail=letter.detail,
    )


def _shown_disabled(message: Message, raw: bytes, stored_at: Timestamp, disabled: Disabled) -> ShownCall:
    fields = _fields(raw)
    return ShownCall(
        stored_at=stored_at // 1000,
        connection=message.connection,
        outcome="disabled",
        type=disabled.type,
        name=_first_text(fields.event, fields.name),
        who=_first_text(fields.userId, fields.anonymousId),
        message_id=_first_text(fields.messageId),
        raw=_json(raw),
    )


def _items(payload: bytes) -> list[bytes]:
    """The items of an array, or of a batch, that the reader has told apart."""
    document = parse(payload)
    return [bytes(item) for item in (items(document.batch) if isinstance(document, MessageFields) else document)]


def _fields(raw: bytes) -> MessageFields:
    """The fields of a call that was refused or dropped, as far as they can be read."""
    try:
        return parse_item(raw)
    except Refused:
        return MessageFields()


def _first_text(*values: object) -> str:
    return next((_short(value) for value in values if isinstance(value, str) and value), "")


def _short(text: str) -> str:
    return text if len(text) <= _MOST_OF_A_NAME else f"{text[:_MOST_OF_A_NAME]}…"


# ---- rows and texts ----


def _row(table: Table, row: Row) -> ShownRow:
    return ShownRow(
        table.name, {column.name: _value(column.type, getattr(row, column.name)) for column in table.columns}
    )


def _value(type_: Type, value: object) -> ShownText | None:
    if value is None:
        return None
    if type_ is Type.TIMESTAMP and isinstance(value, int):
        return ShownText(times.iso(Timestamp(value)))
    if isinstance(value, Raw):
        return _json(bytes(value))
    if isinstance(value, bytes):
        return _json(value)
    if isinstance(value, str):
        return _text(value, is_json=value.startswith("{"))
    return ShownText(str(value).lower())


def _json(written: bytes) -> ShownText:
    """JSON as it was written, but for its sender's secret; what is no JSON is shown as text."""
    return _text(written.decode(errors="replace"), is_json=True)


def _text(text: str, *, is_json: bool) -> ShownText:
    if is_json:
        text = secrets.redacted(text.encode(errors="replace")).decode()
    if len(text) <= MOST_SHOWN:
        return ShownText(text, is_json=is_json)
    return ShownText(text[:MOST_SHOWN], len(text) - MOST_SHOWN, is_json)


def _inherited(defaults: str | None) -> ShownText | None:
    return None if defaults in (None, "{}") else _text(defaults or "", is_json=True)


# ---- what an identity call tells ----


def effects(call: Call, connections: Connections) -> tuple[str, ...]:
    """What an identity call tells of contacts and accounts, a line for each fact."""
    facts = learned(call, connections)
    if facts.without_effect:
        return (_NO_ACCOUNTS,)
    lines = [line for person, known in facts.persons for line in _of_person(person, known)]
    if facts.account is not None:
        lines += _of_account(*facts.account)
    if lines:
        return tuple(lines)
    return (_NO_EDGE if call.type == "alias" else _NO_PROPERTY,)


def _of_person(person: str, known: Known) -> Iterator[str]:
    contact = f"contact {_short(person)}"
    if known.deleted is not None:
        yield f"{contact} is deleted"
    if known.seen is not None and not known.traits:
        yield f"{contact} is identified"
    if known.traits:
        yield f"{contact} has {_names(known.traits)}"
    for audience, (_, is_member) in known.audiences.items():
        state = {True: "is in", False: "is not in", None: "has no more to do with"}[is_member]
        yield f"{contact} {state} the audience {_short(audience)}"
    for account_id, ways in known.accounts.items():
        yield f"{contact} belongs to account {_short(account_id)}, by {_ways(ways)}"
    for user in known.out:
        yield f"{_short(person)} is now {_short(user)}"


def _of_account(account_id: str, known: AccountKnown) -> Iterator[str]:
    account = f"account {_short(account_id)}"
    yield f"{account} is named by {_ways(known.seen)}"
    if known.name is not None and known.name[1] != account_id:
        yield f"{account} has the name {_short(known.name[1])}"
    if known.traits:
        yield f"{account} has {_names(known.traits)}"


def _names(traits: Mapping[str, object]) -> str:
    return _short(", ".join(traits))


def _ways(ways: Mapping[Way, object]) -> str:
    return ", ".join(way.source for way in ways)


def described_columns() -> dict[str, dict[str, str]]:
    """What the columns of the tables that calls become mean, by table."""
    tables = (BY_NAME[name] for name in (EVENTS.name, IDENTITY_CALLS.name, DEAD_LETTERS.name))
    return {table.name: {column.name: column.description for column in table.columns} for table in tables}
