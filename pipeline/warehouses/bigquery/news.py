"""Tables that BigQuery does not know yet.

For some minutes after a table was made BigQuery may answer that there is none, or that something is not allowed on it,
"or it may not exist". That is no error before `NEWS_S` are over: it is asked again.
https://github.com/apache/beam/issues/37140 , https://github.com/apache/beam/issues/20890
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Iterable
from datetime import datetime, timezone
from typing import Final, TypeVar

from google.api_core.exceptions import Forbidden, NotFound
from tenacity import RetryCallState, Retrying, retry_if_exception, wait_random_exponential

_LOGGER: Final = logging.getLogger(__name__)
NEWS_S: Final = 300.0
"""How long a table is news."""
_MAY_NOT_EXIST: Final = re.compile(r"\b(may|does) not exist\b", re.IGNORECASE)

T = TypeVar("T")


class News:
    """Whether the tables of a process are news: by the clock that only goes on, until when."""

    def __init__(self, first_pause_s: float = 0.5, longest_pause_s: float = 15.0) -> None:
        self._until: float | None = None
        self._retrying = Retrying(
            retry=retry_if_exception(_is_unknown),
            wait=wait_random_exponential(multiplier=first_pause_s, max=longest_pause_s),
            stop=lambda _: self._until is not None and time.monotonic() >= self._until,
            before_sleep=_note,
            reraise=True,
        )

    def learn(self, created: Iterable[datetime | None]) -> None:
        """Takes note of when tables were made."""
        newest = max((at for at in created if at is not None), default=None)
        age_s = NEWS_S if newest is None else (datetime.now(timezone.utc) - newest).total_seconds()
        self._until = time.monotonic() + NEWS_S - min(max(age_s, 0.0), NEWS_S)

    def once_known(self, ask: Callable[[], T]) -> T:
        """What BigQuery answers, once it knows the tables that it is asked about. In a process that has not learned
        when they were made, such as a worker, they are news from its first ask on."""
        if self._until is None:
            self._until = time.monotonic() + NEWS_S
        return self._retrying(ask)


def _is_unknown(error: BaseException) -> bool:
    return isinstance(error, NotFound) or (isinstance(error, Forbidden) and bool(_MAY_NOT_EXIST.search(error.message)))


def _note(state: RetryCallState) -> None:
    _LOGGER.info("%s; trying again", state.outcome and state.outcome.exception())


NEWS: Final = News()
"""This process's."""
