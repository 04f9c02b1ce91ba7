"""Looking more than once: against published tables and simulated walks."""

import math

import numpy as np
import pytest
from scipy import stats

from timelift.comparison.looks import SPENT, describe_look, false_verdict_rate, plan_look


@pytest.mark.parametrize(("looks", "rate"), [(1, 0.05), (2, 0.083), (3, 0.107), (5, 0.142), (10, 0.193)])
def test_plain_looks_err_as_often_as_armitage_mcpherson_and_rowe_tabulate(looks, rate):
    fractions = [(k + 1) / looks for k in range(looks)]
    assert false_verdict_rate([0.05] * looks, fractions) == pytest.approx(rate, abs=0.001)


def test_looking_at_5_10_up_to_30_seeds_gives_the_contracts_16_percent():
    rate = plan_look([5, 10, 15, 20, 25, 30], 5, 5).spent
    assert rate == pytest.approx(0.16, abs=0.01)


@pytest.mark.parametrize("spending", sorted(SPENT))
def test_planned_looks_spend_the_level_and_no_more(spending):
    rng = np.random.default_rng(0)
    seeds = [5, 10, 20, 30]
    looks = [plan_look(seeds[: k + 1], 5, 30, spending=spending) for k in range(4)]
    for look in looks:
        assert look.spent == pytest.approx(SPENT[spending](0.05, look.seeds / 30), abs=1e-4)
        assert look.nominal < 0.05
    walk = rng.standard_normal((40000, 30)).cumsum(axis=1)
    crossed = np.zeros(len(walk), dtype=bool)
    for look in looks:
        z = walk[:, look.seeds - 1] / math.sqrt(look.seeds)
        crossed |= np.abs(z) > stats.norm.isf(look.nominal / 2)
    assert crossed.mean() == pytest.approx(0.05, abs=0.004)


@pytest.mark.parametrize("spending", sorted(SPENT))
def test_spending_ends_at_the_level(spending):
    assert SPENT[spending](0.05, 1.0) == pytest.approx(0.05)
    assert SPENT[spending](0.05, 0.5) < 0.05


def test_the_one_planned_look_is_plain_and_needs_no_words():
    look = plan_look([5, 5], 5, 5)
    assert (look.nominal, look.number) == (0.05, 1)
    assert look.spent == pytest.approx(0.05, abs=1e-4)
    assert describe_look(look) == ""


def test_more_seeds_than_stated_are_called_what_they_are():
    look = plan_look([5, 10], 5, 5)
    assert not look.planned
    assert look.nominal == 0.05
    assert look.spent == pytest.approx(0.083, abs=0.001)
    assert "8.3 % of such studies" in describe_look(look)
    assert "Look 2, at 10 seeds" in describe_look(look)


def test_a_later_look_at_fewer_seeds_changes_nothing():
    assert plan_look([10, 5], 5, 30) == plan_look([5, 10], 5, 30)
