"""What a MongoDB's answer to a bulk of upserts says about single documents. Pure.

A document that the server will refuse whenever it is sent (another document has the same value in a unique index, the
collection's validator says no ...) is told from everything else, after which the outcome is unknown and the same is
sent again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pymongo.errors import BulkWriteError, OperationFailure

_DUPLICATE: Final = 11000
_FOREVER: Final = frozenset(
    {
        2, 9, 14, 22, 28, 52, 54, 55, 56, 57, 66, 121, 171, 10334, 11000, 16755, 16756, 17280, 17419, 17420,
    }
)  # fmt: skip
"""Bad value, type, BSON, path or name; validation; unique, geo and multikey indexes; key or document too large."""

_FOREVER_TEXTS: Final = ("UNIQUE constraint failed", "Invalid JSON document", "not JSON serializable", "malformed JSON")
"""How the embedded server, which gives no codes, begins or ends to say the same."""

_DENIED: Final = frozenset({13, 18, 20, 26, 73, 166, 8000})
"""The server refuses all of it: not allowed, not logged in, no such database, a view, a reserved name."""


def document_refusal(error: Mapping[str, Any]) -> str | None:
    """Why a single document can never be stored; "" if it is there already; None if the error says neither.

    Args:
        error: `code` and `errmsg` of the server.
    """
    code, text = error.get("code"), str(error.get("errmsg", ""))
    if code == _DUPLICATE and _is_id(error, text):
        return ""
    if code in _FOREVER or (code is None and any(one in text for one in _FOREVER_TEXTS)):
        return text.partition(", full error:")[0]
    return None


def _is_id(error: Mapping[str, Any], text: str) -> bool:
    """Two runners inserted the same document at once: the index on `_id` let one of them."""
    pattern = error.get("keyPattern")
    return list(pattern) == ["_id"] if isinstance(pattern, Mapping) else " index: _id_ " in text


def is_denied(error: OperationFailure) -> bool:
    """Whether the server refuses the command whatever the documents are."""
    return error.code in _DENIED


def of_bulk(error: BulkWriteError) -> dict[int, Mapping[str, Any]]:
    """Position in the bulk -> error, of the documents that were not stored."""
    return {one["index"]: one for one in error.details.get("writeErrors", ())}


def concern(error: BulkWriteError) -> str:
    """What the server says about the write concern; "" if it was met."""
    return "; ".join(str(one.get("errmsg", one)) for one in error.details.get("writeConcernErrors", ()))
