"""A small client of the message hub, for programs that send messages.

from dataflow.client import Hub

with Hub("http://127.0.0.1:24100") as hub:
    hub.send({"rec_id": str(n), "task_for": "anomaly", "function_type": "score", "flow": 1.5} for n in range(10_000))
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self
from uuid import uuid4

import httpx
import msgspec

from dataflow.errors import DataflowError, Fault, InvalidMessage, OutcomeUnknown, ServerAway, UnknownName, UserError

CHUNK_MESSAGES = 1000
CHUNK_BYTES = 4 * 1024 * 1024
FIRST_WAIT_S = 0.1
LONGEST_WAIT_S = 5.0

Message = Mapping[str, Any]


class HubRefused(UserError):
    """The hub will not take this request as it stands; nothing of it was stored."""


class HubBusy(DataflowError):
    """The flow had no room until the deadline; nothing of the last chunk was stored. Send the rest later."""

    exit_code = 5


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
    """

    def __init__(self, url: str, *, timeout_s: float = 30.0, patience_s: float = 300.0) -> None:
        self._http = httpx.Client(base_url=url.rstrip("/"), timeout=timeout_s, trust_env=False)
        self._patience_s = patience_s

    def send(
        self,
        messages: Iterable[Message],
        *,
        stream: str | None = None,
        idempotency_key: str | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> Sent:
        """Send messages, in order, in chunks. Each chunk is stored whole or not at all, and never twice.

        Waits while the flow is full (429) and tries again when an answer is lost, with the same key, so that
        nothing is stored twice.

        Args:
            messages: flat dicts; consumed as they are sent, so they may be endless.
            stream: straight to this stream; None: each to the stream that accepts its task_for and function_type.
            idempotency_key: calling again with the same key and messages stores nothing again for 24 hours.
                None takes a random one.
            progress: told the number of messages accepted so far after each chunk.

        Raises:
            InvalidMessage: with faults by position in `messages`. Chunks before that one are stored.
            HubRefused, UnknownName, HubBusy, ServerAway: nothing of the last chunk was stored.
            OutcomeUnknown: no answer until the deadline; call again with the same idempotency_key.
        """
        key = idempotency_key or uuid4().hex
        path = "/message_hub/" if stream is None else f"/streams/{stream}/messages"
        sent = Sent()
        for number, (first, body) in enumerate(_chunks(messages)):
            answer = self._post(path, body, f"{key}.{number}", first)
            ids = msgspec.json.decode(answer.content)["data"]["ids"]
            sent.ids += ids
            sent.repeated += len(ids) if answer.headers.get("Idempotency-Replayed") == "true" else 0
            if progress is not None:
                progress(sent.accepted)
        return sent

    def find(self, mid: str) -> dict[str, Any]:
        """Where a message is: {state, places, output, ...}; state "unknown" if it is nowhere. Raises ServerAway."""
        try:
            answer = self._http.get(f"/messages/{mid}")
        except httpx.HTTPError as error:
            raise self._away(error) from error
        data: dict[str, Any] = msgspec.json.decode(answer.content)["data"]
        return data

    def close(self) -> None:
        """Let go of the connection."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _post(self, path: str, body: bytes, key: str, first: int) -> httpx.Response:
        headers = {"Content-Type": "application/json", "Idempotency-Key": key}
        deadline, wait_s = time.monotonic() + self._patience_s, FIRST_WAIT_S
        sent_before = False
        while True:
            try:
                answer = self._http.post(path, content=body, headers=headers)
            except httpx.HTTPError as error:
                sent_before = sent_before or not isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)
                problem: DataflowError = self._lost(error) if sent_before else self._away(error)
            else:
                if answer.status_code == httpx.codes.ACCEPTED:
                    return answer
                problem, sent_before = _problem(answer, first, sent_before)
                wait_s = max(wait_s, _retry_after_s(answer))
            if time.monotonic() + wait_s > deadline:
                raise problem
            time.sleep(wait_s)
            wait_s = min(wait_s * 2, LONGEST_WAIT_S)

    def _away(self, error: Exception) -> ServerAway:
        return ServerAway(f"cannot reach the hub at {self._http.base_url}: {error}; is `dataflow up` running?")

    def _lost(self, error: Exception) -> OutcomeUnknown:
        return OutcomeUnknown(
            f"the hub at {self._http.base_url} did not answer ({error}); what was sent last may have been stored: "
            "send it again with the same idempotency key"
        )


def _chunks(messages: Iterable[Message]) -> Iterator[tuple[int, bytes]]:
    """(position of the first message, JSON list) for each request."""
    encode = msgspec.json.Encoder().encode
    parts: list[bytes] = []
    first = size = 0
    for message in messages:
        part = encode(message)
        if parts and (len(parts) >= CHUNK_MESSAGES or size + len(part) > CHUNK_BYTES):
            yield first, b"[" + b",".join(parts) + b"]"
            first, size, parts = first + len(parts), 0, []
        parts.append(part)
        size += len(part) + 1
    if parts:
        yield first, b"[" + b",".join(parts) + b"]"


def _problem(answer: httpx.Response, first: int, sent_before: bool) -> tuple[DataflowError, bool]:
    """What an answer other than 202 means: raised at once if trying again is no use, else (error, may be stored)."""
    try:
        body = msgspec.json.decode(answer.content)
        text, data = str(body["msg"]), body["data"]
    except (msgspec.DecodeError, KeyError, TypeError):
        text, data = f"HTTP {answer.status_code} from something that is not a message hub", {}
    if answer.status_code == httpx.codes.UNPROCESSABLE_ENTITY and data.get("errors"):
        faults = [Fault(**fault) for fault in data["errors"]]
        raise InvalidMessage([replace(fault, index=fault.index + first) for fault in faults])
    if answer.status_code == httpx.codes.NOT_FOUND:
        raise UnknownName(text)
    if answer.status_code == httpx.codes.TOO_MANY_REQUESTS:
        return HubBusy(text), sent_before
    if answer.status_code >= httpx.codes.INTERNAL_SERVER_ERROR:
        unknown = sent_before or data.get("outcome") != "not_stored"
        return (OutcomeUnknown(text) if unknown else ServerAway(text)), unknown
    raise HubRefused(text)


def _retry_after_s(answer: httpx.Response) -> float:
    value = answer.headers.get("Retry-After", "")
    return float(value) if value.isdigit() else 0.0
