"""The two ways in: routed by (task_for, function_type), or straight to a stream. All of a request is stored, or none."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from typing import Any

from flask import Response, request

from dataflow.errors import UnknownName
from dataflow.ids import message_id, request_id
from dataflow.settings import Settings
from dataflow.store.door import Outgoing, Record
from message_hub.body import read_body
from message_hub.envelope import accepted
from message_hub.net import Net
from message_hub.parse import parse
from message_hub.refusal import Refusal
from message_hub.routing import Stamp

Route = Callable[[Sequence[Any], Stamp], list[Outgoing]]

KEY_HEADER = "Idempotency-Key"


def post_routed(net: Net, settings: Settings) -> Response:
    """Messages of the request, each to the stream that accepts its task_for and function_type."""
    return _post(net, settings, net.router.route, "message_hub")


def post_to_stream(net: Net, settings: Settings, name: str) -> Response:
    """Messages of the request, all to one `in` stream."""
    try:
        target = net.router.target(name)
    except UnknownName as unknown:
        raise Refusal(404, f"nothing was stored: {unknown}") from None
    return _post(net, settings, target.take, f"streams/{name}")


def _post(net: Net, settings: Settings, route: Route, door: str) -> Response:
    key = _idempotency_key()
    body, form = read_body(request, settings.max_body_bytes)
    messages = parse(body, form)
    if not messages:
        raise Refusal(400, "the request holds no message; nothing was stored")
    if len(messages) > settings.max_messages_per_request:
        most = settings.max_messages_per_request
        raise Refusal(413, f"{len(messages)} messages in one request; send at most {most} at a time")
    stamp = Stamp(request_id(), f"hub@{time.time_ns() // 1_000_000}")
    entries = route(messages, stamp)
    record = _record(key, door, body, stamp, len(entries), settings) if key else None
    done = net.append(entries, record)
    stored_as = done.request_id or stamp.request_id
    ids = [message_id(stored_as, index) for index in range(done.count)]
    answer = accepted({"accepted": done.count, "ids": ids}, status=202)
    if key:
        answer.headers["Idempotency-Key-TTL"] = str(settings.idempotency_ttl_s)
        answer.headers["Idempotency-Replayed"] = "true" if done.repeated else "false"
    return answer


def _idempotency_key() -> str:
    key = request.headers.get(KEY_HEADER, "")
    if KEY_HEADER in request.headers and not (1 <= len(key) <= 255 and key.isascii() and key.isprintable()):
        raise Refusal(400, f"{KEY_HEADER} must be 1 to 255 printable ASCII characters")
    return key


def _record(key: str, door: str, body: bytes, stamp: Stamp, count: int, settings: Settings) -> Record:
    digest = hashlib.blake2b(door.encode() + b"\0" + body, digest_size=16).hexdigest()
    name = hashlib.blake2b(key.encode(), digest_size=16).hexdigest()
    return Record(name, digest, stamp.request_id, count, settings.idempotency_ttl_s)
