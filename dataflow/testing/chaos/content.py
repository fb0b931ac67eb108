"""What a message of chaos holds at each place: what its client sends, what the handlers have to make of it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

SENT = "gauge.stream_in"


def made(stream: str, client: int, n: int) -> dict[str, Any]:
    """The fields of the message number `n` of a client, on this stream and in what is filled from it."""
    fields: dict[str, Any] = {"client": client, "n": n, "note": f'{n} °C\t"{client}"\n' * (n % 3)}
    match stream:
        case "gauge.stream_in":
            return {**fields, "rec_id": f"{client}-{n}", "task_for": "chaos", "function_type": "double"}
        case "grade.stream_out":
            return {**fields, "grade": 2 * n % 10}
        case _:
            return {**fields, "twice": 2 * n}


def difference(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    """What is other than it has to be, in words; "" if nothing is. Values count as equal if their texts are."""
    names = [*wanted, *(name for name in found if name not in wanted)]
    return ", ".join(
        f"{name} is {found.get(name)!r} where it was made {wanted.get(name)!r}"
        for name in names
        if name not in found or name not in wanted or str(found[name]) != str(wanted[name])
    )
