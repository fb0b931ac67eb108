"""The protocol of edges, searched through: with all its rules nothing goes wrong, without any one of them it does."""

from __future__ import annotations

import pytest

from tests.model.s2s import Found, Rules, Setting, search

ALL = Rules()
LOSSY_SOURCE = Setting(messages=2, leases=2, late=0, source_cuts=1)


@pytest.mark.parametrize(
    "setting",
    [
        pytest.param(Setting(messages=3, late=2), id="two runners and late packets"),
        pytest.param(Setting(messages=2, source_cuts=1), id="the source forgets"),
        pytest.param(Setting(messages=3, source_cuts=1, leases=2, late=0, forgets=6), id="the source forgets much"),
        pytest.param(Setting(messages=2, target_cuts=1), id="the target forgets"),
        pytest.param(Setting(messages=2, leases=1, late=1, source_cuts=1, target_cuts=1), id="both forget, one runner"),
        pytest.param(Setting(target="readback"), id="a table without a marker"),
    ],
)
def test_nothing_is_doubled_and_nothing_is_lost_in_silence(setting: Setting) -> None:
    found = search(ALL, setting)
    assert found.fault is None, "\n".join(found.way)
    assert found.worlds > 2_000, "the search has looked at something"


def test_what_remains() -> None:
    """Known, and accepted: both servers lose their last writes, the target its fence among them, and a runner from
    before all that wakes and sends what the source has forgotten. Its number is the one that the source expects."""
    found = search(ALL, Setting(messages=2, leases=2, late=0, source_cuts=1, target_cuts=1))
    assert found.fault == "lost"
    assert sum("forgets" in label for label in found.way) == 2


def broken(rules: Rules, setting: Setting) -> Found:
    found = search(rules, setting)
    assert found.fault is not None, "this rule would be superfluous"
    return found


class TestEveryRuleIsNeeded:
    """Plausible simplifications, and the shortest way in which each goes wrong."""

    def test_an_epoch_in_the_identity_doubles_at_the_first_take_over(self) -> None:
        found = broken(Rules(epoch_free=False), Setting())
        assert found.fault == "doubled"
        assert [label for label in found.way if "takes lease" in label] == [
            "runner 0 takes lease 1",
            "runner 0 takes lease 2",
        ]

    def test_without_a_marker_a_lost_reply_doubles(self) -> None:
        assert broken(Rules(numbered=False), Setting()).fault == "doubled"

    def test_without_the_fence_a_runner_that_wakes_late_doubles(self) -> None:
        """Where the target keeps no marker: one looks up what is there while the other's request is under way."""
        found = broken(Rules(fenced=False), Setting(target="readback"))
        assert found.fault == "doubled"
        assert any("looks up: ()" in label for label in found.way)

    def test_a_batch_that_is_read_again_instead_of_frozen_is_another_batch(self) -> None:
        assert broken(Rules(frozen=False, digested=False), Setting()).fault in ("lost", "doubled")

    def test_a_number_without_a_digest_swallows_what_a_source_accepted_after_it_forgot(self) -> None:
        found = broken(Rules(digested=False), LOSSY_SOURCE)
        assert found.fault == "lost"
        assert any("applied" in label for label in found.way)

    def test_sending_the_rest_without_asking_what_is_there_doubles(self) -> None:
        assert broken(Rules(reconciled=False), LOSSY_SOURCE).fault == "doubled"

    def test_reconciling_only_the_batch_in_hand_doubles_with_the_next(self) -> None:
        found = broken(Rules(far=False), LOSSY_SOURCE)
        assert found.fault == "doubled"
        assert any("freezes anew" in label for label in found.way)
