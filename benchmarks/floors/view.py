"""The hub by hand: bare Flask views that append to a stream. Run by gunicorn with the hub's settings.

(What the hub does with gunicorn beside its settings is its own: see dataflow.web.patience and dataflow.web.server.)

/one takes a message and XADDs it. /many takes a list, decoded and validated by msgspec into a typed class, and appends
it with packed commands.
"""

from __future__ import annotations

import os
import threading
import time
import uuid

import msgspec
import redis
from flask import Flask, Response, request

from benchmarks.wire import Wire, pack
from dataflow.process import collect_seldom

URL = os.environ["BENCH_REDIS_URL"]
app = Flask(__name__)
_client = redis.Redis.from_url(URL)
_local = threading.local()
collect_seldom()


class Message(msgspec.Struct):
    """The schema."""

    rec_id: str
    device: str
    n: int
    value: float
    ok: bool


_DECODER = msgspec.json.Decoder(list[Message])


@app.post("/one")
def one() -> tuple[Response, int]:
    """One message."""
    message = request.get_json()
    mid = uuid.uuid4().hex
    fields = {"_mid": mid, "_path": _path(), **message, "ok": "true" if message["ok"] else "false"}
    _client.xadd("in", fields)
    return _answer([mid])


@app.post("/many")
def many() -> tuple[Response, int]:
    """A list of messages."""
    messages = _DECODER.decode(request.get_data())
    mid, path = uuid.uuid4().hex, _path()
    mids = [f"{mid}-{i}" for i in range(len(messages))]
    packed = [
        pack((
            b"XADD", b"in", b"*", b"_mid", mid, b"_path", path, b"rec_id", one.rec_id, b"device", one.device, b"n",
            one.n, b"value", repr(one.value), b"ok", b"true" if one.ok else b"false",
        ))
        for mid, one in zip(mids, messages, strict=True)
    ]  # fmt: skip
    wire = _wire()
    wire.send(b"".join(packed))
    wire.receive(len(packed))
    return _answer(mids)


def _path() -> str:
    return f"hub@{time.time_ns() // 1_000_000}"


def _answer(mids: list[str]) -> tuple[Response, int]:
    body = msgspec.json.encode({"status": True, "data": {"accepted": len(mids), "ids": mids}})
    return Response(body, content_type="application/json"), 202


def _wire() -> Wire:
    if not hasattr(_local, "wire"):
        _local.wire = Wire(URL)
    wire: Wire = _local.wire
    return wire
