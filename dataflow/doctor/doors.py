"""What answers on a port: the program that should."""

from __future__ import annotations

from typing import Any, Final

import httpx

from dataflow.doctor.finding import Finding

TIMEOUT_S: Final = 5.0


def examine(name: str, base_url: str, flow: str) -> list[Finding]:
    """Ask a door whether it is ready.

    Args:
        name: hub, or scheduler: also the command that starts it.
        base_url: without a slash at its end.
        flow: the flow whose door it should be.
    """
    try:
        with httpx.Client(base_url=base_url, timeout=TIMEOUT_S, trust_env=False) as client:
            ready = client.get("/readyz")
            version = client.get("/version")
    except httpx.TransportError as error:
        text = f"nothing answers at {base_url} ({error})"
        return [Finding(name, "wrong", "unreachable", text, f"start it: `dataflow {name}`, or its service")]
    return [judge(name, base_url, flow, ready.status_code, _json(ready), _json(version))]


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
