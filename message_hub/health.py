"""How the hub and its flow are: alive, ready, which version, how full the queues."""

from __future__ import annotations

from typing import Any

from flask import Response

from dataflow import __version__
from dataflow.errors import DataflowError
from dataflow.store.alarms import alarms
from dataflow.store.keys import FORMAT
from dataflow.store.reading import StreamView, read_streams
from dataflow.store.redis import call
from message_hub.envelope import accepted
from message_hub.live_net import LiveNet
from message_hub.net import Net
from message_hub.refusal import Refusal


def livez() -> Response:
    """The process answers."""
    return accepted({"alive": True})


def version(net: Net) -> Response:
    """Of the program, of the layout in Redis, of the applied flow."""
    return accepted({"version": __version__, "format": FORMAT, "flow": net.flow.name, "revision": net.revision})


def readyz(live: LiveNet) -> Response:
    """Ready: every Redis answers and every stream is declared there. Tells full streams and who holds them.

    A full stream does not make the hub unready: it answers 429, which is for the sender and not for a balancer.
    """
    net = live.current()
    try:
        views = read_streams(net.flow, net.redis)
        raised = [{"kind": a.kind, "subject": a.subject, "text": a.text} for a in alarms(net.first_redis, net.keys)]
    except DataflowError as error:
        raise Refusal(503, f"not ready: {error}") from None
    undeclared = [view.name for view in views if view.books.max_len is None]
    if undeclared:
        raise Refusal(503, f"not ready: streams are not declared in Redis: {undeclared}; run `dataflow apply`")
    full = [_fullness(view) for view in views if view.books.length >= (view.books.max_len or 0)]
    return accepted({"full": full, "alarms": raised, "trouble": live.trouble})


def queue_size_metrics(net: Net) -> Response:
    """Messages before the workers (`in` streams) and behind them (`out` streams), in total and per stream."""
    sizes: dict[str, dict[str, int]] = {"in": {}, "out": {}}
    for name, stream in net.flow.streams.items():
        sizes[stream.direction][name] = int(call(net.client_of(name), "XLEN", net.keys.stream(name).stream))
    data = {"pre_queue": sum(sizes["in"].values()), "post_queue": sum(sizes["out"].values())}
    return accepted({**data, "pre_queue_streams": sizes["in"], "post_queue_streams": sizes["out"]})


def _fullness(view: StreamView) -> dict[str, Any]:
    depth, most = view.books.length, view.books.max_len
    return {"stream": view.name, "depth": depth, "max_len": most, "held_by": list(view.holders)}
