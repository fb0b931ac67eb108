"""What chaos does is decided by the seed alone."""

from __future__ import annotations

from itertools import pairwise

from dataflow.testing.chaos.acts import LONGEST_FREEZE_S, PAUSE_S, WEIGHTS, acts


def test_the_same_seed_strikes_in_the_same_way() -> None:
    assert list(acts(7, 100)) == list(acts(7, 100))
    assert list(acts(7, 100)) != list(acts(8, 100))


def test_acts_come_in_order_of_time_and_within_it() -> None:
    planned = list(acts(7, 600))
    assert all(one.at_s <= other.at_s for one, other in pairwise(planned))
    assert planned[0].at_s > 0 and planned[-1].at_s < 600
    assert 0.7 * 600 / PAUSE_S < len(planned) < 1.3 * 600 / PAUSE_S


def test_a_long_run_strikes_everyone_and_freezes_some() -> None:
    planned = list(acts(7, 600))
    assert {one.victim for one in planned if one.what == "kill"} == set(WEIGHTS)
    frozen = [one for one in planned if one.what == "freeze"]
    assert 0.1 * len(planned) < len(frozen) < 0.4 * len(planned)
    assert all(0 < one.for_s <= LONGEST_FREEZE_S for one in frozen)


def test_up_is_never_frozen_for_nobody_could_start_what_dies_meanwhile() -> None:
    assert not [one for one in acts(7, 5000) if one.victim == "up" and one.what == "freeze"]
