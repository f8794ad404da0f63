"""A naive, sequential replay of docs/semantics.md: the judge of what the tables must hold.

Written from that text alone, and sharing no code with what it judges, so that a mistake cannot hide in both. It reads
every message, sorts the distinct ones by `(timestamp, message_id)`, replays them one at a time, and folds what it
gathered into rows at the end. Correctness and obviousness over speed: what is kept are lists of facts, and the rules
are applied to whole lists.

A module is a section of docs/semantics.md, or a part of one. Times are whole microseconds since the epoch.
"""

from __future__ import annotations

from judge.configuration import Config, ConnectionRules, MappingRules
from judge.json_text import canonical, parse
from judge.merging import resolve
from judge.outcome import Tables
from judge.sequential import replay, replay_log
from judge.time_forms import microseconds
from judge.values import Row

__all__ = [
    "Config",
    "ConnectionRules",
    "MappingRules",
    "Row",
    "Tables",
    "canonical",
    "microseconds",
    "parse",
    "replay",
    "replay_log",
    "resolve",
]
