"""Where a message is: the asynchronous half of a request."""

from __future__ import annotations

from flask import Response

from dataflow import warehouse, whereabouts
from dataflow.connections import resolve
from dataflow.errors import DataflowError
from dataflow.warehouse import Warehouse
from message_hub.envelope import accepted
from message_hub.net import Net
from message_hub.refusal import Refusal

MOST_CHARS = 1000


def get_message(net: Net, mid: str) -> Response:
    """Answer with the state of a message, its places and its output; 404 when it is nowhere."""
    if len(mid) > MOST_CHARS:
        raise Refusal(404, "no message has such a long id")
    found = whereabouts.find(net.flow, net.redis, _tables(net), mid)
    if found.state == "unknown":
        looked = "nowhere in the flow" if found.complete else "not among what was looked at; it may be further behind"
        text = (
            f"message {mid!r} is {looked}: a handler filtered it, it has left the flow, or the hub never gave this id"
        )
        raise Refusal(404, text, data={"state": found.state, "complete": found.complete})
    return accepted(found.as_dict())


def _tables(net: Net) -> dict[str, Warehouse]:
    """The warehouses that can be asked right now."""
    tables: dict[str, Warehouse] = {}
    addresses = resolve(net.flow).warehouse
    for name in {edge.connection for edge in net.flow.edges.values() if edge.connection is not None}:
        try:
            tables[name] = warehouse.connect(addresses[name])
        except DataflowError:
            continue
    return tables
