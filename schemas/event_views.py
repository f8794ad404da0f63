"""A view for each event that was seen, with its properties as typed columns: Segment's tables by event.

What the properties of each event are is asked of the events (`SHAPES`); the views follow from the answer alone.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Final, NamedTuple

from schemas import views
from schemas.views import View

_LEVELS: Final = 4
"""So deep objects are flattened; what lies deeper is a column of JSON text."""
_LONGEST: Final = 128
"""Characters of a view's or a column's name; BigQuery takes 300 for a column."""
_LONGEST_EVENT: Final = 1024
"""Characters of an event's name that has a view."""
_TRACKS: Final = next(view.sql for view in views.ALL if view.name == "tracks")
_COLUMN: Final = re.compile(r"^ +(?:.* )?AS (\w+),?$|^  (\w+),?$", re.MULTILINE)
_OWN_COLUMNS: Final = tuple("".join(names) for names in _COLUMN.findall(re.sub(" --.*", "", _TRACKS)))
"""The columns of `tracks`, each of which a view of an event has: by their names, so that it stays as it is where
`tracks` gets more."""
_BEGINNING: Final = "Each track call of the event "


def _shapes() -> str:
    keys = [f"key_{level}" for level in range(1, _LEVELS + 1)]
    joins, path = [], "event.properties"
    for level, key in enumerate(keys):
        joins.append(
            f"{'LEFT' if level else 'CROSS'} JOIN UNNEST(JSON_KEYS({path}, 1)) AS {key}{' ON TRUE' * bool(level)}"
        )
        path += f"[{_unquoted(key)}]"
    leaf = "event.properties"
    for level, key in enumerate(keys):
        step = f"{leaf}[{_unquoted(key)}]"
        leaf = f"IF({key} IS NULL, {leaf}, {step})" if level else step
    names = ", ".join(f"{_unquoted(key)} AS {key}" for key in keys)
    return (
        f"SELECT name, {', '.join(keys)},\n"
        "  CASE JSON_TYPE(leaf)\n"
        "    WHEN 'boolean' THEN 'BOOL'\n"
        "    WHEN 'number' THEN IF(\n"
        r"      REGEXP_CONTAINS(TO_JSON_STRING(leaf), r'^-?[0-9]+$')"
        " AND SAFE_CAST(TO_JSON_STRING(leaf) AS INT64) IS NOT NULL,\n      'INT64', 'FLOAT64')\n"
        "    WHEN 'string' THEN IF(\n"
        r"      REGEXP_CONTAINS(JSON_VALUE(leaf), r'^[0-9]{4}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-5][0-9]"
        r"(\.[0-9]{1,6})?(Z|[+-](0[0-9]|1[0-4]):[0-5][0-9])$')"
        " AND SAFE_CAST(JSON_VALUE(leaf) AS TIMESTAMP) IS NOT NULL,\n      'TIMESTAMP', 'STRING')\n"
        "    WHEN 'null' THEN 'NULL'\n"
        "    ELSE 'STRING'\n"
        "  END AS kind\n"
        f"FROM (\n  SELECT event.name, {names}, {leaf} AS leaf\n"
        "  FROM events AS event\n  " + "\n  ".join(joins) + "\n"
        "  WHERE event.type = 'Action' AND event.received_at >= TIMESTAMP('1960-01-01 00:00:00+00')\n)\n"
        f"GROUP BY name, {', '.join(keys)}, kind"
    )


def _unquoted(key: str) -> str:
    """GoogleSQL's JSON_KEYS gives a key that has quotes or dots as a JSON text."""
    return f"IF(STARTS_WITH({key}, '\"'), JSON_VALUE(SAFE.PARSE_JSON({key})), {key})"


SHAPES: Final = _shapes()
"""For each event's name, path of keys and kind of value, one row: the name, the path with NULL behind its end, the
kind."""
NAMES: Final = (
    "SELECT DISTINCT name FROM events WHERE type = 'Action' AND received_at >= TIMESTAMP('1960-01-01 00:00:00+00')"
)
"""Every event's name, also of those without properties."""


class EventProperty(NamedTuple):
    """A property of an event: where it is, and its column's type by its GoogleSQL name."""

    path: tuple[str, ...]
    type: str


def properties(rows: Iterable[tuple[str | None, ...]]) -> Mapping[str, tuple[EventProperty, ...]]:
    """The properties of each event, by its name, of the rows that SHAPES gives."""
    kinds: dict[str, dict[tuple[str, ...], set[str]]] = defaultdict(lambda: defaultdict(set))
    for name, *keys, kind in rows:
        path = tuple(key for key in keys if key is not None)
        kinds[name or ""][path].add(kind or "NULL")
    return {
        name: tuple(EventProperty(path, _type(seen)) for path, seen in sorted(of.items())) for name, of in kinds.items()
    }


def _type(kinds: Collection[str]) -> str:
    """The type that holds values of all these kinds: numbers together are FLOAT64, all else is text."""
    known = {*kinds} - {"NULL"}
    if len(known) == 1:
        return known.pop()
    return "FLOAT64" if known == {"INT64", "FLOAT64"} else "STRING"


def event_views(
    names: Iterable[str], shapes: Mapping[str, tuple[EventProperty, ...]], existing: Mapping[str, str]
) -> Iterator[View]:
    """A view for each event's name. `existing` are the descriptions of views that exist, by name: an event keeps its
    view's name, whichever others come to fold alike; of new ones the event that is written so has the plain name. A
    name that is too long, or holds the character NUL, which no constant of SQL can, has none."""
    kept = {event: view for view, text in existing.items() if (event := event_of(text)) is not None}
    used = {*existing}
    wanted = {name: _identifier(name, "event") for name in names if "\0" not in name and len(name) <= _LONGEST_EVENT}
    for name in sorted(wanted, key=lambda name: (name != wanted[name], name)):
        view = kept.get(name) or _free(wanted[name], used)
        used.add(view)
        yield _view(view, name, shapes.get(name, ()))


def event_of(description: str) -> str | None:
    """The event of a view's description; None where it is no view of an event."""
    if not description.startswith(_BEGINNING):
        return None
    try:
        name, _ = json.JSONDecoder().raw_decode(description, len(_BEGINNING))
    except ValueError:
        return None
    return name if isinstance(name, str) else None


def _view(view: str, name: str, seen: Iterable[EventProperty]) -> View:
    columns = [f"  {_value(property_)} AS `{column}`" for column, property_ in _columns(seen)]
    selected = ",\n".join([*(f"  track.{column}" for column in _OWN_COLUMNS), *columns])
    sql = f"SELECT\n{selected}\nFROM tracks AS track\nWHERE event_text = {_literal(name)}"
    digest = hashlib.sha256(sql.encode()).hexdigest()[:12]
    return View(view, f"{_BEGINNING}{json.dumps(name)}, with its properties as columns ({digest}).", sql)


def _columns(seen: Iterable[EventProperty]) -> Iterator[tuple[str, EventProperty]]:
    """The properties with their columns: of those that fold alike, the one that is written so has the plain name."""
    named = [(_identifier("_".join(map(_slug, part.path)), "property"), part) for part in seen]
    used = {*_OWN_COLUMNS}
    for column, property_ in sorted(named, key=lambda pair: ("_".join(pair[1].path) != pair[0], pair[1].path)):
        free = _free(column, used)
        used.add(free)
        yield free, property_


def _free(name: str, used: Collection[str]) -> str:
    """The name, or the first with a number behind it that is free."""
    number, free = 1, name
    while free in used:
        number += 1
        free = f"{name}_{number}"
    return free


def _slug(name: str) -> str:
    """`orderTotal` is `order_total`, as in the column `event` of `tracks`."""
    words = re.sub("([a-z][0-9]*)([A-Z])", r"\1_\2", name)
    return re.sub("[^a-zA-Z0-9]+", "_", words).lower().strip("_")


def _identifier(name: str, otherwise: str) -> str:
    slug = _slug(name)[:_LONGEST].strip("_") or otherwise
    return f"_{slug}" if slug[0].isdigit() else slug


def _value(property_: EventProperty) -> str:
    json_ = "track.properties" + "".join(f"[{_literal(key)}]" for key in property_.path)
    text = f"JSON_VALUE({json_})"
    if property_.type == "STRING":
        documents = "= 'array'" if len(property_.path) < _LEVELS else "IN ('array', 'object')"
        return f"COALESCE({text}, IF(JSON_TYPE({json_}) {documents}, TO_JSON_STRING({json_}), NULL))"
    if property_.type == "BOOL":
        return f"CASE {text} WHEN 'true' THEN TRUE WHEN 'false' THEN FALSE END"
    return f"SAFE_CAST({text} AS {property_.type})"


def _literal(text: str) -> str:
    """GoogleSQL's constant of a text."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return "'" + "".join(char if char.isprintable() else f"\\U{ord(char):08x}" for char in escaped) + "'"
