"""The two ways in: routed by (task_for, function_type), or straight to an `in` stream. All or nothing per request."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from flask import Response, request

from dataflow.access.flask import caller_name
from dataflow.errors import InvalidMessage
from dataflow.message import extend_path, message_id, request_id
from dataflow.settings import Settings
from dataflow.store.door import MAX_MESSAGES, Appended, Outgoings, Record, Stamp
from dataflow.web.answer import accepted
from message_hub.body import Form, read_body
from message_hub.live_net import LiveNet
from message_hub.net import Net
from message_hub.parse import parse
from message_hub.refusal import Refusal

NODE = "hub"
"""How the door is called in the path of a message."""

KEY_HEADER = "Idempotency-Key"
TTL_HEADER = "Idempotency-TTL"
REPLAYED_HEADER = "Idempotency-Replayed"

_KEY = re.compile(r"[\x20-\x7e]{1,255}")

_Route = Callable[[Sequence[Any]], Outgoings]


class Post:
    """Takes messages. Each call blocks until Redis has stored them, or refuses them whole.

    Args:
        live: gives the flow of each request.
        settings: the limits, and for how long an idempotency key is remembered.
    """

    def __init__(self, live: LiveNet, settings: Settings) -> None:
        self._live = live
        self._settings = settings
        self._most = min(settings.max_messages_per_request, MAX_MESSAGES)

    def by_route(self) -> Response:
        """POST /message_hub/: each message goes to the stream that accepts its task_for and function_type."""
        net = self._live.current()
        return self._store(net, "", net.router.route)

    def to_stream(self, name: str) -> Response:
        """POST /streams/<name>/messages: all messages go to one `in` stream."""
        net = self._live.current()
        return self._store(net, name, net.router.target(name).take)

    def _store(self, net: Net, stream: str, route: _Route) -> Response:
        key = _idempotency_key()
        body, form = read_body(request, self._settings.max_body_bytes)
        messages = self._counted(parse(body, form))
        now_ms = time.time_ns() // 1_000_000
        stamp = Stamp(request_id(now_ms), extend_path("", NODE, now_ms))
        if key is None:
            net.append(route(messages), stamp)
            return _done(stamp.request_id, len(messages))
        record = self._record(key, stream, body, form, stamp.request_id, len(messages))
        stored = _store_once(net, partial(route, messages), stamp, record)
        answer = _done(stored.request_id, stored.count)
        answer.headers[TTL_HEADER] = str(record.ttl_s)
        answer.headers[REPLAYED_HEADER] = "true" if stored.repeated else "false"
        return answer

    def _counted(self, messages: Sequence[Any]) -> Sequence[Any]:
        if not messages:
            raise Refusal(400, "the request holds no messages")
        if len(messages) > self._most:
            raise Refusal(413, f"{len(messages)} messages in one request; send at most {self._most} at a time")
        return messages

    def _record(self, key: str, stream: str, body: bytes, form: Form, request: str, count: int) -> Record:
        """The idempotency record of a request. Each door remembers keys of its own, and so does each caller: by the
        name of its API key, so that a caller whose API key was replaced can still send again.
        """
        space = "\n".join((caller_name(), stream, key) if caller_name() else (stream, key))
        name = hashlib.blake2b(space.encode(), digest_size=16).hexdigest()
        digest = hashlib.blake2b(body, digest_size=16, person=form.encode()).hexdigest()
        return Record(name, digest, request, count, self._settings.idempotency_ttl_s)


def _store_once(net: Net, make: Callable[[], Outgoings], stamp: Stamp, record: Record) -> Appended:
    """Store, or answer as the first time: even if the request would be refused by the flow that is applied by now."""
    try:
        entries = make()
    except (InvalidMessage, Refusal):
        known = net.recall(record)
        if known is None:
            raise
        return known
    return net.append(entries, stamp, record)


def _idempotency_key() -> str | None:
    key: str | None = request.environ.get("HTTP_IDEMPOTENCY_KEY")
    if key is not None and not _KEY.fullmatch(key):
        raise Refusal(400, f"an {KEY_HEADER} is 1 to 255 printable ASCII characters")
    return key


def _done(request: str, count: int) -> Response:
    ids = [message_id(request, index) for index in range(count)]
    return accepted({"accepted": count, "ids": ids}, status=202)
