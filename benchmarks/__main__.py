"""Runs every benchmark: `python -m benchmarks`."""

from __future__ import annotations

from benchmarks import bigquery_sink, message_path, whole_job

if __name__ == "__main__":
    message_path.main()
    whole_job.main()
    bigquery_sink.main()
