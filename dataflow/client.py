"""A small client of the message hub, for programs that send messages.

from dataflow.client import Hub

with Hub("http://127.0.0.1:24100") as hub:
    hub.send({"rec_id": str(n), "task_for": "anomaly", "function_type": "score", "flow": 1.5} for n in range(10_000))
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Self
from urllib.parse import quote
from uuid import uuid4

import httpx
import msgspec

from dataflow.access.own import key_headers, own_key
from dataflow.errors import DataflowError, Fault, InvalidMessage, OutcomeUnknown, ServerAway, UnknownName, UserError
from dataflow.faults import kind, show
from dataflow.scalars import plain

CHUNK_MESSAGES = 1000
CHUNK_BYTES = 4 * 1024 * 1024
FIRST_WAIT_S = 0.1
LONGEST_WAIT_S = 5.0

Message = Mapping[str, Any]

_encode = msgspec.json.Encoder().encode


class HubRefused(UserError):
    """The hub will not take this request as it stands; nothing of it was stored."""


class HubBusy(DataflowError):
    """The flow had no room until the deadline; nothing of the last chunk was stored. Send the rest later."""

    exit_code = 5


class _TooLarge(HubRefused):
    """The hub takes smaller requests only."""


class _Chunk(NamedTuple):
    """One request: the key that names it, the position of its first message, its messages in JSON."""

    key: str
    first: int
    parts: Sequence[bytes]

    def halves(self) -> tuple[_Chunk, _Chunk]:
        """The same messages in two requests."""
        middle = len(self.parts) // 2
        return (
            _Chunk(f"{self.key}.0", self.first, self.parts[:middle]),
            _Chunk(f"{self.key}.1", self.first + middle, self.parts[middle:]),
        )


@dataclass(slots=True)
class Sent:
    """What the hub has accepted: message ids in the order sent. `repeated`: how many had been stored before."""

    ids: list[str] = field(default_factory=list)
    repeated: int = 0

    @property
    def accepted(self) -> int:
        """Number of messages."""
        return len(self.ids)


class Hub:
    """Sends messages to one hub. Blocking; one thread at a time. Close it, or use it as a context manager.

    Args:
        url: of the hub, for example http://127.0.0.1:24100.
        timeout_s: of one request.
        patience_s: how long one chunk is tried again while the flow is full or the hub away.
        transport: how requests are carried; None: by HTTP.
        key: API key; None: that of the environment (DATAFLOW_API_KEY, DATAFLOW_API_KEY_FILE), "": none.

    Raises UserError: the environment holds something that is not an API key.
    """

    def __init__(
        self,
        url: str,
        *,
        timeout_s: float = 30.0,
        patience_s: float = 300.0,
        transport: httpx.BaseTransport | None = None,
        key: str | None = None,
    ) -> None:
        headers = key_headers(own_key() if key is None else key)
        self._http = httpx.Client(
            base_url=url.rstrip("/"), timeout=timeout_s, trust_env=False, transport=transport, headers=headers
        )
        self._patience_s = patience_s

    def send(
        self,
        messages: Iterable[Message] | Message,
        *,
        stream: str | None = None,
        idempotency_key: str | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> Sent:
        """Send messages, in order, in chunks. Each chunk is stored whole or not at all, and never twice.

        Waits while the flow is full (429) and tries again when an answer is lost, with the same key, so that
        nothing is stored twice. A chunk that is too large for this hub is sent in halves.

        Args:
            messages: flat dicts, or one; consumed as they are sent, so they may be endless.
            stream: straight to this stream; None: each to the stream that accepts its task_for and function_type.
            idempotency_key: calling again with the same key and messages stores nothing again for as long as the hub
                remembers keys (24 hours unless set otherwise). At most 200 characters. None takes a random one.
            progress: told the number of messages accepted so far after each request.

        Raises:
            InvalidMessage: with faults by position in `messages`. Chunks before that one are stored.
            HubRefused, UnknownName, HubBusy, ServerAway: nothing of the last chunk was stored.
            OutcomeUnknown: no answer until the deadline; call again with the same idempotency_key.
        """
        key = idempotency_key or uuid4().hex
        path = "/message_hub/" if stream is None else f"/streams/{quote(stream, safe='')}/messages"
        sent = Sent()
        for chunk in _chunks([messages] if isinstance(messages, Mapping) else messages, key):
            for answer in self._deliver(path, chunk):
                ids = msgspec.json.decode(answer.content)["data"]["ids"]
                sent.ids += ids
                sent.repeated += len(ids) if answer.headers.get("Idempotency-Replayed") == "true" else 0
                if progress is not None:
                    progress(sent.accepted)
        return sent

    def find(self, mid: str) -> dict[str, Any]:
        """Where a message is: {state, places, output, ...}; state "unknown" if it is nowhere.

        Raises ServerAway when the hub, or its Redis, does not answer.
        """
        try:
            answer = self._http.get(f"/messages/{quote(mid, safe='/')}")
        except httpx.HTTPError as error:
            raise self._away(error) from error
        text, data = _read(answer)
        if "state" in data:
            return data
        raise ServerAway(text) if answer.is_server_error else HubRefused(text)

    def close(self) -> None:
        """Let go of the connection."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _deliver(self, path: str, chunk: _Chunk) -> Iterator[httpx.Response]:
        """The answers to a chunk: one, or more where it had to be cut."""
        try:
            yield self._post(path, chunk)
            return
        except _TooLarge:
            if len(chunk.parts) == 1:
                raise
        for half in chunk.halves():
            yield from self._deliver(path, half)

    def _post(self, path: str, chunk: _Chunk) -> httpx.Response:
        headers = {"Content-Type": "application/json", "Idempotency-Key": chunk.key}
        body = b"[" + b",".join(chunk.parts) + b"]"
        deadline, wait_s = time.monotonic() + self._patience_s, FIRST_WAIT_S
        perhaps_stored = False
        while True:
            pause_s = wait_s
            try:
                answer = self._http.post(path, content=body, headers=headers)
            except httpx.HTTPError as error:
                perhaps_stored = perhaps_stored or not isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)
                problem: DataflowError = self._lost(error) if perhaps_stored else self._away(error)
            else:
                if answer.status_code == httpx.codes.ACCEPTED:
                    return answer
                problem = _problem(answer, chunk.first)
                perhaps_stored = perhaps_stored or isinstance(problem, OutcomeUnknown)
                if perhaps_stored:
                    problem = OutcomeUnknown(str(problem))
                pause_s = max(wait_s, _retry_after_s(answer))
            if time.monotonic() + pause_s > deadline:
                raise problem
            time.sleep(pause_s)
            wait_s = min(wait_s * 2, LONGEST_WAIT_S)

    def _away(self, error: Exception) -> ServerAway:
        return ServerAway(f"cannot reach the hub at {self._http.base_url}: {error}; is `dataflow up` running?")

    def _lost(self, error: Exception) -> OutcomeUnknown:
        return OutcomeUnknown(
            f"the hub at {self._http.base_url} did not answer ({error}); what was sent last may have been stored: "
            "send it again with the same idempotency key"
        )


def _chunks(messages: Iterable[Message], key: str) -> Iterator[_Chunk]:
    """The messages in requests of a size that depends on them alone, so that a repeated call makes the same ones."""
    parts: list[bytes] = []
    number = first = size = 0
    for message in messages:
        part = _json(message, first + len(parts))
        if parts and (len(parts) >= CHUNK_MESSAGES or size + len(part) > CHUNK_BYTES):
            yield _Chunk(f"{key}.{number}", first, parts)
            number, first, size, parts = number + 1, first + len(parts), 0, []
        parts.append(part)
        size += len(part) + 1
    if parts:
        yield _Chunk(f"{key}.{number}", first, parts)


def _json(message: Message, index: int) -> bytes:
    """A message as JSON, scalars of numpy and pandas too. Raises InvalidMessage for what JSON cannot hold."""
    try:
        part = _encode(message)
        if b"null" not in part:  # as which NaN and the infinities would be written
            return part
    except (TypeError, ValueError, OverflowError, RecursionError):
        pass
    if not isinstance(message, Mapping):
        text = f"a message is an object of names and values, not {kind(message)}"
        raise InvalidMessage([Fault(index, "", "not_a_dict", text)])
    values = {str(name): plain(value) for name, value in message.items()}
    faults = [Fault(index, show(name), *wrong) for name, value in values.items() if (wrong := _unfit(value))]
    if faults:
        raise InvalidMessage(faults)
    return _encode(values)


def _unfit(value: object) -> tuple[str, str] | None:
    """Code and text of why a value cannot be sent as JSON."""
    if isinstance(value, float) and not math.isfinite(value):
        return "wrong_type", f"JSON has no {value}; send null, or text"
    try:
        _encode(value)
    except UnicodeEncodeError:
        return "bad_unicode", "the text holds half of a surrogate pair, which UTF-8 cannot write"
    except (TypeError, ValueError, OverflowError, RecursionError):
        return "wrong_type", f"{kind(value)} cannot be sent; values are text, numbers, true, false or null"
    return None


def _problem(answer: httpx.Response, first: int) -> DataflowError:
    """What an answer other than 202 means: raised at once if trying again is no use, else given."""
    text, data = _read(answer)
    if answer.status_code == httpx.codes.UNPROCESSABLE_ENTITY and data.get("errors"):
        faults = [Fault(**fault) for fault in data["errors"]]
        raise InvalidMessage([replace(fault, index=fault.index + first) for fault in faults])
    if answer.status_code == httpx.codes.NOT_FOUND:
        raise UnknownName(text)
    if answer.status_code == httpx.codes.REQUEST_ENTITY_TOO_LARGE:
        raise _TooLarge(text)
    if answer.status_code == httpx.codes.TOO_MANY_REQUESTS:
        return HubBusy(text)
    if answer.is_server_error:
        return ServerAway(text) if data.get("outcome") == "not_stored" else OutcomeUnknown(text)
    raise HubRefused(text)


def _read(answer: httpx.Response) -> tuple[str, dict[str, Any]]:
    """`msg` and `data` of an answer."""
    try:
        body = msgspec.json.decode(answer.content)
        return str(body["msg"]), dict(body["data"])
    except (msgspec.DecodeError, KeyError, TypeError, ValueError):
        return f"HTTP {answer.status_code} from something that is not a message hub", {}


def _retry_after_s(answer: httpx.Response) -> float:
    value = answer.headers.get("Retry-After", "")
    return float(value) if value.isascii() and value.isdigit() else 0.0
