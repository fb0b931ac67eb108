"""The JSON object that a request carries."""

from __future__ import annotations

from typing import Any

import msgspec
from flask import request

from dataflow.web.answer import Refusal


def json_object(example: str = "") -> dict[str, Any]:
    """The body of the request in hand. Its type is asked for, so that no page in a browser can send one.

    Args:
        example: what one may look like, for whoever sends something else.

    Raises Refusal 400, 415, 422.
    """
    if not request.is_json:
        raise Refusal(415, f"send JSON with Content-Type: application/json{_such_as(example)}")
    return parse(request.get_data(cache=False), example)


def parse(data: bytes, example: str = "") -> dict[str, Any]:
    """A JSON object. Pure. Raises Refusal 400, 422."""
    try:
        found = msgspec.json.decode(data)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise Refusal(400, f"the body is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise Refusal(422, f"the body must be a JSON object{_such_as(example)}")
    return found


def _such_as(example: str) -> str:
    return f", for example {example}" if example else ""
