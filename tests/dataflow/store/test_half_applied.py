"""In which order readers are handed over on several servers, and what is said when one refuses."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from dataflow.errors import HalfApplied, StillOnItsWay
from dataflow.store.declare import _carry_out

BUSY = StillOnItsWay("move", "s2s far", "is to lead to s2s there", 7)


@dataclass
class Server:
    """A server's part of an apply."""

    order: list[str]
    name: str
    can_be_refused: bool = False
    refuses: Exception | None = field(default=None)

    def carry_out(self) -> None:
        self.order.append(self.name)
        if self.refuses:
            raise self.refuses


def carry_out(*servers: Server) -> None:
    handovers: Any = {server.name: server for server in servers}
    _carry_out(handovers)


def test_where_it_may_be_too_early_is_first() -> None:
    order: list[str] = []
    carry_out(Server(order, "near"), Server(order, "far", can_be_refused=True))
    assert order == ["far", "near"]


def test_refused_first_nothing_was_changed() -> None:
    order: list[str] = []
    with pytest.raises(StillOnItsWay, match="nothing was changed"):
        carry_out(Server(order, "near"), Server(order, "far", can_be_refused=True, refuses=BUSY))
    assert order == ["far"]


def test_refused_later_it_is_said_where_it_was_done() -> None:
    order: list[str] = []
    with pytest.raises(HalfApplied) as caught:
        carry_out(Server(order, "near", can_be_refused=True), Server(order, "far", can_be_refused=True, refuses=BUSY))
    assert (caught.value.done, caught.value.refused) == (["near"], "far")
    assert "handed over on near, but not on far: 7 messages of 'move' were on their way again" in str(caught.value)
    assert "applied again" in str(caught.value) and "nothing was changed" not in str(caught.value)
