"""Clients of a receiver: each sends calls as fast as they are answered, and lists what was answered 200.

What is not answered 200 is sent again, with the same ids, until it is. A third of the clients sends batches as SDKs do,
a third sends single calls, and a third is Segment's webhook.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import itertools
import json
import os
import threading
import time
from collections.abc import Iterator, Mapping
from random import Random
from typing import Any, Final, NamedTuple

from tests.receiver.clients.receiver_process import API_KEY, FOLDER, WRITE_KEY

_CLIENTS: Final = 9
_LARGEST_BATCH: Final = 12
_LONGEST_PAUSE_S: Final = 0.04
_AGAIN_S: Final = 0.05
_TIMEOUT_S: Final = 15.0
"""As in Segment's SDK for Python."""


class _Request(NamedTuple):
    """A request, and the ids of its calls."""

    path: str
    headers: Mapping[str, str]
    body: bytes
    ids: frozenset[str]


class Refusal(NamedTuple):
    """An answer other than 200."""

    status: int
    retry_after: str | None
    body: bytes


class Senders:
    """Clients of one receiver, each in a thread.

    `answered` are the ids of the calls that were answered 200, `refusals` the other answers; `broken` counts the
    requests that were not answered at all.
    """

    def __init__(self) -> None:
        self.answered: set[str] = set()
        self.refusals: list[Refusal] = []
        self.broken = 0
        self._is_ending = threading.Event()
        self._is_abandoned = threading.Event()
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []

    def start(self, host: str) -> None:
        """Has them send to HOST:PORT."""
        numbers = range(_CLIENTS)
        self._threads = [threading.Thread(target=self._send, args=(host, number), daemon=True) for number in numbers]
        for thread in self._threads:
            thread.start()

    def finish(self, patience_s: float) -> None:
        """Begins no more requests, and waits until those that were begun are answered 200."""
        self._is_ending.set()
        end = time.monotonic() + patience_s
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))
        assert not any(thread.is_alive() for thread in self._threads), f"never answered: {self.refusals[-1:]}"

    def abandon(self) -> None:
        """Ends them, whatever is not answered."""
        self._is_abandoned.set()
        for thread in self._threads:
            thread.join()

    def _send(self, host: str, number: int) -> None:
        with contextlib.closing(http.client.HTTPConnection(host, timeout=_TIMEOUT_S)) as connection:
            for request in _requests(number):
                while not self._is_taken(connection, request):
                    if self._is_abandoned.wait(_AGAIN_S):
                        return
                if self._is_ending.is_set() or self._is_abandoned.is_set():
                    return

    def _is_taken(self, connection: http.client.HTTPConnection, request: _Request) -> bool:
        """Sends a request once; whether it was answered 200."""
        try:
            connection.request("POST", request.path, request.body, dict(request.headers))
            answer = connection.getresponse()
            body = answer.read()
        except (OSError, http.client.HTTPException):
            connection.close()
            with self._lock:
                self.broken += 1
            return False
        with self._lock:
            if answer.status == 200:
                self.answered |= request.ids
            else:
                self.refusals.append(Refusal(answer.status, answer.getheader("Retry-After"), body))
        return answer.status == 200


def _requests(number: int) -> Iterator[_Request]:
    """The requests of a client, for ever, each after a pause."""
    rng, run = Random(number), os.urandom(4).hex()
    make = (_batch, _single_call, _webhook)[number % 3]
    for count in itertools.count():
        time.sleep(rng.uniform(0, _LONGEST_PAUSE_S))
        yield make(rng, f"{run}-{number}-{count}")


def _batch(rng: Random, name: str) -> _Request:
    calls = [_call(rng, f"{name}-{part}") for part in range(rng.randint(1, _LARGEST_BATCH))]
    return _request("/v1/batch", WRITE_KEY, {"batch": calls, "sentAt": calls[0]["timestamp"]}, calls)


def _single_call(rng: Random, name: str) -> _Request:
    call = _call(rng, name)
    return _request(f"/v1/{call['type']}", None, {**call, "writeKey": WRITE_KEY}, [call])


def _webhook(rng: Random, name: str) -> _Request:
    call = _call(rng, name)
    return _request(f"/webhook/{FOLDER}", API_KEY, call, [call])


def _call(rng: Random, message_id: str) -> dict[str, Any]:
    return {
        "type": rng.choice(("track", "page", "screen")),
        "messageId": message_id,
        "userId": f"u{rng.randint(0, 9)}",
        "event": "Stored",
        "name": "Stored",
        "timestamp": "2026-01-02T03:04:05.678Z",
        "properties": {"x": "x" * rng.randint(0, 800)},
    }


def _request(path: str, key: str | None, body: dict[str, Any], calls: list[dict[str, Any]]) -> _Request:
    headers = {"Content-Type": "application/json"}
    if key is not None:
        headers["Authorization"] = f"Basic {base64.b64encode(f'{key}:'.encode()).decode()}"
    return _Request(path, headers, json.dumps(body).encode(), frozenset(call["messageId"] for call in calls))
