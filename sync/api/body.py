"""What requests say. Pure: an object in, checked values out, or a Refusal. What may be a secret is not shown again."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from dataflow.faults import show
from dataflow.masking import is_secret_name
from dataflow.web.answer import Refusal

MOST: Final = 1_000_000_000
MAX_WAIT_S: Final = 60.0
WAIT_S: Final = 30.0
"""How long a request for a result waits unless it says otherwise."""

_DIGITS: Final = re.compile(r"[0-9]{1,10}")


@dataclass(frozen=True, slots=True)
class Bounds:
    """How far a run may go: most batches, and most messages of each. None: as the edge says."""

    max_batches: int | None = None
    batch: int | None = None


def given_in(found: Mapping[str, Any]) -> dict[str, Any]:
    """What a JSON object says; null counts as absent. A password in it is refused."""
    given = {name: value for name, value in found.items() if value is not None}
    _refuse_secrets(given)
    return given


def known_only(given: Mapping[str, Any], known: Sequence[str]) -> None:
    """Refuse keys that mean nothing here."""
    strange = [show(name) for name in given if name not in known]
    if strange:
        raise Refusal(422, f"the body has keys that mean nothing here: {', '.join(strange[:5])}", known=list(known))


def text(given: Mapping[str, Any], name: str) -> str | None:
    """A text, None where it is absent."""
    value = given.get(name)
    if value is None:
        return None
    if not isinstance(value, str) or not value or len(value) > 300 or not value.isprintable():
        raise Refusal(422, f"{name} must be text of 1 to 300 printable characters")
    return value


def address(given: Mapping[str, Any], name: str) -> str | None:
    """A text that is an address; one with a user or password in it is refused, and not shown."""
    value = text(given, name)
    if value is not None and "@" in value:
        raise Refusal(422, f"{name} holds a user or a password, which no request may: they are in the flow file alone")
    return value


def count(given: Mapping[str, Any], name: str) -> int | None:
    """A whole number from 1 on, also as text of digits; None where it is absent."""
    value = given.get(name)
    if value is None:
        return None
    number = int(value) if isinstance(value, str) and _DIGITS.fullmatch(value) else value
    if isinstance(number, bool) or not isinstance(number, int) or not 1 <= number <= MOST:
        raise Refusal(422, f"{name} must be a whole number from 1 to {MOST}, not {show(json.dumps(value))}")
    return number


def names(given: Mapping[str, Any], name: str) -> tuple[str, ...] | None:
    """A list of names, None where it is absent."""
    value = given.get(name)
    if value is None:
        return None
    if not isinstance(value, list) or not value or not all(isinstance(one, str) and one for one in value):
        raise Refusal(422, f"{name} must be a list of names")
    return tuple(value)


def least(*numbers: int | None) -> int | None:
    """The least of those that are there."""
    return min((number for number in numbers if number is not None), default=None)


def wait_s(written: str | None) -> float:
    """How long to wait for a result, from the query of the address."""
    try:
        seconds = WAIT_S if written is None else float(written)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= MAX_WAIT_S:
        raise Refusal(422, f"wait_s must be a number of seconds from 0 to {MAX_WAIT_S:g}")
    return seconds


def _refuse_secrets(given: Mapping[str, Any]) -> None:
    for name in given:
        if is_secret_name(name):
            raise Refusal(
                422,
                f"{show(name)} is a secret, and none is taken by HTTP: the flow file's connection has it. Leave it out",
            )
