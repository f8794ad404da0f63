"""The stages in their order, and which of them each field of an outbox goes to: what `docs/identity.md` draws."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, Final, NamedTuple

import msgspec

from transforms.core.identity import chains, contact, depth, household, person
from transforms.core.identity.protocol import HOPS, Hop

TABLES: Final = ("contacts", "identities", "memberships")


class IdentityStage(NamedTuple):
    """A stage: its step, with the types of its state and outbox, and what measures a state. `sends` has the stages that
    messages of a field go to; `writes` are the tables that it has rows for, each a field of that name. `needs_crowd`
    tells when a step looks into the crowd of its state, None where a state has none."""

    name: str
    step: Callable[..., tuple[Any, Any]]
    state: type[msgspec.Struct]
    outbox: type[msgspec.Struct]
    size: Callable[[Any], int]
    sends: Mapping[str, tuple[str, ...]]
    writes: tuple[str, ...] = ()
    needs_crowd: Callable[[Any, Iterable[object]], bool] | None = None


def stages(hops: int = HOPS) -> tuple[IdentityStage, ...]:
    """All stages, each before those that it sends to, where a path is followed for so many hops."""
    households = tuple(f"Household{hop}" for hop in range(1, hops + 1))
    depths = tuple(f"Depth{hop}" for hop in range(1, hops))
    return (
        IdentityStage(
            "Person",
            person.step,
            person.PersonState,
            person.PersonOutbox,
            person.size,
            {"members": households[:1], "pointers": households, "tokens": depths[:1], "paths": depths},
            ("contacts", "memberships"),
        ),
        *(
            IdentityStage(
                name,
                partial(depth.step, Hop(hop, hop == len(depths))),
                depth.DepthState,
                depth.DepthOutbox,
                depth.size,
                {"tokens": depths[hop : hop + 1], "deep": ("Chains",)},
            )
            for hop, name in enumerate(depths, 1)
        ),
        IdentityStage(
            "Chains", chains.step, chains.ChainsState, chains.ChainsOutbox, chains.size, {"labels": households}
        ),
        *(
            IdentityStage(
                name,
                partial(household.step, Hop(hop, hop == len(households))),
                household.HouseholdState,
                household.HouseholdOutbox,
                household.size,
                {"members": ("Contact",), "followers": households[hop : hop + 1]},
                TABLES if hop == 1 else (),
                household.needs_crowd,
            )
            for hop, name in enumerate(households, 1)
        ),
        IdentityStage(
            "Contact",
            contact.step,
            contact.ContactState,
            contact.ContactOutbox,
            contact.size,
            {},
            TABLES,
            contact.needs_crowd,
        ),
    )
