"""The hub as a Flask application: which address leads to which file, and what becomes of errors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from flask import Flask, request
from flask.typing import RouteCallable

from dataflow.access.gate import LOOPBACK, Gate
from dataflow.access.hosts import Hosts
from dataflow.access.scopes import OPEN, Need, needs
from dataflow.settings import Settings
from dataflow.web.app import make_app
from message_hub.health import Health
from message_hub.live_net import LiveNet
from message_hub.post import Post
from message_hub.refusal import Refusal, refusal_of, refusal_to_look
from message_hub.trace import Trace

_ADDRESSES: Final = "messages go to /message_hub/ or /streams/<name>/messages"
_BUG: Final = Refusal(
    500,
    "the hub has failed; whether something was stored is not known: send it again with the same Idempotency-Key",
    outcome="unknown",
)

NEEDS: Final[Mapping[str, Need]] = {
    "message_hub": needs("produce"),
    "stream_messages": needs("produce"),
    "message": needs("produce", "viewer"),
    "livez": OPEN,
    "readyz": OPEN,
    "version": needs("viewer"),
    "queue_size_metrics": needs("viewer"),
}
"""What each address asks of a key, by its name."""


def create_app(
    live: LiveNet, settings: Settings, *, keys_required: bool = False, hosts: Hosts | None = LOOPBACK
) -> Flask:
    """The application for one flow. Its threads share the connections of `live`.

    Args:
        live: the flow.
        settings: limits.
        keys_required: ask for a key even while the flow has none; once it has any, keys are asked for anyway.
        hosts: the names by which it may be called while it asks for no keys; None: any.
    """
    gate = Gate(lambda: (live.current().home, live.current().keys), required=keys_required, hosts=hosts)
    app = make_app("hub", gate, NEEDS, _explain, addresses=_ADDRESSES, bug=_BUG, refusal=Refusal)
    app.url_map.merge_slashes = False
    for method, rule, name, view in _routes(live, settings):
        for address in (rule, f"{rule}/"):
            app.add_url_rule(address, name, view, methods=[method])
    return app


def _routes(live: LiveNet, settings: Settings) -> list[tuple[str, str, str, RouteCallable]]:
    """Method, address (each also with a slash at the end), name in the answer's envelope, view."""
    post, trace, health = Post(live, settings), Trace(live), Health(live)
    return [
        ("POST", "/message_hub", "message_hub", post.by_route),
        ("POST", "/streams/<name>/messages", "stream_messages", post.to_stream),
        ("GET", "/messages/<path:mid>", "message", trace.message),
        ("GET", "/livez", "livez", health.livez),
        ("GET", "/readyz", "readyz", health.readyz),
        ("GET", "/version", "version", health.version),
        ("GET", "/queue_size_metrics", "queue_size_metrics", health.queue_size_metrics),
    ]


def _explain(error: Exception) -> Refusal | None:
    return refusal_of(error) if request.method == "POST" else refusal_to_look(error)
