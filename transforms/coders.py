"""How elements that cross a shuffle, and state, are encoded: a version, and a msgpack array by msgspec, for a fraction
of pickle's size and time.

The encoding is part of the contract between versions of this program: a running job's elements and state outlive the
code (`docs/dataflow.md`, "Updating"). Fields are only ever added at the end of a struct, with a default: then an older
program reads what a newer one wrote, and the other way round. Any other change of a struct is a new `VERSION`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Generic, TypeVar

import msgspec
from apache_beam.coders import Coder, registry

from transforms.core.facts import AccountKnown, Known
from transforms.core.identity.messages import Edge, Label, Member, Message
from transforms.core.packed_event import PackedEvent

S = TypeVar("S", bound=msgspec.Struct)

VERSION: Final = 1
"""The first byte of every encoding."""

_HEADER: Final = bytes([VERSION])
_DECODED: Mapping[type, Any] = {Message: Member | Label | Edge}
"""What a base stands for: its tagged subtypes."""


class UnknownVersionError(Exception):
    """Bytes that another version of this program wrote, in an encoding that this one does not know."""


class StructCoder(Coder, Generic[S]):
    """Encodes one struct type. Not deterministic (a struct holds dicts): for values, never for keys. Decoding raises
    UnknownVersionError where a job was updated to a program that cannot go on from its state: nothing is lost by it."""

    def __init__(self, struct: type[S]) -> None:
        self.struct = struct
        self._decoder = msgspec.msgpack.Decoder(_DECODED.get(struct, struct))
        self._encoder = msgspec.msgpack.Encoder()

    def encode(self, value: S) -> bytes:
        return _HEADER + self._encoder.encode(value)

    def decode(self, encoded: bytes) -> S:
        if encoded[0] != VERSION:
            raise UnknownVersionError(
                f"a {self.struct.__name__} is in encoding {encoded[0]}, and this program reads encoding {VERSION}:"
                " go back to the program that wrote it, or replace the job by a new one, which reads the history"
            )
        return self._decoder.decode(memoryview(encoded)[1:])

    def is_deterministic(self) -> bool:
        return False

    def to_type_hint(self) -> type[S]:
        return self.struct

    @classmethod
    def from_type_hint(cls, typehint: Any, registry: object) -> Any:
        return cls(typehint)

    def __reduce__(self) -> tuple[Any, ...]:
        return StructCoder, (self.struct,)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, StructCoder) and self.struct is other.struct

    def __hash__(self) -> int:
        return hash((StructCoder, self.struct))


for struct in (Known, AccountKnown, Message, PackedEvent):
    registry.register_coder(struct, StructCoder)
