"""Google's clients, which the extra `gcp` installs, where something needs them and they are not there."""

from __future__ import annotations

from typing import Final

from transforms.core.usage_errors import UsageError

INSTALLED_BY: Final = "pip install 'segment-bigquery[gcp]'"
_PACKAGES: Final = frozenset({"apitools", "google", "grpc_status"})
"""The packages of their modules."""


def missing(error: ImportError, *, option: str = "", value: str | None = None) -> ImportError | UsageError:
    """What to raise where an import has failed: a usage error of the option that needs Google's clients where one of
    their modules is missing, else the error itself."""
    if (error.name or "").partition(".")[0] not in _PACKAGES:
        return error
    return UsageError(f"needs Google's clients: {INSTALLED_BY}", option=option, value=value)
