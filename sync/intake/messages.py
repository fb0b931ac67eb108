"""A document as a message: what goes over, how it is called, and why it cannot be one. Pure.

| BSON | message |
|---|---|
| string, bool, null, number | as it is |
| date | ISO 8601 with its zone, UTC |
| ObjectId, Decimal128, UUID | their text |
| object, array | JSON text, in a field that the stream declares `json`; dates and ids in it as above |
| anything else, names that begin with `_` | refused |

In a field that is declared `json` every value but null is JSON text. The `_mid` is made of the edge, the `_id` and the
value of the ordering field: the same document gets the same one whenever it is read, and another one once it has a new
value.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import bson
import msgspec
from bson import json_util
from bson.binary import UUID_SUBTYPE, Binary
from bson.decimal128 import Decimal128
from bson.objectid import ObjectId

from dataflow.errors import InvalidMessage
from dataflow.faults import show
from dataflow.flow.spec import Edge, Schema
from dataflow.message import Codec, extend_path, meta
from dataflow.outbox import ID
from sync.refused import sentence
from sync.sink import Refusal, Row

MAX_KEPT: Final = 1 << 20
"""Characters of a document that a dead letter keeps."""
MAX_DEPTH: Final = 100
"""Levels of values within values that a document of MongoDB may have."""
_SHORT: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")


class _Unfit(Exception):
    """A value that no message can hold. The only argument says why."""


@dataclass(frozen=True, slots=True)
class Misfit:
    """A document that cannot be a message: why, and its dead letter, complete."""

    why: Refusal
    letter: Row


class Messages:
    """Makes the messages of one edge. Holds nothing but caches.

    Args:
        edge: of kind mongo2s.
        schema: of its target stream; None where that declares none.
    """

    def __init__(self, edge: Edge, schema: Schema | None) -> None:
        self._edge = edge
        self._codec = Codec(schema)
        self._json = frozenset(name for name, field in (schema or {}).items() if field.type == "json")

    def make(self, document: Mapping[str, Any], now_ms: int) -> Row | Misfit:
        """The entry of a document: `_mid`, `_path`, then its fields; or why there is none."""
        head = meta(self.mid(document), extend_path("", self._edge.name, now_ms))
        try:
            return head + self._codec.encode(self._fields(document))
        except InvalidMessage as error:
            fault = error.faults[0]
            return self._misfit(document, head, Refusal(fault.field, "", fault.text))
        except _Unfit as unfit:
            name, reason = unfit.args
            return self._misfit(document, head, Refusal(name, "", reason))

    def mid(self, document: Mapping[str, Any]) -> str:
        """The `_mid` of a document: `<edge>/<_id>/<digest>`, without an `_id` that is long or holds strange letters."""
        identity = bson.encode({"id": document[ID], "by": document.get(self._edge.by)})
        digest = hashlib.blake2b(identity, digest_size=12).hexdigest()
        id_ = _id_text(document[ID])
        return f"{self._edge.name}/{id_}/{digest}" if _SHORT.fullmatch(id_) else f"{self._edge.name}/{digest}"

    def _fields(self, document: Mapping[str, Any]) -> dict[str, Any]:
        chosen = self._edge.fields
        names = [name for name in document if name != ID] if chosen is None else [n for n in chosen if n in document]
        fields = {name: self._value(name, document[name]) for name in names}
        if self._edge.id_field is not None:
            if self._edge.id_field in fields:
                raise _Unfit(self._edge.id_field, "the document has a field of this name, which `id_field` needs")
            fields[self._edge.id_field] = self._value(ID, document[ID])
        return fields

    def _value(self, name: str, value: Any) -> Any:
        try:
            if name in self._json and value is not None:
                return msgspec.json.encode(_nested(value, 2)).decode()
            if isinstance(value, dict | list):
                raise _Unfit(name, "an object or a list; declare the field `json` in the schema of the stream")
            return _scalar(value)
        except _Unfit as unfit:
            raise _Unfit(name, unfit.args[-1]) from None
        except UnicodeEncodeError:
            raise _Unfit(name, "it holds bytes that are no UTF-8 text") from None

    def _misfit(self, document: Mapping[str, Any], head: Row, why: Refusal) -> Misfit:
        text = json_util.dumps(document, json_options=json_util.RELAXED_JSON_OPTIONS)
        error = sentence(why)
        if len(text) > MAX_KEPT:
            error += f" (of the document's {len(text)} characters of JSON the first {MAX_KEPT} are kept)"
        letter = {
            "_dead_reason": "refused", "_dead_error": error, "_dead_attempts": "1", "_dead_lane": "main",
            "_dead_id": _id_text(document[ID]),
        }  # fmt: skip
        parts = [part.encode(errors="replace") for pair in letter.items() for part in pair]
        return Misfit(why, [*parts, *head, b"document", text[:MAX_KEPT].encode(errors="replace")])


def _id_text(value: Any) -> str:
    """An `_id` as people write it."""
    return value.hex() if isinstance(value, bytes) else str(value)


def _scalar(value: Any) -> Any:
    if value is None or isinstance(value, bool | str | float):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, ObjectId | Decimal128):
        return str(value)
    if isinstance(value, Binary) and value.subtype == UUID_SUBTYPE:
        return str(value.as_uuid())
    raise _Unfit("", f"a message cannot hold a {type(value).__name__}: {show(str(value))}")


def _nested(value: Any, depth: int) -> Any:
    """A value as JSON has it. Checks numbers and depth."""
    if depth > MAX_DEPTH:
        raise _Unfit("", f"nested deeper than {MAX_DEPTH} levels")
    if isinstance(value, Mapping):
        return {name: _nested(inner, depth + 1) for name, inner in value.items()}
    if isinstance(value, list):
        return [_nested(inner, depth + 1) for inner in value]
    if isinstance(value, float) and not abs(value) <= 1.7976931348623157e308:
        raise _Unfit("", f"JSON has no {value}")
    return _scalar(value)
