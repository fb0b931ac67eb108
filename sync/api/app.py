"""The API as a Flask application."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Any, Final

from flask import Flask, Response, request
from flask.typing import RouteCallable
from redis.exceptions import ResponseError

from dataflow import __version__
from dataflow.access.flask import may, note
from dataflow.access.gate import LOOPBACK, Gate
from dataflow.access.hosts import Hosts
from dataflow.access.scopes import OPEN, Need, needs
from dataflow.errors import NotDeclared, OutcomeUnknown, ServerAway, ServerFull
from dataflow.flow.spec import Edge
from dataflow.store.live import live
from dataflow.web.answer import Refusal, accepted, bare, plain, wants_json
from dataflow.web.app import make_app
from dataflow.web.body import json_object
from sync.api import body
from sync.api.body import Bounds
from sync.api.choice import Kind, Wish, chosen, named, target_of
from sync.api.result import as_json, as_text
from sync.api.runs import Runs, over
from sync.room import Room

log = logging.getLogger("dataflow.sync")

MAX_BODY_BYTES: Final = 1 << 16

_ADDRESSES: Final = "runs are asked for at /s2s/, /s2ch/ or /edges/<name>/run"


class Views:
    """One method per address."""

    def __init__(self, room: Room, runs: Runs) -> None:
        self._room, self._runs = room, runs

    def s2s(self) -> Response:
        """Run the edge between two streams that the body means."""
        return self._run_chosen("s2s")

    def s2ch(self) -> Response:
        """Run the edge from a stream to a table that the body means."""
        return self._run_chosen("s2ch")

    def run_edge(self, name: str) -> Response:
        """Run an edge by its name."""
        given = _body() if _has_body() else {}
        body.known_only(given, ("max_batches", "batch"))
        bounds = Bounds(body.count(given, "max_batches"), body.count(given, "batch"))
        self._room.follow()
        return self._run(Wish(named(self._room.flow, name), bounds))

    def get_result(self, run: str) -> Response:
        """What a run has come to; waits for its end, `?wait_s=` at most."""
        found = self._runs.look(run, body.wait_s(request.args.get("wait_s")))
        status = 200 if over(found) else 202
        return bare(as_json(found), status) if wants_json() else plain(as_text(found), status)

    def edges(self) -> Response:
        """The edges that can be run."""
        return accepted([_described(edge) for edge in self._room.flow.edges.values()])

    def livez(self) -> Response:
        """The process answers. Asks no server."""
        return accepted({})

    def readyz(self) -> Response:
        """Whether runs can be asked for: the flow's first Redis answers and the flow is applied there."""
        room = self._room
        room.follow()
        now_s = time.time()
        heard = [one for one in live(room.redis, room.keys) if one.kind == "sync"]
        workers = [one.process for one in heard if not one.is_silent(now_s)]
        detailed = may("viewer")
        if not room.applied:
            why = f": flow {room.flow.name!r} is not applied; run `dataflow apply`" if detailed else ""
            raise Refusal(503, f"not ready{why}")
        return accepted({"sync": workers} if detailed else {})

    def version(self) -> Response:
        """Which program, which flow."""
        flow = self._room.flow
        return accepted({"version": __version__, "flow": flow.name, "digest": flow.digest})

    def _run_chosen(self, kind: Kind) -> Response:
        given = _body()
        self._room.follow()
        return self._run(chosen(self._room.flow, kind, given))

    def _run(self, wish: Wish) -> Response:
        """Ask for a run. The answer is its id alone, or JSON for who asks for that."""
        note(wish.edge.name)
        run = self._runs.ask(wish)
        note(wish.edge.name, run=run)
        log.info("edge %s was asked to run", wish.edge.name, extra={"run": run})
        return accepted({"task_id": run, "edge": wish.edge.name}) if wants_json() else plain(run)


NEEDS: Final[Mapping[str, Need]] = {
    "s2s": needs("operate"),
    "s2ch": needs("operate"),
    "run_edge": needs("operate"),
    "get_result": needs("viewer"),
    "edges": needs("viewer"),
    "livez": OPEN,
    "readyz": OPEN,
    "version": needs("viewer"),
}
"""What each address asks of a key, by its name."""


def create_app(room: Room, runs: Runs, *, keys_required: bool = False, hosts: Hosts | None = LOOPBACK) -> Flask:
    """The application for one flow. It asks for keys once the flow has had one, or from the start.

    Until then it is called by `hosts`; None: by any name.
    """
    gate = Gate(lambda: (room.redis, room.keys), required=keys_required, hosts=hosts)
    bug = Refusal(500, "the sync API has failed; see its log")
    app = make_app("sync", gate, NEEDS, _explain, addresses=_ADDRESSES, bug=bug)
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES
    for methods, rule, view in _routes(Views(room, runs)):
        for address in (rule, f"{rule}/"):
            app.add_url_rule(address, view.__name__, view, methods=methods)
    return app


def _routes(views: Views) -> list[tuple[list[str], str, RouteCallable]]:
    """Methods, address, view; each address also with a slash at the end."""
    return [
        (["GET", "POST"], "/s2s", views.s2s),
        (["GET", "POST"], "/s2ch", views.s2ch),
        (["GET"], "/get_result/<run>", views.get_result),
        (["GET"], "/edges", views.edges),
        (["POST"], "/edges/<name>/run", views.run_edge),
        (["GET"], "/livez", views.livez),
        (["GET"], "/healthz", views.livez),
        (["GET"], "/readyz", views.readyz),
        (["GET"], "/version", views.version),
    ]


def _described(edge: Edge) -> dict[str, Any]:
    runs = "continuously" if edge.task is None else "on its schedule" if edge.task else "when asked"
    return {
        "name": edge.name,
        "kind": edge.kind,
        "from": edge.reads,
        "to": target_of(edge),
        "columns": None if edge.columns is None else list(edge.columns),
        "batch": edge.batch,
        "runs": runs,
    }


def _has_body() -> bool:
    """Whether the request carries anything. A page in a browser can send an empty one anywhere, and says where from."""
    return bool(request.get_data()) or "Origin" in request.headers


def _body() -> dict[str, Any]:
    """What the request's body says."""
    return body.given_in(json_object('{"edge": "<name>"}'))


def _explain(error: Exception) -> Refusal | None:
    match error:
        case ServerAway() | OutcomeUnknown() | ServerFull() | NotDeclared():
            return Refusal(503, f"{error}; ask again: a run that is asked for twice does no harm")
        case ResponseError():
            return Refusal(503, f"Redis refused: {error}")
    return None
