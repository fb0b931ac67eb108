"""Where Celery keeps the hints that ask for a run of an edge, and how they are called. They are hints only."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit, urlunsplit

DATABASE: Final = 1

RUN_EDGE: Final = "dataflow.run_edge"
"""The Celery task that runs an edge: (edge, tick in ms since 1970)."""


def broker_url(redis_url: str, environ: Mapping[str, str] = os.environ) -> str:
    """Where Celery keeps its messages: apart from the streams, in a database of its own.

    Args:
        redis_url: the flow's first Redis.
        environ: DATAFLOW_BROKER_URL in it goes before.
    """
    given = environ.get("DATAFLOW_BROKER_URL")
    if given:
        return given
    parts = urlsplit(redis_url)
    if parts.scheme == "unix":
        return f"redis+socket://{parts.path}?virtual_host={DATABASE}"
    return urlunsplit(parts._replace(path=f"/{DATABASE}", query=_checked(parts.scheme, parts.query)))


def queue_of(flow_name: str) -> str:
    """The queue of a flow's hints; flows may share a broker."""
    return f"dataflow.{flow_name}"


def _checked(scheme: str, query: str) -> str:
    """Celery asks to be told that certificates are to be checked."""
    if scheme != "rediss" or "ssl_cert_reqs=" in query:
        return query
    return "&".join(filter(None, (query, "ssl_cert_reqs=required")))
