"""Where Celery keeps its hints: reachable, and apart from the streams."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from urllib.parse import SplitResult, urlsplit

from redis.exceptions import ResponseError

from dataflow.doctor.finding import Finding
from dataflow.doctor.redis import TIMEOUT_S
from dataflow.errors import DataflowError
from dataflow.store.redis import call, connect

SUBJECT = "broker"
_REMEDY = "set DATAFLOW_BROKER_URL to a Redis that can be reached, with a database number of its own"


def examine(broker: str, streams: Mapping[str, str]) -> list[Finding]:
    """Look at the broker. Blocks. Args: streams: connection name -> URL of the servers that hold streams."""
    apart = judge_place(broker, streams)
    return [apart] if apart.level == "wrong" else [apart, _reach(broker)]


def judge_place(broker: str, streams: Mapping[str, str]) -> Finding:
    """Whether the broker has a database of its own. Pure."""
    for name, url in streams.items():
        if _place(url) == _place(broker):
            text = f"it shares a database with the streams of connection {name!r}: emptying one empties both"
            return Finding(SUBJECT, "wrong", "database", text, _REMEDY)
    return Finding(SUBJECT, "ok", "database", "it has a database of its own")


def _place(url: str) -> tuple[str, int, str]:
    parts = urlsplit(url)
    host = {"localhost": "127.0.0.1"}.get(parts.hostname or "", parts.hostname or "")
    return host, _port(parts), parts.path.strip("/") or "0"


def _port(parts: SplitResult) -> int:
    try:
        return parts.port or 6379
    except ValueError:  # no number; whoever connects says so
        return 0


def _reach(broker: str) -> Finding:
    if urlsplit(broker).scheme not in ("redis", "rediss"):
        return Finding(
            SUBJECT, "note", "unchecked", "of a kind that is not checked here: Celery says if it cannot use it"
        )
    try:
        with closing(connect(broker, timeout_s=TIMEOUT_S)) as client:
            call(client, "PING")
    except (ResponseError, DataflowError) as error:
        return Finding(SUBJECT, "wrong", "unreachable", str(error), _REMEDY)
    return Finding(SUBJECT, "ok", "reachable", "it answers")
