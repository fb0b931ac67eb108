"""The load: HTTP clients that send one request after the other, each until it is answered, and write down which were.

A request keeps its idempotency key however often it is sent. So the messages of a client are numbered without gaps, and
all it takes to know which were accepted is how many: memory does not grow.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

import msgspec

from dataflow.client import Hub, HubBusy
from dataflow.errors import DataflowError, OutcomeUnknown, ServerAway
from dataflow.testing.chaos.content import SENT, made

BATCH = 25
PAUSE_S = 0.1
"""Between two requests of a client."""
REPEAT_EVERY = 5
"""Every so many requests, one that was accepted is sent again, as a client does that has lost the answer."""

_TIMEOUT_S = 4.0
_PATIENCE_S = 8.0


class Accepted(msgspec.Struct, frozen=True):
    """One accepted request: the messages first ... first + count - 1 of a client, and the id of the first."""

    client: int
    first: int
    count: int
    mid: str


class Journal:
    """The accepted requests in a file, one JSON line each. Threads may share it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: TextIO = path.open("a", encoding="utf-8")
        self._lock = threading.Lock()

    def add(self, accepted: Accepted) -> None:
        """Write one down."""
        line = msgspec.json.encode(accepted).decode()
        with self._lock:
            self._file.write(line + "\n")
            self._file.flush()

    def find(self, client: int, n: int) -> str | None:
        """The `_mid` that a message was given, None if it was not accepted. Reads the file."""
        with self._path.open("rb") as file:
            for line in file:
                one = msgspec.json.decode(line, type=Accepted)
                if one.client == client and one.first <= n < one.first + one.count:
                    return f"{one.mid.rpartition('-')[0]}-{n - one.first}"
        return None

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class Sender(threading.Thread):
    """One client. `accepted` messages were answered with 2xx: those numbered below it, and no other.

    Args:
        client: its number.
        hub_url: asked before each request; the hub may have moved.
        journal: where accepted requests are written down.
    """

    def __init__(self, client: int, hub_url: Callable[[], str], journal: Journal) -> None:
        super().__init__(name=f"client {client}", daemon=True)
        self.client = client
        self.accepted = 0
        self.refusal: DataflowError | None = None
        self._hub_url, self._journal = hub_url, journal
        self._leaving = threading.Event()
        self._given_up = threading.Event()

    def leave(self) -> None:
        """Begin no further request."""
        self._leaving.set()

    def give_up(self) -> None:
        """Do not even finish the request in hand."""
        self._given_up.set()

    @property
    def undecided(self) -> range:
        """Numbers of messages that were sent and never answered for."""
        return range(self.accepted, self.accepted + (BATCH if self.is_alive() else 0))

    def run(self) -> None:
        """Send until told to leave, or until the hub refuses a request that is in order."""
        try:
            for request in self._requests():
                mids = self._until_answered(request)
                if not mids:
                    return
                self._journal.add(Accepted(self.client, request * BATCH, BATCH, mids[0]))
                self.accepted += BATCH
                if request % REPEAT_EVERY == REPEAT_EVERY - 1:
                    self._repeat(request, mids)
        except DataflowError as refusal:
            self.refusal = refusal

    def _requests(self) -> Iterator[int]:
        request = 0
        while not self._leaving.wait(PAUSE_S):
            yield request
            request += 1

    def _until_answered(self, request: int) -> list[str]:
        """The ids of its messages; none if we were told to give up."""
        while not self._given_up.is_set():
            try:
                return self._send(request)
            except (ServerAway, OutcomeUnknown, HubBusy):
                continue
        return []

    def _repeat(self, request: int, mids: list[str]) -> None:
        again = self._until_answered(request)
        if again and again != mids:
            raise DataflowError(f"client {self.client}: request {request} was stored twice: {mids[0]} and {again[0]}")

    def _send(self, request: int) -> list[str]:
        with Hub(self._hub_url(), timeout_s=_TIMEOUT_S, patience_s=_PATIENCE_S) as hub:
            return hub.send(_messages(self.client, request), idempotency_key=f"{self.client}-{request}").ids


def _messages(client: int, request: int) -> list[Mapping[str, Any]]:
    first = request * BATCH
    return [made(SENT, client, n) for n in range(first, first + BATCH)]
