"""The floor of DuckDB alone: `python -m benchmarks.read_json INPUT DATABASE`.

Every line of a file of calls goes into a table with a primary key, what comes again is left out; as DuckDB would by
itself, without any rule of ours.
"""

from __future__ import annotations

import sys

import duckdb


def main(source: str, database: str) -> None:
    connection = duckdb.connect(database)
    connection.execute("SET threads = 1")
    connection.execute(
        "CREATE TABLE events (message_id VARCHAR PRIMARY KEY, type VARCHAR, name VARCHAR, timestamp VARCHAR,"
        " user_id VARCHAR, anonymous_id VARCHAR, properties JSON, context JSON)"
    )
    columns = {
        **dict.fromkeys(("messageId", "type", "event", "timestamp", "userId", "anonymousId"), "VARCHAR"),
        **dict.fromkeys(("properties", "context"), "JSON"),
    }
    connection.execute(
        f"INSERT OR IGNORE INTO events SELECT {', '.join(columns)}"
        f" FROM read_json(?, format = 'newline_delimited', ignore_errors = true, columns = {columns})"
        " WHERE messageId IS NOT NULL",
        [source],
    )
    connection.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
