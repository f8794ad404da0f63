"""What a DuckDB warehouse contains: opens its file, and creates or upgrades its tables and views."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import re
import stat
import struct
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

import duckdb
from duckdb import DuckDBPyConnection

from pipeline.warehouses.duckdb import ddl
from pipeline.warehouses.duckdb.sql import CATALOG, literal, quoted, scalar
from schemas import tables, upgrade, views
from schemas.upgrade import IncompatibleSchemaError

STORAGE = "v1.2.0"
"""The oldest DuckDB that can open the file; older formats cannot compress JSON, at ten times the size."""
_LOCK = re.compile(r"Conflicting lock is held in .*?(PID \d+)")
_MAGIC: Final = slice(8, 12), b"DUCK"
"""Where a DuckDB file says what it is."""
_HEADERS_BYTES: Final = 3 * 4096
"""A DuckDB file begins with three headers. They are written one after the other, and before anything else."""
_BLOCK_COUNT: Final = 4096 + 32
"""Where the second header says how many blocks follow, in eight bytes. The first checkpoint writes it there."""

FAILURES: Final = (
    duckdb.IOException,
    duckdb.TransactionException,
    duckdb.OutOfMemoryException,
    duckdb.PermissionException,
    duckdb.SerializationException,
    duckdb.InternalException,
    duckdb.FatalException,
)
"""What DuckDB raises where a file, its disk or the memory fails, whatever the statement was."""
_FULL: Final = tuple(os.strerror(number) for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG))
_DENIED: Final = tuple(os.strerror(number) for number in (errno.EACCES, errno.EPERM, errno.EROFS))
_DAMAGE: Final = re.compile(
    r"not a valid DuckDB database|Corrupt|checksum|Could not read (?:enough bytes|all bytes)|Failed to load metadata"
)

_log = logging.getLogger(__name__)


class UnusableFileError(Exception):
    """Why a warehouse's file cannot be used, in one line: the problem, and what would be right. Neither names the
    file."""

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(f"{problem}; {remedy}")
        self.problem = problem
        self.remedy = remedy


_FOREIGN: Final = ("is not a DuckDB file", "name another file, or one that does not exist yet")
_IN_USE: Final = "close it, or wait until it ends"
_RESTORE: Final = "restore it from a copy, or name a new file"


def path(url: str) -> str | None:
    """The file of `duckdb:///relative` or `duckdb:////absolute`, or None for anything else."""
    scheme, _, file = url.partition(":///")
    return file if scheme == "duckdb" and file else None


def check(file: str) -> None:
    """Raises UnusableFileError where what is at an absolute path is no warehouse and cannot become one. It only looks
    at the path: `check_content` reads the file."""
    folder = os.path.dirname(file)
    try:
        os.fsencode(file).decode()
    except UnicodeDecodeError:
        raise UnusableFileError("has a name that is not UTF-8, which DuckDB cannot open", "name another file") from None
    if os.path.basename(file).startswith(":memory:"):
        raise UnusableFileError("would be gone when the job ends", "name a file")
    if not os.path.isdir(folder):
        raise UnusableFileError(f"there is no folder {folder}", "make it, or name a file in another one")
    try:
        mode = os.stat(file).st_mode
    except FileNotFoundError:
        return
    except OSError as error:
        raise UnusableFileError(f"cannot be opened: {error.strerror}", "name another file") from None
    if stat.S_ISDIR(mode):
        raise UnusableFileError("is a folder", "name a file in it")
    if not stat.S_ISREG(mode):
        raise UnusableFileError("is a pipe, a socket or a device", "name a file")


def check_content(file: str) -> None:
    """Raises UnusableFileError where a file at an absolute path holds something that is not DuckDB's. This process must
    not have the file open: to close it here would give up DuckDB's lock."""
    check(file)
    if not os.path.exists(file):
        return
    try:
        with open(file, "rb") as opened:
            start = opened.read(_HEADERS_BYTES)
    except OSError as error:
        raise UnusableFileError(f"cannot be opened: {error.strerror}", "name a file that you can read") from None
    if any(start) and not _is_duckdb(start):
        raise UnusableFileError(*_FOREIGN)


def connect(file: str, *, read_only: bool = False, new: bool = True) -> DuckDBPyConnection:
    """Opens the file; until it is closed no other process can, unless both only read it. It is made where it is
    missing, unless it is only read or must not be `new`. Raises UnusableFileError.

    The file is attached to a database in memory, as the catalog `CATALOG`: its own name would be the catalog's, and
    may be that of a schema. Of a file that was left when it was being made, nothing is lost: it is made anew.
    """
    file = os.path.abspath(file)
    check(file)
    new = new and not read_only
    if not new and not os.path.exists(file):
        raise UnusableFileError("there is no such file", "name the file that a job has written")
    try:
        return _attached(file, read_only)
    except FAILURES as error:
        if not os.path.exists(file) or not _DAMAGE.search(str(error)):
            raise unusable(error) from None
        problem = unusable(error)
    except duckdb.BinderException:  # it says that a file is attached once
        raise UnusableFileError("is in use by this process", _IN_USE) from None
    if not new or not _removed(file):
        check_content(file)
        raise problem
    try:
        return _attached(file, read_only)
    except FAILURES as error:
        raise unusable(error) from None


def _attached(file: str, read_only: bool) -> DuckDBPyConnection:
    connection = duckdb.connect(
        config={
            "storage_compatibility_version": STORAGE,
            "temp_directory": f"{file}.tmp",
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
        }
    )
    try:
        mode = ", READ_ONLY" if read_only else f", STORAGE_VERSION '{STORAGE}'"
        connection.execute(f"ATTACH {literal(file)} AS {CATALOG} (TYPE duckdb{mode})")
        connection.execute(f"USE {CATALOG}.main")
        _check_attached(connection, file)
    except (duckdb.Error, UnusableFileError):
        connection.close()
        raise
    return connection


def _check_attached(connection: DuckDBPyConnection, file: str) -> None:
    """Raises UnusableFileError where rows would not go into the file, or the file has lost its end."""
    query = f"SELECT path FROM duckdb_databases() WHERE database_name = '{CATALOG}' AND type = 'duckdb'"
    opened = connection.execute(query).fetchone()
    if opened is None or opened[0] is None or not os.path.samefile(opened[0], file):
        raise UnusableFileError("was not opened as a file", "name another file")
    query = f"SELECT block_size, total_blocks FROM pragma_database_size() WHERE database_name = '{CATALOG}'"
    (size, total), *_ = connection.execute(query).fetchall()
    blocks = (os.path.getsize(file) - _HEADERS_BYTES) // size if size else 0
    if blocks < total and blocks <= _last_block(connection):  # DuckDB cuts off blocks that are free, and counts them
        raise UnusableFileError("is damaged: its end is missing", _RESTORE)


def _last_block(connection: DuckDBPyConnection) -> int:
    """The number of the last block that holds rows or describes them, from 0; -1 where there is none."""
    query = f"SELECT schema_name, table_name FROM duckdb_tables() WHERE database_name = '{CATALOG}'"
    names = [f"{CATALOG}.{quoted(schema)}.{quoted(table)}" for schema, table in connection.execute(query).fetchall()]
    sources = [
        f"SELECT max(block_id) AS id FROM pragma_metadata_info('{CATALOG}')",
        *(
            f"SELECT max(greatest(block_id, list_max(additional_block_ids))) FROM pragma_storage_info({literal(name)})"
            for name in names
        ),
    ]
    last = scalar(connection, f"SELECT max(id) FROM ({' UNION ALL '.join(sources)})")
    return -1 if last is None else int(last)


def _removed(file: str) -> bool:
    """Removes a file that was left when it was being made. Returns whether it was such."""
    file = os.path.realpath(file)
    try:
        with open(file, "r+b") as left:
            fcntl.lockf(left, fcntl.LOCK_EX | fcntl.LOCK_NB)  # as DuckDB does: nobody is making it now
            start = left.read(_HEADERS_BYTES + 1)
            if not _is_unfinished(start, f"{file}.wal"):
                return False
            if os.path.samestat(os.fstat(left.fileno()), os.stat(file)):
                os.unlink(file)
    except BlockingIOError:
        raise UnusableFileError("is in use by another process", _IN_USE) from None
    except OSError as error:
        raise UnusableFileError(f"cannot be made anew: {error.strerror}", "remove it, or name another file") from None
    if start:
        _log.warning("%s was left when it was being made, without any row: it is made anew", file)
    return True


def _is_unfinished(start: bytes, log: str) -> bool:
    """Whether a file that begins so, with what DuckDB has beside it, cannot hold anything yet."""
    if not start:
        return True
    if len(start) > _HEADERS_BYTES or (os.path.exists(log) and os.path.getsize(log)):
        return False
    if not any(start):
        return True
    count = start[_BLOCK_COUNT : _BLOCK_COUNT + 8]
    return _is_duckdb(start) and (len(count) < 8 or struct.unpack("<Q", count)[0] == 0)


def _is_duckdb(start: bytes) -> bool:
    place, magic = _MAGIC
    return start[place] == magic


def unusable(error: duckdb.Error) -> UnusableFileError:
    """Why a file can be used no longer, by what DuckDB raised."""
    text = str(error)
    reason = re.sub(r"^(?:[\w ]+ Error: )+", "", text.partition("\n")[0])
    reason = re.sub(r' (?:from )?file "[^"]*"', "", reason)  # who tells the user names it
    if lock := _LOCK.search(text):
        return UnusableFileError(f"is in use by another process ({lock[1]})", _IN_USE)
    for full in _FULL:
        if full in text:
            remedy = "make room, and run the same command again: it goes on from what was written"
            return UnusableFileError(f"cannot be written: {full}", remedy)
    for denied in _DENIED:
        if denied in text:
            return UnusableFileError(
                f"cannot be opened: {denied}", "have it and its folder writable, or name another file"
            )
    if isinstance(error, duckdb.OutOfMemoryException):
        return UnusableFileError(f"needs more memory than there is: {reason}", "run the same command again with more")
    if _DAMAGE.search(text) or isinstance(error, (duckdb.SerializationException, duckdb.InternalException)):
        return UnusableFileError(f"is damaged: {reason}", _RESTORE)
    return UnusableFileError(f"cannot be used: {reason}", "name a file that DuckDB can write")


def create(connection: DuckDBPyConnection) -> tuple[str, ...]:
    """Makes the tables and columns that are missing, every description and every view, in one transaction.

    Returns the tables and columns that it made, a line each; no data are touched. Raises IncompatibleSchemaError,
    with nothing changed, where what exists cannot hold what this version writes.
    """
    existing = _existing(connection)
    incompatible = tuple(_incompatible(existing))
    if incompatible:
        raise IncompatibleSchemaError(incompatible)
    made = []
    connection.begin()
    try:
        for table in tables.ALL:
            if table.name in existing:
                for column in upgrade.difference(table, existing[table.name].columns, ddl.type_name).added:
                    type_ = ddl.type_name(column)
                    connection.execute(f'ALTER TABLE "{table.name}" ADD COLUMN "{column.name}" {type_}')
                    made.append(f"column {table.name}.{column.name}")
            else:
                made.append(f"table {table.name}")
            connection.execute(ddl.create_table(table))
        for view in views.ALL:
            connection.execute(ddl.create_view(view))
        for function in views.FUNCTIONS:
            connection.execute(ddl.create_function(function))
    except duckdb.Error:
        connection.rollback()
        raise
    connection.commit()
    return tuple(made)


class _Relation(NamedTuple):
    """A table or view that exists: whether it is a view, its columns' types by name, and its primary key."""

    is_view: bool
    columns: Mapping[str, str]
    key: tuple[str, ...]


def _existing(connection: DuckDBPyConnection) -> Mapping[str, _Relation]:
    here = "database_name = current_database() AND schema_name = current_schema()"
    view_names = connection.execute(f"SELECT lower(view_name) FROM duckdb_views() WHERE {here}").fetchall()
    relations = connection.execute(
        "SELECT lower(table_name), map(list(lower(column_name)), list(data_type))"
        f" FROM duckdb_columns() WHERE {here} GROUP BY 1"
    ).fetchall()
    keys = primary_keys(connection)
    return {name: _Relation((name,) in view_names, columns, keys.get(name, ())) for name, columns in relations}


def primary_keys(connection: DuckDBPyConnection) -> Mapping[str, tuple[str, ...]]:
    """The key of each table that has an index of it."""
    keys = connection.execute(
        """
        SELECT lower(table_name), list_transform(constraint_column_names, lambda name: lower(name))
        FROM duckdb_constraints()
        WHERE constraint_type = 'PRIMARY KEY'
          AND database_name = current_database() AND schema_name = current_schema()
        """
    ).fetchall()
    return {table: tuple(columns) for table, columns in keys}


def _incompatible(existing: Mapping[str, _Relation]) -> Iterator[str]:
    for table in tables.ALL:
        relation = existing.get(table.name)
        if relation is None:
            continue
        if relation.is_view:
            yield f"table {table.name}: there is a view of that name"
            continue
        yield from upgrade.difference(table, relation.columns, ddl.type_name).incompatible
        if relation.key != table.key and (relation.key or table != tables.EVENTS):  # older files have that index
            key, wanted = ", ".join(relation.key) or "none", ", ".join(table.key)
            yield f"table {table.name}: its primary key is {key}, which cannot become {wanted}"
    for view in views.ALL:
        if view.name in existing and not existing[view.name].is_view:
            yield f"view {view.name}: there is a table of that name"


def to_disk(path: str) -> None:
    """Returns when a file, or the names in a folder, are on the disk. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
