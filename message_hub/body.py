"""The bytes of a request: which media type they are said to be, unpacked, and not too many."""

from __future__ import annotations

import zlib
from typing import Literal

from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.wrappers import Request

from message_hub.refusal import Refusal

Form = Literal["json", "lines"]

_FORMS: dict[str, Form] = {
    "": "json",
    "application/json": "json",
    "application/x-ndjson": "lines",
    "application/ndjson": "lines",
    "application/jsonl": "lines",
    "application/x-jsonlines": "lines",
}
_ACCEPTS = {"Accept-Post": "application/json, application/x-ndjson"}
_GZIP = 16 + zlib.MAX_WBITS


def read_body(request: Request, limit: int) -> tuple[bytes, Form]:
    """Read and unpack a request's body of at most `limit` bytes. Blocks until the caller has sent it.

    Raises:
        Refusal: 413 too large, 415 a media type, character set or compression that is not known, 400 broken gzip.
    """
    form = _form(request)
    packed = request.headers.get("Content-Encoding", "").strip().lower()
    if packed not in ("", "identity", "gzip", "x-gzip"):
        raise Refusal(415, f"Content-Encoding {packed!r} is not known; send gzip or nothing")
    request.max_content_length = limit
    try:
        body = request.get_data(cache=False)
    except RequestEntityTooLarge:
        raise _too_large(limit) from None
    return (gunzip(body, limit) if "gzip" in packed else body), form


def gunzip(body: bytes, limit: int) -> bytes:
    """Unpack gzip data of one or more members, never more than `limit` bytes. Raises Refusal 400, 413."""
    parts: list[bytes] = []
    room = limit
    while body:
        member = zlib.decompressobj(_GZIP)
        try:
            part = member.decompress(body, room + 1)
        except zlib.error as error:
            raise Refusal(400, f"the body is not gzip, as Content-Encoding says: {error}") from None
        room -= len(part)
        if room < 0:
            raise _too_large(limit)
        if not member.eof:
            raise Refusal(400, "the gzip body ends too early")
        parts.append(part)
        body = member.unused_data
    return b"".join(parts)


def _form(request: Request) -> Form:
    form = _FORMS.get(request.mimetype)
    if form is None:
        text = f"Content-Type {request.mimetype!r} is not known; send application/json or application/x-ndjson"
        raise Refusal(415, text, headers=_ACCEPTS)
    charset = request.mimetype_params.get("charset", "utf-8").lower()
    if charset not in ("utf-8", "utf8", "us-ascii"):
        raise Refusal(415, f"charset {charset!r} is not known; send UTF-8")
    return form


def _too_large(limit: int) -> Refusal:
    return Refusal(413, f"the body is larger than {limit} bytes; send the messages in several requests")
