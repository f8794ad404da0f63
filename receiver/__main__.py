"""The command `segment-receiver`, and `python -m receiver`."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import sys
from collections.abc import Iterator, Sequence

from receiver import command_line
from receiver.application import Application
from receiver.command_line import PROGRAM, Options
from receiver.debugger.application import Debugger
from receiver.server import Server
from receiver.sink import Sink, Unavailable
from receiver.sources import Sources, load_connections, load_sources
from transforms.core import google_clients
from transforms.core.usage_errors import UsageError, printable, without_secrets

_USAGE_STATUS = 2
_UNAVAILABLE_STATUS = 1
_INTERRUPTED_STATUS = 130


class _SecretlessFormatter(logging.Formatter):
    """Formats log records without secrets."""

    def format(self, record: logging.LogRecord) -> str:
        return without_secrets(super().format(record))


def main(argv: Sequence[str] | None = None) -> int:
    """Receives until it is told to stop. Returns 0 then, 1 where the sink cannot be used, and 2 for a usage error, each
    told in one line."""
    try:
        _log_to_standard_error()
        options = command_line.parse(sys.argv[1:] if argv is None else argv)
        sources = load_sources(options.connections)
        debugger = Debugger(load_connections(options.connections))
        application = Application(
            sources,
            sink(options, sources),
            observers=[debugger],
            trusted_proxies=options.trusted_proxies,
            debugger=debugger,
        )
        with _listening(options) as listener:
            line = started_line(options, sources, listener)
            Server(application, started=lambda: _print(line)).run(sockets=[listener])
    except UsageError as error:
        print(f"{PROGRAM}: {error}", file=sys.stderr)
        return _USAGE_STATUS
    except Unavailable as error:
        print(f"{PROGRAM}: {printable(without_secrets(str(error)))}", file=sys.stderr)
        return _UNAVAILABLE_STATUS
    except KeyboardInterrupt:  # before it listens
        return _INTERRUPTED_STATUS
    return 0


def sink(options: Options, sources: Sources) -> Sink:
    """Where the calls are stored. Pub/Sub's client is loaded only where it is used. Raises UsageError."""
    if options.directory is not None:
        from receiver.sinks.directory import DirectorySink, folder_name

        for connection in sources.connections:
            try:
                folder_name(connection.name)
            except ValueError as error:
                path = options.connections
                raise UsageError(str(error), "rename it", option="--connections", value=path) from None
        return DirectorySink(options.directory)
    assert options.topic is not None
    try:
        from receiver.sinks.pubsub import PubSubSink
    except ImportError as error:
        raise google_clients.missing(error, option="--topic", value=options.topic) from None
    published: Sink = PubSubSink(options.topic)
    if options.spool is None:
        return published
    from receiver.spool import SpooledSink

    return SpooledSink(published, options.spool)


def started_line(options: Options, sources: Sources, listener: socket.socket) -> str:
    """What is told when it listens: where, what becomes of the calls, and the addresses of the connections."""
    host, port = listener.getsockname()[:2]
    address = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    place = options.topic or f"{options.directory}"
    if options.spool is not None:
        place += f", and in {options.spool} what it does not take"
    connections = []
    for connection in sources.connections:
        webhook = f"{address}/webhook/{connection.path}" if connection.has_webhook else "no webhook"
        keys = len(connection.write_keys)
        sdks = f"{keys} write key{'s' * (keys != 1)}" if keys else "no SDKs"
        connections.append(f"{connection.name!r}: {webhook}, {sdks}")
    return f"{PROGRAM}: listening at {address}, storing in {place}; {'; '.join(connections)}"


@contextlib.contextmanager
def _listening(options: Options) -> Iterator[socket.socket]:
    """A socket that listens. Raises UsageError."""
    option = "--port"
    try:
        family, _, _, _, address = socket.getaddrinfo(
            options.host, options.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.create_server(address[:2], family=family)
    except socket.gaierror as error:
        problem = f"is not an address of this machine: {error.strerror}"
        raise UsageError(problem, "give 127.0.0.1, or 0.0.0.0 for all", option="--host", value=options.host) from None
    except OSError as error:
        problem = f"cannot be used, on {options.host}: {os.strerror(error.errno or 0)}"
        raise UsageError(problem, "give another --port or --host", option=option, value=str(options.port)) from None
    with listener:
        yield listener


def _print(line: str) -> None:
    """Prints a line where somebody reads it: calls are received in any case."""
    with contextlib.suppress(OSError):
        print(line, flush=True)


def _log_to_standard_error() -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(_SecretlessFormatter("%(levelname)s %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])


if __name__ == "__main__":
    sys.exit(main())
