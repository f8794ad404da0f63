"""Sources: where messages come from. A new one is a module, and a line here."""

from __future__ import annotations

from typing import Final

from pipeline.sources.base import Source, SourceKind
from pipeline.sources.directory import DirectoryKind
from pipeline.sources.files import FilesKind
from pipeline.sources.redelivery import RedeliveryKind
from pipeline.sources.subscription_kind import SubscriptionKind

__all__ = ["KINDS", "Source", "SourceKind"]

KINDS: Final[tuple[SourceKind, ...]] = (FilesKind(), SubscriptionKind(), DirectoryKind(), RedeliveryKind())
"""In the order of the help. A job reads what its options give."""
