"""Reads the connections file, local or in any file system that Beam reads."""

from __future__ import annotations

import os

import msgspec
from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems

from pipeline import remote_files
from pipeline.errors import UsageError, reason
from transforms.core.connections import Connections
from transforms.core.connections_yaml import MAX_BYTES, ConnectionsError, read_connections


def load_connections(path: str) -> Connections:
    """Reads a connections file, but for what only the receiver needs. Raises UsageError, with the key and the line."""
    try:
        connections = read_connections(_read(path))
    except ConnectionsError as error:
        raise UsageError(str(error), error.remedy, option="--connections", value=path, where=error.where) from None
    named = tuple(msgspec.structs.replace(connection, receive=None) for connection in connections.connections)
    return msgspec.structs.replace(connections, connections=named)


def _read(path: str) -> bytes:
    try:
        if FileSystems.get_scheme(path) is None:
            path = os.path.expanduser(path)
        else:
            remote_files.check_answer(path)
            if not FileSystems.match([path])[0].metadata_list:
                raise FileNotFoundError
        with FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED) as file:
            content: bytes = file.read(MAX_BYTES + 1)
    except remote_files.NoAnswer as error:
        raise ConnectionsError(str(error), error.remedy) from None
    except FileNotFoundError:
        raise ConnectionsError("no such file", "give a YAML file, local or gs://") from None
    except IsADirectoryError:
        raise ConnectionsError("is a folder", "give the YAML file in it") from None
    except OSError as error:
        raise ConnectionsError(f"cannot be read: {reason(error)}", "give a file that you may read") from None
    except ValueError:
        raise ConnectionsError("is in no file system known here", "give a local path or gs://BUCKET/FILE") from None
    return content
