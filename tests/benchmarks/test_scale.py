"""The sizes of docs/scale.md, and the simulation behind them.

`python -m tests.benchmarks.test_scale --update` writes the tables into docs/scale.md anew.
"""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import scale
from benchmarks.scale import SIZES, advised, key_load, limits, simulated
from templates import cost
from templates.cost import Traffic

PAGE = Path(__file__).parents[2] / "docs" / "scale.md"
_BLOCK = re.compile(r"(<!-- (?P<name>\w+): [^\n]* -->\n)(.*?)(<!-- end -->)", re.DOTALL)
_FEW: int = 4_000


def updated() -> str:
    tables = scale.tables()
    return _BLOCK.sub(lambda block: f"{block[1]}\n{tables[block['name']]}\n\n{block[4]}", PAGE.read_text("utf-8"))


def test_the_page_shows_what_the_command_prints(capsys: pytest.CaptureFixture[str]) -> None:
    page = PAGE.read_text("utf-8")
    assert [block["name"] for block in _BLOCK.finditer(page)] == list(scale.tables())
    assert page == updated(), "run: python -m tests.benchmarks.test_scale --update"
    scale.main([])
    printed = capsys.readouterr().out
    assert [name for name, table in scale.tables().items() if table not in printed] == []


def test_each_step_of_the_job_is_counted() -> None:
    assert set(simulated().steps) == set(scale.MICROSECONDS)


def test_each_fact_goes_to_its_person() -> None:
    facts = [person for call in scale.generated(_FEW) for person in call.persons]
    persons = simulated(_FEW).steps["Person"]
    assert persons.messages.total() == len(facts)
    assert set(persons.states) == {id for id, _ in facts}


@pytest.mark.parametrize("step", sorted(scale.MICROSECONDS))
def test_a_step_has_keys_by_id_whose_share_falls_or_as_many_for_any_number_of_ids(step: str) -> None:
    few, many = (simulated(calls).steps[step] for calls in (_FEW, scale.CALLS))
    if step in scale._FIXED:
        assert few.messages.keys() == many.messages.keys()
    else:
        assert many.busiest < 0.8 * few.busiest


def test_a_load_is_the_rate_times_the_share_times_the_cost() -> None:
    world, traffic = simulated(_FEW), SIZES[0]
    chains = world.steps["Chains"]
    calls = traffic.messages_per_second * traffic.identity_share
    expected = calls * chains.messages.total() / world.calls * scale.MICROSECONDS["Chains"] / 1e6
    assert key_load("Chains", traffic, world) == pytest.approx(expected)
    tenfold = replace(traffic, messages_per_second=10 * traffic.messages_per_second)
    assert key_load("Person", tenfold, world) == pytest.approx(10 * key_load("Person", traffic, world))
    assert key_load("Person", replace(traffic, ids=10 * traffic.ids), world) < key_load("Person", traffic, world)


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_the_settings_lift_every_limit_that_has_one(size: Traffic) -> None:
    over = {limit.name for limit in limits(advised(size), simulated()) if limit.load > 1}
    assert over <= {"the index of Chains"}
    assert cost.total(cost.bill(advised(size))) <= cost.total(cost.bill(size))


def test_a_small_job_keeps_its_defaults() -> None:
    small = Traffic(messages_per_second=50, ids=100_000)
    assert advised(small) == small
    assert max(limit.load for limit in limits(small, simulated())) < 0.1


if __name__ == "__main__" and "--update" in sys.argv:
    PAGE.write_text(updated(), "utf-8")
