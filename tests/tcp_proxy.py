"""A TCP proxy that can fail as networks do: cut connections, delay what passes, or swallow it in silence."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

_BLOCK_BYTES = 1 << 16
_LOOK_S = 0.05


class Proxy:
    """Stands before HOST:PORT at `host`. What it does with bytes holds from the next block on."""

    def __init__(self, target: str) -> None:
        name, _, port = target.rpartition(":")
        self._target = name, int(port)
        self._listening = socket.create_server(("localhost", 0))
        self.host = f"localhost:{self._listening.getsockname()[1]}"
        self.delay_s = 0.0
        self.swallows = False
        """Nothing passes, and nobody is told; bytes wait until this ends, or their connection does."""
        self._refuses = False
        self._closed = False
        self._lock = threading.Lock()
        self._sockets: set[socket.socket] = set()
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Breaks every connection, and takes no new one until `heal`."""
        self._refuses = True
        with self._lock:
            sockets, self._sockets = self._sockets, set()
        for each in sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def heal(self) -> None:
        self._refuses = self.swallows = False
        self.delay_s = 0.0

    def close(self) -> None:
        self._closed = True
        self._listening.close()
        self.cut()

    def _accept(self) -> None:
        while not self._closed:
            try:
                client, _ = self._listening.accept()
                if self._refuses:
                    client.close()
                    continue
                server = socket.create_connection(self._target)
            except OSError:
                continue
            with self._lock:
                self._sockets |= {client, server}
            for pair in ((client, server), (server, client)):
                threading.Thread(target=self._pass, args=pair, daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while block := source.recv(_BLOCK_BYTES):
                time.sleep(self.delay_s)
                while self.swallows and not self._closed:
                    time.sleep(_LOOK_S)
                target.sendall(block)
        for each in (source, target):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def before(target: str) -> Iterator[Proxy]:
    proxy = Proxy(target)
    try:
        yield proxy
    finally:
        proxy.close()
