"""The bytes of a request: which media type they are said to be, unpacked, and not too many."""

from __future__ import annotations

import zlib
from typing import Literal

from gunicorn.http.errors import ParseException
from werkzeug.wrappers import Request

from dataflow.faults import show
from message_hub.refusal import Refusal

Form = Literal["json", "lines"]

_FORMS: dict[str, Form] = {
    "application/json": "json",
    "application/x-ndjson": "lines",
    "application/ndjson": "lines",
    "application/jsonl": "lines",
    "application/x-jsonlines": "lines",
}
_UNTOLD = ("", "application/x-www-form-urlencoded")
"""What a program sends that was told no media type; the latter is what `curl -d` says."""

_MAX_MEMBERS = 1000
_ACCEPTS = {"Accept-Post": "application/json, application/x-ndjson"}
_GZIP = 16 + zlib.MAX_WBITS


def read_body(request: Request, limit: int) -> tuple[bytes, Form]:
    """Read and unpack a request's body of at most `limit` bytes. Blocks until the caller has sent it.

    A body of no media type, or of the one that `curl -d` claims for all it sends, is taken for JSON, but not from a
    web page: a browser lets any page send such bodies anywhere, this hub included, without asking first.

    Raises:
        Refusal: 413 too large, 415 a media type, character set or compression that is not known, 400 broken gzip.
    """
    environ = request.environ
    form = "json" if environ.get("CONTENT_TYPE") == "application/json" else _form(request)
    packed = environ.get("HTTP_CONTENT_ENCODING", "").strip().lower()
    if packed not in ("", "identity", "gzip", "x-gzip"):
        text = f"Content-Encoding {show(packed)!r} is not known; nothing was stored: send gzip or nothing"
        raise Refusal(415, text, headers={"Accept-Encoding": "gzip"})
    body = _read(request, limit)
    return (gunzip(body, limit) if "gzip" in packed else body), form


def _read(request: Request, limit: int) -> bytes:
    """Straight from gunicorn, which knows where a body ends: the streams of Flask around it cost more than the reading.

    Asks for one byte more than allowed where the length is not told, so that what is too much is not cut off.
    """
    told = request.content_length
    if told is not None and told > limit:
        raise _too_large(limit)
    try:
        body: bytes = request.environ["wsgi.input"].read(limit + 1 if told is None else told)
    except (ParseException, OSError) as error:
        raise Refusal(400, f"the body cannot be read; nothing was stored: {error}") from None
    if len(body) > limit:
        raise _too_large(limit)
    if told not in (None, len(body)):
        raise Refusal(400, f"the body broke off after {len(body)} of {told} bytes; nothing was stored")
    return body


def gunzip(body: bytes, limit: int) -> bytes:
    """Unpack gzip data of one or more members, never more than `limit` bytes. Raises Refusal 400, 413."""
    parts: list[bytes] = []
    room = limit
    while body:
        if len(parts) == _MAX_MEMBERS:
            raise Refusal(400, f"the gzip body has more than {_MAX_MEMBERS} members; pack it as one")
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
    untold = request.mimetype in _UNTOLD and "Origin" not in request.headers
    form = "json" if untold else _FORMS.get(request.mimetype)
    if form is None:
        text = f"Content-Type {show(request.mimetype)!r} is not known; nothing was stored: send application/json, or "
        text += "application/x-ndjson for one object per line (curl: -H 'Content-Type: application/json')"
        raise Refusal(415, text, headers=_ACCEPTS)
    charset = request.mimetype_params.get("charset", "utf-8").lower()
    if charset not in ("utf-8", "utf8", "us-ascii"):
        raise Refusal(415, f"charset {show(charset)!r} is not known; nothing was stored: send UTF-8")
    return form


def _too_large(limit: int) -> Refusal:
    text = f"the body is larger than {limit} bytes; nothing was stored: send the messages in several requests"
    return Refusal(413, text)
