"""ResolveInProcess: whatever the windows, the tables of a replay; from parcels, with its state in the process."""

from __future__ import annotations

import pickle
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from random import Random
from typing import Any

import pytest
from apache_beam.coders import registry

from judge import Config, replay
from tests.histories import CONFIGS, Alphabet, Message, deal, history, line
from tests.product_rows import connections, facts, plain
from tests.transforms.core.identity.network import Network
from tests.transforms.core.identity.test_network import identity_tables, judged
from transforms import chains_journal, metrics, parcels
from transforms.chains_journal import OneIndex
from transforms.core import contacts
from transforms.core.facts import AccountKnown, Known, Learned
from transforms.core.identity import crowd
from transforms.core.identity.stages import stages
from transforms.core.rows import Upsert
from transforms.parcels import ONE_KEY, Packing, Parcel, in_parcels
from transforms.resolve_in_process import ACCOUNTS, PERSONS, ResolveInProcess
from transforms.windows import Arrival

HISTORIES = 300
WINDOW = Arrival(60)


class Steps:
    """All steps, and the tables that they have written."""

    def __init__(self, window: Arrival | None = WINDOW) -> None:
        self.fn: Any = ResolveInProcess(window).fn
        self.fn.setup()
        self.tables = Network(Random(0))

    def window(self, facts: Iterable[Learned]) -> list[tuple[str, Upsert]]:
        """What a window with these facts writes."""
        upserts = [(output.tag, output.value) for output in self.fn.process((ONE_KEY, sent(facts)))]
        for table, upsert in upserts:
            self.tables.write(table, [upsert])
        return upserts

    def rows(self) -> dict[str, Any]:
        """The keyed tables, as the judge has them."""
        accounts = {key[0]: plain(row) for key, row in self.tables.table("accounts").items()}
        return identity_tables(self.tables) | {"accounts": accounts}


def sent(facts: Iterable[Learned]) -> list[Parcel]:
    """The parcels of some facts, as a runner hands them on."""
    coder = registry.get_coder(Parcel)
    facts = list(facts)
    persons = [known for learned in facts for known in learned.persons]
    accounts = [learned.account for learned in facts if learned.account is not None]
    sent = [
        *in_parcels(PERSONS, persons, Packing(Known)),
        *in_parcels(ACCOUNTS, accounts, Packing(AccountKnown)),
    ]
    return [coder.decode(coder.encode(parcel)) for parcel in sent]


def learned(messages: Iterable[Message], config: Config) -> list[Learned]:
    return [learned for message in messages for learned in facts(message, connections(config))]


def of_person(id: str, known: Known) -> Learned:
    return Learned(((id, known),))


def judged_with_accounts(messages: Iterable[Message], config: Config) -> dict[str, Any]:
    tables = replay(map(line, messages), config)
    return judged(tables) | {"accounts": tables.accounts}


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parcels of few messages, of which few wait as they are."""
    monkeypatch.setattr(parcels, "MOST_MESSAGES", 3)
    monkeypatch.setattr(parcels, "MOST_UNPACKED", 2)


@pytest.mark.usefixtures("few")
def test_random_histories_in_windows_equal_the_replay(monkeypatch: pytest.MonkeyPatch) -> None:
    """With crowds, and with chains; and after each window the tables are those of what has come until then."""
    monkeypatch.setattr(contacts, "MAX_PREVIOUS_IDS", 1)
    monkeypatch.setattr(crowd, "KEPT", 2)
    monkeypatch.setattr(crowd, "ROOM", 1)
    alphabet = Alphabet(ids=tuple(f"p{number}" for number in range(7)))
    in_chains = in_crowds = 0
    for seed in range(HISTORIES):
        rng = Random(seed)
        config = rng.choice(list(CONFIGS.values()))
        steps, came = Steps(), []
        for window in deal(rng, history(rng, rng.randint(1, 25), alphabet), rng.randint(1, 4)):
            came += window
            steps.window(learned(window, config))
            expected = judged_with_accounts(came, config)
            for contact in expected["contacts"].values():
                del contact["previous_ids"][1:]
            assert steps.rows() == expected, f"seed {seed}"
        in_chains += "head" in steps.fn.kept._bags
        in_crowds += any(steps.fn.kept._bags.get(f"{stage.name}Crowd") for stage in stages())
    assert in_chains > 30
    assert in_crowds > 5


@pytest.mark.usefixtures("few")
def test_random_histories_in_a_bounded_job_equal_the_replay() -> None:
    for seed in range(HISTORIES):
        rng = Random(seed)
        config = rng.choice(list(CONFIGS.values()))
        messages = history(rng, rng.randint(1, 25))
        steps = Steps(window=None)
        written = steps.window(facts for part in deal(rng, messages, 2) for facts in learned(part, config))
        assert steps.rows() == judged_with_accounts(messages, config), f"seed {seed}"
        assert len({(table, upsert.key, upsert.version) for table, upsert in written}) == len(written)


def test_what_comes_twice_writes_nothing() -> None:
    facts = learned(history(Random(3), 50), CONFIGS["mixed"])
    steps = Steps()
    assert steps.window(facts)
    assert not steps.window(facts)
    assert Steps().window(facts), "another job has a state of its own"


def test_the_journal_of_chains_is_read_again_by_a_process_that_has_no_index(monkeypatch: pytest.MonkeyPatch) -> None:
    def cycle(number: int) -> list[Learned]:
        a, b = f"a{number}", f"b{number}"
        return [
            of_person(a, Known(seen=((1, "m"), (1, "m")), out={b: (2 * number, "m")}, named=True)),
            of_person(b, Known(out={a: (2 * number + 1, "m")}, named=True)),
        ]

    steps = Steps()
    for number in range(20):
        steps.window(cycle(number))
        monkeypatch.setattr(chains_journal, "_INDEX", OneIndex())
    assert steps.tables.table("identities").keys() == {(f"b{number}",) for number in range(20)}
    (head,) = steps.fn.kept.bag(chains_journal._HEAD, "").read()
    assert head.edges == 40


def test_bundles_at_the_same_time_lose_nothing_of_each_other() -> None:
    """A runner that knows of no state runs them so."""
    person, *others = Steps().fn.stages

    def slow_step(key: str, state: Any, inbox: Iterable[Any]) -> Any:
        result = person.step(key, state, inbox)
        time.sleep(0.001)  # another bundle's turn
        return result

    steps = Steps()
    pickled = pickle.dumps(steps.fn.kept)

    def bundle(number: int) -> None:
        one = Steps()
        one.fn.stages = (person._replace(step=slow_step), *others)
        one.fn.kept = pickle.loads(pickled)
        one.window([of_person("ann", Known(out={f"home{number}": (number, "m")}))])

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(bundle, range(40)))
    (state,) = steps.fn.kept.bag(steps.fn.cells["Person"], "ann").read()
    assert state.known.out.keys() == {f"home{number}" for number in range(40)}


def test_keys_and_the_sizes_of_their_states_are_observed() -> None:
    class Watching:
        def __init__(self) -> None:
            self.values: list[tuple[str, int]] = []

        def counted(self, counts: Any) -> None: ...

        def observed(self, distribution: str, value: int) -> None:
            self.values.append((distribution, value))

    watching, steps = Watching(), Steps()
    with metrics.observed_by(watching):
        steps.window(of_person(id, Known(out={"home": (1, "m")})) for id in "abc")
    assert watching.values == [
        *[(metrics.EDGES.name, 1)] * 3,
        (metrics.WINDOW_KEYS.name, 3),
        (metrics.RESIDENTS.name, 3),
        (metrics.WINDOW_KEYS.name, 1),
    ]
