"""The replay: messages in, tables out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace

from judge.classification import EVENT_TYPES, event_row, identity_call_row, is_identity_call
from judge.companies import AccountFacts, account_named_by, account_row, is_membership
from judge.configuration import DEFAULT, Config, ConnectionRules
from judge.deletion import NEVER
from judge.json_text import canonical, parse
from judge.memberships import membership_rows
from judge.merging import resolve
from judge.message import RefusedError, ReplayedMessage
from judge.outcome import Tables
from judge.people import PersonFacts, contact_row
from judge.reading import read, read_message
from judge.user_properties import engage_property
from judge.values import Stamp


def replay(
    items: Iterable[bytes],
    config: Config = DEFAULT,
    *,
    connection: str | None = None,
    merge: bool = True,
    published: int | None = None,
    keyed_log: bool = True,
) -> Tables:
    """The tables after every message of `items`, each a line as found in a file: a message, an array, or a batch.

    `connection` names the one of all messages, whatever they say. Without `merge` edges have no effect: every id is a
    contact of its own. `published` is when they were all published, in microseconds; in a file they have no such time.

    Of identity calls with one `message_id` the first of `items` is logged, and the others are not. Without `keyed_log`
    the log keeps all, as BigQuery does, which enforces no key.
    """
    outcomes = [outcome for item in items for outcome in read(item, config, connection, published)]
    return tables_of(outcomes, config, merge=merge, keyed_log=keyed_log)


def replay_log(calls: Iterable[tuple[str, str]], config: Config = DEFAULT) -> Tables:
    """The tables after every call of the log, each `(payload, connection)`: of those tables that the log makes, so
    without the events of other calls.

    Every call that the log holds counts, also those with one `message_id`. A connection that the configuration no
    longer has keeps its name and is mapped like the one without project ids, else like the default.
    """
    logged = [read_logged(payload, config, connection) for payload, connection in calls]
    return tables_of(logged, config, keyed_log=False)


def read_logged(payload: str, config: Config, name: str) -> ReplayedMessage | tuple[str, bytes] | None:
    """The one call of a log's payload, whatever it has in a field `batch`; None where it is disabled."""
    if name not in [connection.name for connection in config.connections]:
        catch_all = [connection for connection in config.connections if connection.project_ids is None]
        mapping = (catch_all or Config().connections)[0].account_mapping
        config = replace(config, connections=(ConnectionRules(name, None, mapping),))
    try:
        return read_message(parse(payload), {}, config, name)
    except RefusedError as refused:
        return refused.reason, payload.encode("utf-8")
    except ValueError:  # what parsed when it was logged does so again, unless somebody has changed the log
        return "invalid_json", payload.encode("utf-8")


def tables_of(
    outcomes: Sequence[ReplayedMessage | tuple[str, bytes] | None],
    config: Config,
    *,
    merge: bool = True,
    keyed_log: bool,
) -> Tables:
    """The tables of what was read: messages, and (reason, bytes) of those that were refused."""
    tables = Tables()
    tables.dead_letters = sorted({outcome for outcome in outcomes if isinstance(outcome, tuple)})
    messages = [outcome for outcome in outcomes if isinstance(outcome, ReplayedMessage)]
    for message in messages:  # of those with one message_id the first stands
        if message.type in EVENT_TYPES:
            tables.events.setdefault(message.message_id, event_row(message))
    logged = distinct(message for message in messages if is_identity_call(message))
    if keyed_log:
        firsts: dict[str, ReplayedMessage] = {}
        for message in logged:
            firsts.setdefault(message.message_id, message)
        logged = list(firsts.values())
    for message in logged:
        tables.identity_calls.setdefault(message.message_id, identity_call_row(message))

    edges: list[tuple[Stamp, str, str]] = []
    people: dict[str, PersonFacts] = defaultdict(PersonFacts)
    accounts: dict[str, AccountFacts] = defaultdict(AccountFacts)
    for message in sorted(logged, key=lambda message: message.stamp):
        stamp = message.stamp
        person = PersonFacts() if message.id is None else people[message.id]
        engage = engage_property(message)
        if message.type == "alias" and message.previous_id is not None and message.user_id is not None:
            edges.append((stamp, message.previous_id, message.user_id))
        if message.type == "identify":
            person.identifies.append((stamp, message.connection.name))
            plain = [(key, value) for key, value in message.traits.items() if engage is None or key != engage.key]
            person.traits.extend((stamp, key, value) for key, value in plain)
            if config.link_anonymous_ids and message.anonymous_id is not None and message.user_id is not None:
                edges.append((stamp, message.anonymous_id, message.user_id))
        if engage is not None and message.type != "group":
            person.traits.append((stamp, engage.column, engage.value))
            if engage.is_membership and (engage.value is None or isinstance(engage.value, bool)):
                person.audiences.append((stamp, engage.column, engage.value))
        if message.type == "delete":
            person.deletes.append(stamp)
        naming = account_named_by(message, config)
        if naming is not None:
            if is_membership(message):
                person.accounts.append((stamp, naming))
            accounts[naming.account_id].namings.append((stamp, naming, message.connection.name))

    labels = resolve(edges) if merge else {}
    tables.identities = {id_: label for id_, label in labels.items() if id_ != label}
    contacts: dict[str, list[str]] = defaultdict(list)
    for id_ in labels.keys() | people.keys():
        contacts[labels.get(id_, id_)].append(id_)
    for label, ids in contacts.items():
        forgotten = max((stamp for id_ in ids if id_ in people for stamp in people[id_].deletes), default=NEVER)
        for account_id, row in membership_rows(label, ids, people, forgotten).items():
            tables.memberships[label, account_id] = row
        contact = contact_row(label, ids, people, forgotten)
        if contact is not None:
            tables.contacts[label] = contact
    tables.accounts = {account_id: account_row(account_id, account) for account_id, account in accounts.items()}
    return tables


def distinct(messages: Iterable[ReplayedMessage]) -> list[ReplayedMessage]:
    """One of those that are the same in all that was read of them, in the order given."""
    texts: dict[str, ReplayedMessage] = {}
    for message in messages:
        texts.setdefault(canonical({**vars(message), "connection": message.connection.name}), message)
    return list(texts.values())
