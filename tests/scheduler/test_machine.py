"""The state machine as tables."""

from __future__ import annotations

import pytest

from scheduler.machine import MOVES, STATES, Decision, Move, State, allowed, decide, state_of


@pytest.mark.parametrize(
    ("state", "wish", "decision"),
    [
        ("init", "init", Decision("init")),
        ("init", "running", Decision("running", "publish")),
        ("running", "running", Decision("running")),
        ("running", "paused", Decision("paused", "pause")),
        ("running", "init", Decision("init", "delete")),
        ("paused", "paused", Decision("paused")),
        ("paused", "running", Decision("running", "resume")),
        ("paused", "init", Decision("init", "delete")),
    ],
)
def test_a_wish_is_met_by_its_move(state: State, wish: str, decision: Decision) -> None:
    assert decide(state, wish) == decision


def test_a_task_that_is_not_scheduled_cannot_be_paused() -> None:
    assert decide("init", "paused") == Decision(
        "init", None, "set_to_status is 'paused', but a task that is init cannot become that"
    )


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("wish", ["Running", "stop", 1, True, ["init"], {"a": 1}])
def test_an_unknown_wish_changes_nothing_and_says_why(state: State, wish: object) -> None:
    decision = decide(state, wish)
    assert (decision.state, decision.move) == (state, None)
    assert repr(wish) in decision.why and "init, running, paused" in decision.why


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("wish", [None, ""])
def test_without_a_wish_nothing_changes(state: State, wish: object) -> None:
    assert decide(state, wish) == Decision(state, None, "set_to_status is empty")


@pytest.mark.parametrize("wish", ["running", "paused", "init", "nonsense", None])
def test_a_task_that_is_not_enabled_counts_as_init(wish: object) -> None:
    assert decide("init", wish, enabled=False) == Decision("init")
    assert decide("running", wish, enabled=False) == decide("paused", wish, enabled=False) == Decision("init", "delete")


@pytest.mark.parametrize(
    ("move", "states"),
    [("publish", {"init"}), ("pause", {"running"}), ("resume", {"paused"}), ("delete", set(STATES))],
)
def test_moves_are_allowed_from_their_states_only(move: Move, states: set[State]) -> None:
    assert {state for state in STATES if not allowed(state, move)} == states
    assert all(move in allowed(state, move) and state in allowed(state, move) for state in set(STATES) - states)


def test_every_change_of_state_is_a_move() -> None:
    for state in STATES:
        for wish in STATES:
            decision = decide(state, wish)
            if decision.move is not None:
                sources, target = MOVES[decision.move]
                assert state in sources and decision.state == target == wish


@pytest.mark.parametrize(
    ("text", "state"), [("running", "running"), ("paused", "paused"), ("", "init"), (None, "init"), (7, "init")]
)
def test_what_a_document_tells(text: object, state: State) -> None:
    assert state_of(text) == state
