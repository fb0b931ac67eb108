"""Whether the hub lives, whether it can take messages, what it runs, and how much is queued."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from flask import Response

from dataflow import __version__
from dataflow.access.flask import may
from dataflow.errors import OutcomeUnknown, ServerAway
from dataflow.flow.spec import Flow
from dataflow.holding import Scene, holds
from dataflow.store.alarms import Alarm
from dataflow.store.keys import FORMAT
from dataflow.store.memory import DOOR_MARK, Memory, read_memory
from dataflow.store.reading import StreamView, read_alarms, read_lanes, read_processes, read_streams
from dataflow.store.trend import Trend, full_in_s, read_trends
from dataflow.web.answer import accepted, bare
from message_hub.live_net import LiveNet
from message_hub.net import Net
from message_hub.refusal import Refusal

SOON_S = 3600.0
"""A stream that is full within this time is told."""
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
        They are named here, a stream with the readers who hold it and why; so is a stream that will soon be full. Where
        keys are asked for, a caller without one learns nothing but yes or no.
        """
        net = self._live.current()
        try:
            views = read_streams(net.flow, net.redis)
            alarms = read_alarms(net.flow, net.redis.values())
            memory = {name: read_memory(client) for name, client in net.redis.items()}
            filling = self._filling(net, views, alarms)
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
            "full": [one for one in filling if one["full_in_s"] == 0],
            "filling": [one for one in filling if one["full_in_s"] > 0],
            "memory": {name: _room(one) for name, one in memory.items()},
            "trouble": self._live.trouble,
            "alarms": [{"kind": alarm.kind, "subject": alarm.subject, "text": alarm.text} for alarm in alarms],
        }
        if undeclared:
            names = ", ".join(undeclared[:_NAMES_SHOWN])
            raise Refusal(503, f"not ready: not declared in Redis: {names}; run `dataflow apply`", **data)
        return accepted(data)

    def _filling(self, net: Net, views: list[StreamView], alarms: list[Alarm]) -> list[dict[str, Any]]:
        """The streams that are full, or will be within the hour at the rate of the last minute, and who holds them."""
        trends = read_trends(net.flow, net.redis)
        depths = {view.name: view.books.depth for view in views}
        found = [(view, _at_the_door(net.flow, view, depths, trends[net.flow.streams[view.name].on])) for view in views]
        soon = [(view, depth, seconds) for view, (depth, seconds) in found if seconds is not None and seconds <= SOON_S]
        if not soon:
            return []
        clients = net.redis.values()
        scene = Scene(net.flow, read_lanes(net.flow, net.redis), read_processes(net.flow, clients), alarms)
        return [_fullness(scene, view, depth, seconds) for view, depth, seconds in soon]

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


def _at_the_door(flow: Flow, view: StreamView, depths: Mapping[str, int], trend: Trend) -> tuple[int, float | None]:
    """The depth that the door goes by, and when it finds the stream full. On a cycle it counts all its streams."""
    cycle = flow.cycle(view.name)
    counted = cycle.streams if cycle else (view.name,)
    growths = [trend.growth_per_s(name, depths[name]) for name in counted]
    growth = None if None in growths else sum(filter(None, growths))
    depth = sum(depths[name] for name in counted)
    return depth, full_in_s(depth, view.books.max_len, growth)


def _fullness(scene: Scene, view: StreamView, depth: int, seconds: float) -> dict[str, Any]:
    return {
        "stream": view.name,
        "depth": depth,
        "max_len": view.books.max_len,
        "full_in_s": round(seconds, 1),
        "held_by": [*view.holders, *view.missing],
        "holds": [
            {"reader": hold.reader, "reason": hold.reason, "text": hold.text, "waiting": hold.waiting}
            for hold in holds(scene, view)
        ],
    }
