"""Serves the debugger on a port of its own, and stores messages as a receiver would."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from receiver.debugger.application import Debugger
from receiver.sink import Message
from transforms.core.connections import Connections


class Served:
    """A debugger that answers at `address`."""

    def __init__(self, debugger: Debugger, address: str, loop: asyncio.AbstractEventLoop) -> None:
        self.address = address
        self._debugger = debugger
        self._loop = loop

    def store(self, *messages: Message) -> None:
        for message in messages:
            self._loop.call_soon_threadsafe(self._debugger.stored, message)


@contextmanager
def served(connections: Connections, port: int = 0) -> Iterator[Served]:
    """Runs a server in a thread while the block lasts, at a port that is free or at this one."""
    debugger = Debugger(connections)
    config = uvicorn.Config(debugger, port=port, log_level="error", lifespan="off", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    loops: list[asyncio.AbstractEventLoop] = []
    listens = threading.Event()

    async def serve() -> None:
        loops.append(asyncio.get_running_loop())
        serving = asyncio.ensure_future(server.serve())
        while not server.started:
            await asyncio.sleep(0.01)
        listens.set()
        await serving

    thread = threading.Thread(target=asyncio.run, args=(serve(),), daemon=True)
    thread.start()
    assert listens.wait(20)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield Served(debugger, f"http://127.0.0.1:{port}", loops[0])
    finally:
        server.should_exit = True
        thread.join(20)
