"""Bytes to messages: strict JSON, one level deep. Pure, and fast where nothing is wrong.

Taken: a list of flat objects, one flat object, {"messages": [...]}, or JSON lines. The decoder is typed, so that flat
messages cost one pass in C; what it refuses is decoded again without types, only to say what is wrong where.

JSON objects with a name twice are refused, which no fast decoder does. A name is a string before a colon, and nothing
else in valid JSON looks like `"` `:` but a string that begins with a colon or holds an escaped quote before one. So
when a body holds as many of those as there are decoded pairs, no name stands twice; else it is looked at closely.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NoReturn

import msgspec

from dataflow.errors import Fault
from dataflow.faults import show
from message_hub.body import Form
from message_hub.refusal import Refusal

Scalar = str | int | float | bool | None

_LIST = msgspec.json.Decoder(list[dict[str, Scalar]])
_OBJECT = msgspec.json.Decoder(dict[str, Scalar | list[dict[str, Scalar]]])
_LINES = msgspec.json.Decoder(dict[str, Scalar])
_ANY: msgspec.json.Decoder[Any] = msgspec.json.Decoder()

_SPACED_COLON = re.compile(rb'"[ \t\r\n]+:')
_SPACE = " \t\r\n"
_SEND = 'send a JSON list of flat objects, one object, {"messages": [...]}, or lines of objects as application/x-ndjson'


def parse(body: bytes, form: Form) -> Sequence[Any]:
    """The messages of a body, in order. Those that are not flat dicts are left for the codec to name.

    Raises:
        Refusal: 400: not JSON, too deep, a number that cannot be held, a name twice in one object, no messages in it.
    """
    if not body or body.isspace():
        raise Refusal(400, f"the body is empty; {_SEND}")
    try:
        messages, wrapped = _decode(body, form)
    except msgspec.ValidationError:
        return _decode_loosely(body, form)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _not_json(error) from None
    except RecursionError:
        _refuse_depth()
    if not names_are_unique(body, sum(map(len, messages)) + wrapped):
        _refuse_repeated_names(body)
    return messages


def names_are_unique(body: bytes, pairs: int) -> bool:
    """Whether valid JSON that decoded to so many pairs surely has no name twice in one object. May say no wrongly."""
    if body.count(b'":') == pairs:
        return not (_has_space(body) and _may_have_spaced_colons(body)) or _SPACED_COLON.search(body) is None
    return len(_SPACED_COLON.findall(body)) + body.count(b'":') == pairs


def _has_space(body: bytes) -> bool:
    """One letter is found ten times as fast as two: most programs that send much write no space."""
    return b" " in body or b"\n" in body or b"\t" in body or b"\r" in body


def _may_have_spaced_colons(body: bytes) -> bool:
    return b" :" in body or b"\n:" in body or b"\t:" in body or b"\r:" in body


def _decode(body: bytes, form: Form) -> tuple[Sequence[dict[str, Any]], int]:
    """Messages, and the number of pairs that stand around them."""
    if form == "lines":
        return _LINES.decode_lines(body), 0
    if body.lstrip()[:1] != b"{":
        return _LIST.decode(body), 0
    found = _OBJECT.decode(body)
    messages = found.get("messages")
    if isinstance(messages, list) and len(found) == 1:
        return messages, 1
    return [found], 0


def _decode_loosely(body: bytes, form: Form) -> Sequence[Any]:
    try:
        if form == "lines":
            return list(_ANY.decode_lines(body))
        found = _ANY.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _not_json(error) from None
    except RecursionError:
        _refuse_depth()
    if isinstance(found, dict):
        messages = found.get("messages")
        return messages if isinstance(messages, list) and len(found) == 1 else [found]
    if isinstance(found, list):
        return found
    raise Refusal(400, f"the body is no message; {_SEND}")


def _not_json(error: Exception) -> Refusal:
    return Refusal(400, f"the body is not strict JSON: {error}; nothing was stored")


def _refuse_depth() -> NoReturn:
    raise Refusal(
        400, "the body is nested far too deep; a message is a flat object of text, numbers, true, false, null"
    )


def _refuse_repeated_names(body: bytes) -> None:
    faults: list[Fault] = []
    index = 0

    def note(pairs: list[tuple[str, Any]]) -> None:
        nonlocal index
        faults.extend(
            Fault(index, show(name), "duplicate", "the name stands twice in one object") for name in _repeated(pairs)
        )
        index += 1

    for _ in _documents(body.decode(), json.JSONDecoder(object_pairs_hook=note)):
        pass
    if faults:
        raise Refusal(400, "an object holds a name twice; nothing was stored", faults)


def _documents(text: str, decoder: json.JSONDecoder) -> Iterator[Any]:
    """Every JSON document of a text that is known to be valid, one after the other."""
    at = 0
    text = text.rstrip(_SPACE)
    while at < len(text):
        while text[at] in _SPACE:
            at += 1
        document, at = decoder.raw_decode(text, at)
        yield document


def _repeated(pairs: Iterable[tuple[str, Any]]) -> list[str]:
    seen: set[str] = set()
    twice: dict[str, None] = {}
    for name, _ in pairs:
        if name in seen:
            twice[name] = None
        seen.add(name)
    return list(twice)
