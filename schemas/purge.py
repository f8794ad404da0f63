"""The purge of a deleted person (`docs/semantics.md`, section 7): one script, written once in GoogleSQL.

Its parameter is `id`, any id of the person. The last statement gives a row for each table: its name, whether a delete
call names the person, the rows that were purged, and the person's rows that are left.
"""

from __future__ import annotations

from pathlib import Path

GOOGLESQL = Path(__file__).with_name("purge.sql").read_text("utf-8")
"""The script; its tables are those of the default dataset."""
