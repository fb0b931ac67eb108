"""Whether the hub lives, whether it can take messages, what it runs, and how much is queued."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

from flask import Response

from dataflow import __version__
from dataflow.access.flask import may
from dataflow.errors import OutcomeUnknown, ServerAway
from dataflow.flow.spec import Flow
from dataflow.store.keys import FORMAT
from dataflow.store.memory import DOOR_MARK, Memory, read_memory
from dataflow.store.reading import StreamView, read_alarms, read_streams
from dataflow.web.answer import accepted, bare
from message_hub.live_net import LiveNet
from message_hub.refusal import Refusal

_NAMES_SHOWN = 5


class Health:
    """The endpoints for probes and operators.

    Args:
        live: the flow that is looked at.
    """

    def __init__(self, live: LiveNet) -> None:
        self._live = live
        self._started = time.monotonic()

    def livez(self) -> Response:
        """The process answers. Asks no server."""
        return accepted({"uptime_s": round(time.monotonic() - self._started, 3)})

    def version(self) -> Response:
        """Which program, which layout of the data in Redis, which flow."""
        flow, revision = self._live.current().flow, self._live.revision
        data = {"version": __version__, "format": FORMAT, "flow": flow.name, "digest": flow.digest}
        return accepted({**data, "revision": revision})

    def readyz(self) -> Response:
        """Whether messages can be taken: every Redis answers and every stream is declared there.

        A full stream does not make the hub unready, nor does a server short of memory: their senders are told to wait.
        They are named here, a stream with the readers who hold it. Where keys are asked for, a caller without one
        learns nothing but yes or no.
        """
        net = self._live.current()
        try:
            views = read_streams(net.flow, net.redis)
            alarms = read_alarms(net.flow, net.redis.values())
            memory = {name: read_memory(client) for name, client in net.redis.items()}
        except (ServerAway, OutcomeUnknown) as error:
            reason = str(error) if may("viewer") else "Redis does not answer"
            raise Refusal(503, f"not ready: {reason}", redis=False) from None
        undeclared = [view.name for view in views if view.books.max_len is None]
        if not may("viewer"):
            if undeclared:
                raise Refusal(503, "not ready: the flow is not applied", redis=True)
            return accepted({"redis": True})
        data: dict[str, Any] = {
            "redis": True,
            "undeclared": undeclared,
            "full": list(_full(net.flow, views)),
            "memory": {name: _room(one) for name, one in memory.items()},
            "trouble": self._live.trouble,
            "alarms": [{"kind": alarm.kind, "subject": alarm.subject, "text": alarm.text} for alarm in alarms],
        }
        if undeclared:
            names = ", ".join(undeclared[:_NAMES_SHOWN])
            raise Refusal(503, f"not ready: not declared in Redis: {names}; run `dataflow apply`", **data)
        return accepted(data)

    def queue_size_metrics(self) -> Response:
        """Messages before the workers (`pre_queue`: in streams) and behind them (`post_queue`: out streams)."""
        net = self._live.current()
        totals = {"pre_queue": 0, "post_queue": 0}
        streams: dict[str, Any] = {}
        for view in read_streams(net.flow, net.redis):
            queue = "pre_queue" if net.flow.streams[view.name].direction == "in" else "post_queue"
            totals[queue] += view.books.depth
            streams[view.name] = {"queue": queue, "depth": view.books.depth, "max_len": view.books.max_len}
        return bare({**totals, "streams": streams})


def _room(memory: Memory) -> dict[str, Any]:
    """How full a server is, and whether the door is closed because of it."""
    return {
        "used_bytes": memory.used,
        "max_bytes": memory.limit or None,
        "share": round(memory.share, 3),
        "door": "closed" if memory.share >= DOOR_MARK else "open",
    }


def _full(flow: Flow, views: Sequence[StreamView]) -> Iterator[dict[str, Any]]:
    """Streams that the door finds full, with the readers who hold them. On a cycle it counts all its streams."""
    depths = {view.name: view.books.depth for view in views}
    for view in views:
        cycle = flow.cycle(view.name)
        depth = sum(depths[name] for name in cycle.streams) if cycle else depths[view.name]
        if view.books.max_len is not None and depth >= view.books.max_len:
            held_by = [*view.holders, *view.missing]
            yield {"stream": view.name, "depth": depth, "max_len": view.books.max_len, "held_by": held_by}
