"""The GoogleSQL that a job, and whoever looks into a warehouse, sends to BigQuery. Tables are those of one dataset,
`PROJECT.DATASET`; names with an `@` are query parameters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pipeline.warehouses.bigquery import ddl
from schemas.segment import ALIAS, IDENTIFY
from schemas.tables import DEAD_LETTERS, IDENTITY_CALLS, JOBS, Column, Table, Type

_ANY_PARTITION: Final = "failed_at >= CAST('1970-01-01 00:00:00+00' AS TIMESTAMP)"


def end_of_log(dataset: str | None) -> str:
    """One row: the server's `now`, and `log_until`, the greatest `written_at`, in microseconds."""
    return (
        "SELECT UNIX_MICROS(CURRENT_TIMESTAMP()) AS now, UNIX_MICROS(MAX(written_at)) AS log_until"
        f" FROM {ddl.qualified(IDENTITY_CALLS.name, dataset)}"
    )


def newest_job(dataset: str | None) -> str:
    """The job of the greatest generation, if there is one; `is_running` says that it has not entered its end."""
    return (
        "SELECT generation, UNIX_MICROS(started_at) AS started_at, ended_at IS NULL AS is_running, rules_version"
        f" FROM {ddl.qualified(JOBS.name, dataset)} ORDER BY generation DESC LIMIT 1"
    )


def enter_job(dataset: str | None) -> str:
    return (
        f"INSERT INTO {ddl.qualified(JOBS.name, dataset)} (generation, started_at, runner, options, history_done,"
        " rules_version, account_mappings)"
        " VALUES (@generation, TIMESTAMP_MICROS(@started_at), @runner, @options, FALSE, @rules_version,"
        " IF(@account_mappings = '', NULL, PARSE_JSON(@account_mappings)))"
    )


def enter_end(dataset: str | None) -> str:
    return (
        f"UPDATE {ddl.qualified(JOBS.name, dataset)} SET ended_at = CURRENT_TIMESTAMP() WHERE generation = @generation"
    )


def enter_rules_version(dataset: str | None) -> str:
    return (
        f"UPDATE {ddl.qualified(JOBS.name, dataset)} SET rules_version = @rules_version WHERE generation = @generation"
    )


def enter_account_mappings(dataset: str | None) -> str:
    """For a job that was started before they were entered, and is updated."""
    return (
        f"UPDATE {ddl.qualified(JOBS.name, dataset)} SET account_mappings = PARSE_JSON(@account_mappings)"
        " WHERE generation = @generation AND account_mappings IS NULL"
    )


def enter_history_done(dataset: str | None) -> str:
    return f"UPDATE {ddl.qualified(JOBS.name, dataset)} SET history_done = TRUE WHERE generation = @generation"


def keys_written_before(table: Table, dataset: str | None, limit: int, *, is_first: bool) -> str:
    """The least keys, so many, of rows of a keyed table that were last written before `@before`, in microseconds;
    unless they are the first, only those after the key (`@after_0`, `@after_1` …)."""
    keys = [f"`{name}`" for name in table.key]
    condition = f"`{table.written}` < TIMESTAMP_MICROS(@before)"
    if not is_first:
        condition += f" AND ({_is_after(keys)})"
    columns = ", ".join(keys)
    table_name = ddl.qualified(table.name, dataset)
    return f"SELECT {columns} FROM {table_name} WHERE {condition} ORDER BY {columns} LIMIT {limit}"


def _is_after(keys: Sequence[str]) -> str:
    """Whether a row's key comes after `@after_…`."""
    condition = ""
    for number, key in reversed([*enumerate(keys)]):
        equal = f" OR ({key} = @after_{number} AND ({condition}))" if condition else ""
        condition = f"{key} > @after_{number}{equal}"
    return condition


def rows_by_hour(table: Table, dataset: str | None, restriction: str) -> str:
    """For each hour of the time that partitions a table when it begins, in microseconds, and how many rows it holds
    that meet the restriction."""
    return (
        f"SELECT UNIX_MICROS(TIMESTAMP_TRUNC({table.partition_by}, HOUR)) AS begins, COUNT(*) AS held"
        f" FROM {ddl.qualified(table.name, dataset)} WHERE {restriction} GROUP BY begins ORDER BY begins"
    )


def log(dataset: str | None) -> str:
    return f"SELECT payload, connection FROM {ddl.qualified(IDENTITY_CALLS.name, dataset)}"


def log_of(dataset: str | None) -> str:
    """The calls of the log that carry one of `@ids`."""
    carried = " OR ".join(f"{name} IN UNNEST(@ids)" for name in ("user_id", "anonymous_id", "previous_id"))
    return f"{log(dataset)} WHERE {carried}"


def pairs(dataset: str | None) -> str:
    return (
        "SELECT DISTINCT COALESCE(previous_id, anonymous_id) AS previous, user_id"
        f" FROM {ddl.qualified(IDENTITY_CALLS.name, dataset)} WHERE type IN ('{ALIAS}', '{IDENTIFY}')"
        " AND COALESCE(previous_id, anonymous_id) IS NOT NULL AND user_id IS NOT NULL"
    )


def dead_letters_of(reasons: Sequence[str] | None) -> str:
    """What a dead letter of one of these reasons, or of any, meets. It also bounds the partitions, which a table may
    require."""
    if reasons is None:
        return _ANY_PARTITION
    names = ", ".join(f"'{reason}'" for reason in reasons)
    return f"{_ANY_PARTITION} AND reason IN ({names})"


def dead_letter_ids(dataset: str | None) -> str:
    """Those of `@ids` that the table holds."""
    table = ddl.qualified(DEAD_LETTERS.name, dataset)
    return f"SELECT DISTINCT dead_letter_id FROM {table} WHERE {_ANY_PARTITION} AND dead_letter_id IN UNNEST(@ids)"


def remove_dead_letters(dataset: str | None) -> str:
    table = ddl.qualified(DEAD_LETTERS.name, dataset)
    return f"DELETE FROM {table} WHERE {_ANY_PARTITION} AND dead_letter_id IN UNNEST(@ids)"


def rows(table: Table, dataset: str | None) -> str:
    """Every row; JSON as its text."""
    return f"SELECT {', '.join(map(_plain, table.columns))} FROM {ddl.qualified(table.name, dataset)}"


def _plain(column: Column) -> str:
    name = f"`{column.name}`"
    if column.type is Type.JSON:
        return f"IF({name} IS NULL, NULL, TO_JSON_STRING({name})) AS {name}"
    return name
