"""The protocol of edges, searched through: with all its rules nothing goes wrong, without any one of them it does."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.model.s2s import Found, Rules, Setting, search

ALL = Rules()
PLAIN = Rules(chained=False, confirmed=False)
"""Without the rules for a target that forgets, some of which catch what others are for."""
LOSSY_SOURCE = Setting(messages=2, leases=2, late=0, source_cuts=1)
BOTH = Setting(messages=2, leases=2, late=0, source_cuts=1, target_cuts=1)


@pytest.mark.parametrize(
    "setting",
    [
        pytest.param(Setting(messages=3, late=2), id="two runners and late packets"),
        pytest.param(Setting(messages=2, source_cuts=1, leases=2), id="the source forgets"),
        pytest.param(
            Setting(messages=3, source_cuts=1, leases=2, late=0, forgets=3), id="the source forgets with more"
        ),
        pytest.param(Setting(messages=2, target_cuts=1), id="the target forgets"),
        pytest.param(Setting(messages=2, leases=1, late=1, source_cuts=1, target_cuts=1), id="both forget, one runner"),
        pytest.param(Setting(target="readback"), id="a table without a marker"),
    ],
)
def test_nothing_is_doubled_and_nothing_is_lost_in_silence(setting: Setting) -> None:
    found = search(ALL, setting)
    assert found.fault is None, "\n".join(found.way)
    assert found.worlds > 2_000, "the search has looked at something"


@pytest.mark.parametrize(
    "setting",
    [
        pytest.param(Setting(messages=2, target_cuts=1), id="the target forgets"),
        pytest.param(BOTH, id="both forget"),
    ],
)
def test_what_a_target_forgets_is_still_at_the_source(setting: Setting) -> None:
    """Both may forget, the target its fence among that, and a runner from before may wake: nothing is lost at all."""
    found = search(ALL, replace(setting, noticed_is_not_enough=True))
    assert found.fault is None, "\n".join(found.way)
    assert found.worlds > 2_000, "the search has looked at something"


def broken(rules: Rules, setting: Setting) -> Found:
    found = search(rules, setting)
    assert found.fault is not None, "this rule would be superfluous"
    return found


class TestEveryRuleIsNeeded:
    """Plausible simplifications, and the shortest way in which each goes wrong."""

    def test_an_epoch_in_the_identity_doubles_at_the_first_take_over(self) -> None:
        found = broken(replace(PLAIN, epoch_free=False), Setting())
        assert found.fault == "doubled"
        assert [label for label in found.way if "takes lease" in label] == [
            "runner 0 takes lease 1",
            "runner 0 takes lease 2",
        ]

    def test_without_a_marker_a_lost_reply_doubles(self) -> None:
        assert broken(replace(PLAIN, numbered=False), Setting()).fault == "doubled"

    def test_without_the_fence_a_runner_that_wakes_late_doubles(self) -> None:
        """Where the target keeps no marker: one looks up what is there while the other's request is under way."""
        found = broken(Rules(fenced=False), Setting(target="readback"))
        assert found.fault == "doubled"
        assert any("looks up: ()" in label for label in found.way)

    def test_a_batch_that_is_read_again_instead_of_frozen_is_another_batch(self) -> None:
        assert broken(replace(PLAIN, frozen=False, digested=False), Setting()).fault in ("lost", "doubled")

    def test_a_number_without_a_digest_swallows_what_a_source_accepted_after_it_forgot(self) -> None:
        found = broken(replace(PLAIN, digested=False), LOSSY_SOURCE)
        assert found.fault == "lost"
        assert any("applied" in label for label in found.way)

    def test_sending_the_rest_without_asking_what_is_there_doubles(self) -> None:
        assert broken(replace(PLAIN, reconciled=False), LOSSY_SOURCE).fault == "doubled"

    def test_reconciling_only_the_batch_in_hand_doubles_with_the_next(self) -> None:
        found = broken(replace(PLAIN, far=False), LOSSY_SOURCE)
        assert found.fault == "doubled"
        assert any("freezes anew" in label for label in found.way)

    def test_without_both_a_runner_from_before_replaces_what_two_servers_have_forgotten(self) -> None:
        """Its number is the one that the target expects, and nobody notices."""
        found = broken(PLAIN, BOTH)
        assert found.fault == "lost"
        assert sum("forgets" in label for label in found.way) == 2

    def test_a_batch_that_does_not_name_the_one_before_it_is_taken_after_another(self) -> None:
        assert broken(Rules(chained=False), BOTH).fault == "doubled"

    def test_without_confirmation_a_target_that_forgets_loses_what_was_settled(self) -> None:
        forgetful = Setting(messages=2, leases=2, late=0, target_cuts=1, noticed_is_not_enough=True)
        found = broken(Rules(confirmed=False), forgetful)
        assert found.fault == "lost"
        assert "settles" in found.way[-2]
