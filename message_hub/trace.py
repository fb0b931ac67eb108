"""Where a message is: the asynchronous half of a request."""

from __future__ import annotations

from flask import Response

from dataflow import warehouse
from dataflow.connections import resolve
from dataflow.errors import DataflowError
from dataflow.flow.spec import Flow
from dataflow.warehouse import Warehouse
from dataflow.web.answer import accepted
from dataflow.whereabouts import find
from message_hub.live_net import LiveNet
from message_hub.refusal import Refusal

MAX_MID_CHARS = 1000


class Trace:
    """Looks messages up.

    Args:
        live: the flow in which they are looked for.
    """

    def __init__(self, live: LiveNet) -> None:
        self._live = live

    def message(self, mid: str) -> Response:
        """GET /messages/<mid>: its state, where it is, what became of it."""
        mid = mid.rstrip("/")
        if len(mid) > MAX_MID_CHARS:
            raise Refusal(404, "no message has such a long id")
        net = self._live.current()
        found = find(net.flow, net.redis, _tables(net.flow), mid)
        if found.state == "unknown" and not found.incomplete:
            text = "is nowhere: a handler filtered it, it has left the flow, or this hub never gave that id"
            raise Refusal(404, f"message {mid!r} {text}", **found.as_dict())
        return accepted(found.as_dict())


def _tables(flow: Flow) -> dict[str, Warehouse]:
    """The warehouses of the flow that can be asked right now, by connection."""
    addresses = resolve(flow).warehouse
    tables: dict[str, Warehouse] = {}
    for name in {edge.connection for edge in flow.edges.values() if edge.connection is not None}:
        try:
            tables[name] = warehouse.connect(addresses[name])
        except DataflowError:  # `find` says that this one could not be asked
            continue
    return tables
