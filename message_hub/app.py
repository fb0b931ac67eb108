"""The hub as a Flask application: which address leads to which file, and what becomes of errors."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Final

from flask import Flask, Response, request
from flask.typing import RouteCallable
from redis.exceptions import ResponseError
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from dataflow.access.flask import guard, request_id
from dataflow.access.gate import Denied, Gate
from dataflow.access.scopes import OPEN, Need, needs
from dataflow.errors import DataflowError
from dataflow.settings import Settings
from message_hub import envelope
from message_hub.health import Health
from message_hub.live_net import LiveNet
from message_hub.post import Post
from message_hub.refusal import Refusal, refusal_of, refusal_to_look
from message_hub.trace import Trace

log = logging.getLogger("dataflow.hub")


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


def create_app(live: LiveNet, settings: Settings, *, keys_required: bool = False) -> Flask:
    """The application for one flow. Its threads share the connections of `live`.

    Args:
        live: the flow.
        settings: limits.
        keys_required: ask for a key even while the flow has none; once it has any, keys are asked for anyway.
    """
    app = Flask("message_hub", static_folder=None, root_path=str(Path(__file__).parent))
    app.url_map.merge_slashes = False
    app.before_request(envelope.start_clock)
    guard(app, Gate(lambda: (live.current().home, live.current().keys), required=keys_required), NEEDS)
    for method, rule, name, view in _routes(live, settings):
        for address in (rule, f"{rule}/"):
            app.add_url_rule(address, name, view, methods=[method])
    app.register_error_handler(Refusal, envelope.refused)
    app.register_error_handler(Denied, _denied)
    app.register_error_handler(DataflowError, _core_error)
    app.register_error_handler(ResponseError, _core_error)
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(Exception, _bug)
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


def _denied(error: Denied) -> Response:
    return envelope.refused(Refusal(error.status, str(error), data=error.data, headers=error.headers))


def _core_error(error: DataflowError | ResponseError) -> Response:
    refusal = refusal_of(error) if request.method == "POST" else refusal_to_look(error)
    return _bug(error) if refusal is None else envelope.refused(refusal)


def _http_error(error: HTTPException) -> Response:
    """What Flask itself refuses: no such address, wrong method, a request that broke off."""
    text = error.description or error.name
    if error.code == HTTPStatus.NOT_FOUND:
        text = f"there is nothing at {request.path}; messages go to /message_hub/ or /streams/<name>/messages"
    if isinstance(error, MethodNotAllowed):
        text = f"{request.method} is not what {request.path} takes, but {', '.join(error.valid_methods or ())}"
    answer = envelope.refused(Refusal(error.code or 500, text))
    answer.headers.update({name: value for name, value in error.get_headers() if name != "Content-Type"})
    return answer


def _bug(error: Exception) -> Response:
    log.error("a request failed", exc_info=error, extra={"request": request_id()})
    text = "the hub has failed; whether something was stored is not known: send it again with the same Idempotency-Key"
    return envelope.refused(Refusal(500, text, data={"outcome": "unknown"}))
