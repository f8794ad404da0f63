"""Processes beside this one that live no longer than it does, however it ends."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import IO, Final

import grpc

_UNTIL_INPUT_ENDS: Final = '"$@" & cat > /dev/null; kill $!'
"""A shell's script: when whoever writes its input is gone, even killed, the command goes too."""
_LOOK_S: Final = 0.1


@contextlib.contextmanager
def running(
    command: Sequence[str], environment: Mapping[str, str] | None = None, output: IO[bytes] | int | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Runs a command while the block lasts, or this process. An interrupt at the terminal does not reach it: what this
    process still has to do needs it."""
    process = subprocess.Popen(
        ["sh", "-c", _UNTIL_INPUT_ENDS, command[0], *command],
        stdin=subprocess.PIPE,
        stdout=output,
        stderr=output,
        env={**os.environ, **(environment or {})},
        start_new_session=True,
    )
    try:
        yield process
    finally:
        process.communicate()


def free_endpoint() -> str:
    """HOST:PORT of a port where nobody listens now."""
    with socket.create_server(("localhost", 0)) as free:
        return f"localhost:{free.getsockname()[1]}"


def answers(endpoint: str, seconds: float) -> bool:
    """Waits for a gRPC server at HOST:PORT; False where none answers within that time."""
    end = time.monotonic() + seconds
    with grpc.insecure_channel(endpoint, [("grpc.initial_reconnect_backoff_ms", int(_LOOK_S * 1000))]) as channel:
        ready = grpc.channel_ready_future(channel)
        while time.monotonic() < end:
            with contextlib.suppress(grpc.FutureTimeoutError):
                ready.result(timeout=_LOOK_S)
                return True
    return False
