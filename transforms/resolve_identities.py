"""ResolveIdentities: what is known of ids to the rows of contacts, identities and memberships."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import apache_beam as beam
from apache_beam.pvalue import PCollection

from schemas.tables import Contact
from transforms import metrics
from transforms.core.contacts import MAX_PREVIOUS_IDS
from transforms.core.facts import Known, learn
from transforms.core.identity import chains, contact, depth, household, person
from transforms.core.identity.protocol import HOPS
from transforms.core.rows import Upsert
from transforms.keyed_step import JoinFn, KeyedStep
from transforms.windows import Arrival


class ResolveIdentities(beam.PTransform):
    """`(id, Known)` → on `contacts`, `identities` and `memberships` an `Upsert` for each row that changes.

    The stages of `transforms.core.identity`, fed forward; `window` and `page_bytes` as in `KeyedStep`.
    """

    def __init__(self, window: Arrival | None, page_bytes: int | None = None) -> None:
        super().__init__()
        self.window = window
        self.page_bytes = page_bytes

    def expand(self, known: PCollection[tuple[str, Known]]) -> dict[str, PCollection]:
        keyed = self._keyed()
        persons = known | "Person" >> keyed(
            person.step,
            person.PersonState,
            person.PersonOutbox,
            gather=JoinFn(Known, learn),
            size=person.size,
            sizes=metrics.EDGES,
        )
        renamed = self._deep(persons) | "Chains" >> keyed(
            chains.step,
            chains.ChainsState,
            chains.ChainsOutbox,
            size=chains.size,
            sizes=metrics.CHAIN_EDGES,
        )
        households, members = self._households(persons, renamed["labels"])
        rows = members | "Contact" >> keyed(
            contact.step,
            contact.ContactState,
            contact.ContactOutbox,
            size=contact.size,
            sizes=metrics.MEMBERS,
        )
        writers = (persons, households, rows)
        contacts = tuple(writer["contacts"] for writer in writers) | "Contacts" >> beam.Flatten()
        memberships = tuple(writer["memberships"] for writer in writers) | "Memberships" >> beam.Flatten()
        return {
            "contacts": contacts | "Limits" >> beam.ParDo(_LimitsFn()).with_output_types(Upsert),
            "identities": (households["identities"], rows["identities"]) | "Identities" >> beam.Flatten(),
            "memberships": memberships,
        }

    def _keyed(self) -> Callable[..., KeyedStep]:
        return partial(KeyedStep, window=self.window, page_bytes=self.page_bytes)

    def _deep(self, persons: dict[str, PCollection]) -> PCollection:
        """What each hop of depth tells chains."""
        tokens, found = persons["tokens"], []
        for hop in range(1, HOPS):
            messages = (tokens, persons["paths"]) | f"DepthMessages{hop}" >> beam.Flatten()
            depths = messages | f"Depth{hop}" >> self._keyed()(
                partial(depth.step, hop),
                depth.DepthState,
                depth.DepthOutbox,
                size=depth.size,
                sizes=metrics.TOKENS,
            )
            tokens = depths["tokens"]
            found.append(depths["deep"])
        return tuple(found) | "Deep" >> beam.Flatten()

    def _households(
        self, persons: dict[str, PCollection], labels: PCollection
    ) -> tuple[dict[str, PCollection], PCollection]:
        """The households of the first hop, and what all pass on to contacts."""
        hops: list[dict[str, PCollection]] = []
        for hop in range(1, HOPS + 1):
            came = hops[-1]["followers"] if hops else persons["members"]
            messages = (came, persons["pointers"], labels) | f"HouseholdMessages{hop}" >> beam.Flatten()
            households = messages | f"Household{hop}" >> self._keyed()(
                partial(household.step, hop),
                household.HouseholdState,
                household.HouseholdOutbox,
                size=household.size,
                sizes=metrics.RESIDENTS,
            )
            hops.append(households)
        return hops[0], tuple(households["members"] for households in hops) | "Members" >> beam.Flatten()


class _LimitsFn(metrics.CountingFn):
    """Counts the contacts that have reached a limit of their row."""

    def process(self, upsert: Upsert) -> tuple[Upsert]:
        if isinstance(upsert.row, Contact) and len(upsert.row.previous_ids) == MAX_PREVIOUS_IDS:
            self.tally[metrics.LONG_PREVIOUS_IDS.name] += 1
        return (upsert,)
