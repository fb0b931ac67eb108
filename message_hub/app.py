"""The hub as a Flask application: which address leads to which file, and what becomes of errors."""

from __future__ import annotations

import logging
from typing import Any

from flask import Flask, Response
from werkzeug.exceptions import HTTPException

from dataflow.errors import DataflowError
from dataflow.settings import Settings
from message_hub import envelope, health, trace
from message_hub.live_net import LiveNet
from message_hub.post import post_routed, post_to_stream
from message_hub.refusal import Refusal, refusal_of

log = logging.getLogger("dataflow.hub")


def create_app(live: LiveNet, settings: Settings) -> Flask:
    """The application for one flow. Threads and processes may each have their own or share it."""
    app = Flask("message_hub", static_folder=None)
    app.url_map.strict_slashes = False
    app.config["MAX_CONTENT_LENGTH"] = settings.max_body_bytes
    app.before_request(envelope.start_clock)
    _add_routes(app, live, settings)
    _add_errors(app)
    return app


def _add_routes(app: Flask, live: LiveNet, settings: Settings) -> None:
    def route(rule: str, name: str, view: Any, method: str) -> None:
        app.add_url_rule(rule, name, view, methods=[method])

    route("/message_hub/", "message_hub", lambda: post_routed(live.current(), settings), "POST")
    route(
        "/streams/<name>/messages/",
        "stream_messages",
        lambda name: post_to_stream(live.current(), settings, name),
        "POST",
    )
    route("/messages/<path:mid>", "message", lambda mid: trace.get_message(live.current(), mid.rstrip("/")), "GET")
    route("/livez", "livez", health.livez, "GET")
    route("/readyz", "readyz", lambda: health.readyz(live), "GET")
    route("/version", "version", lambda: health.version(live.current()), "GET")
    route("/queue_size_metrics", "queue_size_metrics", lambda: health.queue_size_metrics(live.current()), "GET")


def _add_errors(app: Flask) -> None:
    app.register_error_handler(Refusal, envelope.refused)
    app.register_error_handler(DataflowError, _dataflow_error)
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(Exception, _bug)


def _dataflow_error(error: DataflowError) -> Response:
    refusal = refusal_of(error)
    return _bug(error) if refusal is None else envelope.refused(refusal)


def _http_error(error: HTTPException) -> Response:
    """What Flask itself refuses: no such address, wrong method, too large."""
    answer = envelope.refused(Refusal(error.code or 500, error.description or error.name))
    for name, value in error.get_headers():
        if name.lower() in ("allow", "location"):
            answer.headers[name] = value
    return answer


def _bug(error: Exception) -> Response:
    log.error("a request failed", exc_info=error)
    text = "the hub has failed; whether something was stored is not known: send it again with the same Idempotency-Key"
    return envelope.refused(Refusal(500, text, data={"outcome": "unknown"}))
