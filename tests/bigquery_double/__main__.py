"""Serves a double until it is interrupted: `python -m tests.bigquery_double` prints the variables that name it."""

from __future__ import annotations

import contextlib
import threading

from tests.bigquery_double import BigQueryDouble


def main() -> None:
    with BigQueryDouble() as bigquery:
        print(f"export BIGQUERY_EMULATOR_HOST={bigquery.rest_url}")
        print(f"export BIGQUERY_STORAGE_EMULATOR_HOST={bigquery.storage_target}", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait()


if __name__ == "__main__":
    main()
