"""A usage error of the job, and its log and the causes behind Beam's errors without secrets."""

from __future__ import annotations

import logging

from transforms.core.usage_errors import (
    REDACTED,
    UsageError,
    choice,
    is_encodable,
    is_secret,
    printable,
    shortened,
    value_without_secrets,
    without_secrets,
)

__all__ = (
    "REDACTED",
    "SecretlessFormatter",
    "UsageError",
    "choice",
    "is_encodable",
    "is_secret",
    "printable",
    "reason",
    "shortened",
    "value_without_secrets",
    "without_secrets",
)


class SecretlessFormatter(logging.Formatter):
    """Formats log records without secrets."""

    def format(self, record: logging.LogRecord) -> str:
        return without_secrets(super().format(record))


def reason(error: Exception) -> str:
    """Why a file could not be used, without the wrapping of Beam's file systems."""
    from apache_beam.io.filesystem import BeamIOError  # a second to load, and no command's help needs it

    cause: BaseException = error
    while isinstance(cause, BeamIOError) and cause.exception_details:
        cause = next(iter(cause.exception_details.values()))
    if isinstance(cause, OSError) and cause.strerror:
        return cause.strerror
    return str(cause) or type(cause).__name__
