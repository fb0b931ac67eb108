"""What answers on a port: the program that should."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterable
from typing import Any, Final

import httpx

from dataflow.doctor.finding import Finding
from dataflow.store.live import SILENT_AFTER_S, Live

TIMEOUT_S: Final = 5.0


def examine(name: str, base_url: str, flow: str) -> list[Finding]:
    """Ask a door whether it is ready.

    Args:
        name: hub, scheduler or sync-api: also the command that starts it.
        base_url: without a slash at its end.
        flow: the flow whose door it should be.
    """
    try:
        with httpx.Client(base_url=base_url, timeout=TIMEOUT_S, trust_env=False) as client:
            ready = client.get("/readyz")
            version = client.get("/version")
    except httpx.TransportError as error:
        return [_silent(name, base_url, str(error))]
    return [judge(name, base_url, flow, ready.status_code, _json(ready), _json(version))]


def _silent(name: str, base_url: str, reason: str) -> Finding:
    text = f"nothing answers at {base_url} ({reason})"
    remedy = f"start it: `dataflow {name}`, or its service; if it runs elsewhere, say where: --{name} URL"
    if name == "sync-api":  # a flow does without it unless something calls it
        return Finding(name, "note", "unreachable", text, f"where something calls it, {remedy}")
    return Finding(name, "wrong", "unreachable", text, remedy)


def heard(name: str, processes: Iterable[Live], host: str = "", now_s: float | None = None) -> list[Finding]:
    """What is to be said about a door that runs on other machines, by its heartbeats; empty where there are none. Pure.

    Args:
        processes: all that has been heard of.
        host: this machine, whose own processes are not meant; socket.gethostname() by default.
        now_s: seconds since 1970; by default now.
    """
    here, now = f"@{host or socket.gethostname()}.", time.time() if now_s is None else now_s
    fresh = [one for one in processes if one.kind == name and now - one.at_ms / 1000 < SILENT_AFTER_S]
    away = [one for one in fresh if here not in one.process]
    if not away:
        return []
    ready = [one.process for one in away if one.facts.get("ready", True)]
    if not ready:
        names = ", ".join(one.process for one in away)
        return [
            Finding(name, "wrong", "not ready", f"{names} runs and is not ready", "see its log, and `dataflow status`")
        ]
    text = f"{', '.join(ready)} runs, by its heartbeat; --{name} URL asks it"
    return [Finding(name, "ok", "running", text)]


def judge(name: str, base_url: str, flow: str, status: int, ready: Any, version: Any) -> Finding:
    """What is to be said about the answers to /readyz and /version. Pure."""
    if not isinstance(ready, dict) or "status" not in ready or status == 404:
        text = f"what answers at {base_url} is no {name} of ours"
        return Finding(name, "wrong", "stranger", text, "stop that program, or give the flow another port")
    data = version.get("data") if isinstance(version, dict) else None
    other = data.get("flow", flow) if isinstance(data, dict) else flow
    if other != flow:
        text = f"what answers at {base_url} serves flow {other!r}"
        return Finding(name, "wrong", "stranger", text, "give one of the two flows another port")
    if status != 200:
        return Finding(name, "wrong", "not ready", str(ready.get("msg", status)), "see its log, and `dataflow status`")
    return Finding(name, "ok", "ready", f"it is ready at {base_url}")


def _json(response: httpx.Response) -> Any:
    try:
        return response.json()
    except ValueError:
        return None
