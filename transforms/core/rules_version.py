"""The version of the rules that rows are made by."""

from __future__ import annotations

from typing import Final

RULES_VERSION: Final = 1
"""To be raised by one whenever the same messages give other rows of contacts, accounts, identities or memberships.

A job that is updated keeps its state, and a key that no message names again would keep the rows of the older rules for
ever. So keyed state carries the version that its last rows were made by: a step that meets an older one writes its rows
anew, and a job that starts under a newer version reads the log again, so that every key is met
(`docs/dataflow.md`, "Updating"). 0 stands for state of before there were versions.
"""
