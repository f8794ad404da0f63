"""The stages in their order, and which of them each field of an outbox goes to: what `docs/identity.md` draws."""

from __future__ import annotations

from functools import partial
from typing import Final

from transforms.core.identity import chains, contact, depth, household, person
from transforms.core.identity.protocol import HOPS, Hop
from transforms.core.keyed_stage import KeyedStage

TABLES: Final = ("contacts", "identities", "memberships")


def stages(hops: int = HOPS) -> tuple[KeyedStage, ...]:
    """All stages, each before those that it sends to, where a path is followed for so many hops."""
    households = tuple(f"Household{hop}" for hop in range(1, hops + 1))
    depths = tuple(f"Depth{hop}" for hop in range(1, hops))
    return (
        KeyedStage(
            "Person",
            person.step,
            person.PersonState,
            person.PersonOutbox,
            person.size,
            {"members": households[:1], "pointers": households, "tokens": depths[:1], "paths": depths},
            ("contacts", "memberships"),
        ),
        *(
            KeyedStage(
                name,
                partial(depth.step, Hop(hop, hop == len(depths))),
                depth.DepthState,
                depth.DepthOutbox,
                depth.size,
                {"tokens": depths[hop : hop + 1], "deep": ("Chains",)},
                (),
            )
            for hop, name in enumerate(depths, 1)
        ),
        KeyedStage(
            "Chains", chains.step, chains.ChainsState, chains.ChainsOutbox, chains.size, {"labels": households}, ()
        ),
        *(
            KeyedStage(
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
        KeyedStage(
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
