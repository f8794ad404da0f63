"""How elements that cross a shuffle are encoded: msgpack arrays by msgspec, for a fraction of pickle's size and time.

The encoding is part of the contract between versions of this program: a running job's elements and state outlive the
code. Fields are only ever added at the end of a struct, with a default.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Generic, TypeVar

import msgspec
from apache_beam.coders import Coder, registry

from transforms.core.facts import AccountKnown, Known
from transforms.core.identity.messages import Edge, Label, Member, Message
from transforms.core.packed_event import PackedEvent

S = TypeVar("S", bound=msgspec.Struct)


_DECODED: Mapping[type, Any] = {Message: Member | Label | Edge}
"""What a base stands for: its tagged subtypes."""


class StructCoder(Coder, Generic[S]):
    """Encodes one struct type. Not deterministic (a struct holds dicts): for values, never for keys."""

    def __init__(self, struct: type[S]) -> None:
        self.struct = struct
        self._decoder = msgspec.msgpack.Decoder(_DECODED.get(struct, struct))
        self._encoder = msgspec.msgpack.Encoder()

    def encode(self, value: S) -> bytes:
        return self._encoder.encode(value)

    def decode(self, encoded: bytes) -> S:
        return self._decoder.decode(encoded)

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
