"""A MongoDB server: reachable, writable, with the right time."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final

import pymongo
from pymongo.errors import ConfigurationError, OperationFailure, PyMongoError

from dataflow.doctor.clock import judge_clock
from dataflow.doctor.finding import Finding
from dataflow.masking import mask_urls

TIMEOUT_MS: Final = 3000


def examine(name: str, url: str) -> list[Finding]:
    """Look at the server of a connection. Blocks for some seconds at most. Changes nothing."""
    subject = f"mongo {name}"
    limits = {"serverSelectionTimeoutMS": TIMEOUT_MS, "connectTimeoutMS": TIMEOUT_MS, "socketTimeoutMS": TIMEOUT_MS}
    try:
        with pymongo.MongoClient[dict[str, Any]](url, **limits) as client:  # type: ignore[arg-type]
            client.admin.command("ping")
            began, clock = time.perf_counter(), time.time()
            hello = client.admin.command("hello")
            took_s = time.perf_counter() - began
            version = str(client.server_info().get("version", ""))
            client.get_default_database("flask_aps").list_collection_names()
    except OperationFailure as error:
        remedy = "correct user and password in the address, and give the user the role readWrite on the database"
        return [Finding(subject, "wrong", "refused", f"it does not let us in: {_line(error)}", remedy)]
    except (PyMongoError, ConfigurationError, ValueError) as error:
        remedy = "start it, or correct the address of this connection"
        return [Finding(subject, "wrong", "unreachable", f"it cannot be reached: {_line(error)}", remedy)]
    return list(judge(subject, hello, version, took_s, clock))


def judge(subject: str, hello: Mapping[str, Any], version: str, took_s: float, clock: float) -> Iterator[Finding]:
    """What is to be said about a server. Pure. Args: clock: seconds since 1970 when `hello` was asked."""
    told = f"MongoDB {version}" if version else "a MongoDB"
    yield Finding(subject, "ok", "version", f"{told} answers in {took_s * 1000:.1f} ms")
    if not hello.get("isWritablePrimary", hello.get("ismaster", True)):
        remedy = "name all members and `replicaSet=` in the address, so that the primary is found"
        yield Finding(subject, "wrong", "primary", "it takes no writes: it is no primary", remedy)
    local = hello.get("localTime")
    if isinstance(local, datetime):
        yield judge_clock(subject, local.replace(tzinfo=UTC).timestamp() - (clock + took_s / 2))


def _line(error: Exception) -> str:
    return mask_urls((str(error).splitlines() or [type(error).__name__])[0])[:200]
