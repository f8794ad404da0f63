"""The version of the rules that rows are made by."""

from __future__ import annotations

from typing import Final

UNVERSIONED: Final = 0
"""The version of state that was written before there were versions."""

RULES_VERSION: Final = 2
"""To be raised by one whenever the same messages give other rows of contacts, accounts, identities or memberships. For
example: a column is added to `contacts`, the name is made of other traits, a delete forgets more.

A job that is updated keeps its state, and a key that no message names again would keep the rows of the older rules for
ever. So keyed state carries the version that its rows were made by. A step that meets state of another version writes
its rows anew, and a job that is updated to a newer version reads the log again, so that every key is met.

That is enough where the facts in state give the new rows. Where a call no longer gives a fact that it gave before, the
fact is still in state: such a job is replaced (`docs/dataflow.md`, "Updating").

`tests/transforms/test_rules_version.py` fails where the rows of its messages change and the version does not.
"""
