"""Serves a double until it is interrupted: `python -m tests.bigquery_double` prints the variables that name it."""

from __future__ import annotations

import contextlib
import threading

from tests.bigquery_double import BigQueryDouble


def main() -> None:
    with BigQueryDouble() as bigquery:
        for name, value in bigquery.environment.items():
            print(f"export {name}={value}", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait()


if __name__ == "__main__":
    main()
