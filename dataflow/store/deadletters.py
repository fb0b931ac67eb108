"""The dead letters of a reader: what it could not handle, with the reason, and the way back.

Each reader of a stream has dead letters of its own. Replayed, they come back to that reader alone, through its retry
stream: other readers of the stream have had the message already.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import msgspec
from redis.exceptions import ResponseError

from dataflow.errors import NotDeclared
from dataflow.store.keys import Keys
from dataflow.store.redis import Client, call
from dataflow.store.script import script

MAX_REPLAY = 500
"""Most dead letters that one script gives back; a script holds up everyone else while it runs."""

_PAGE = 500
_PREFIX = "_dead_"
_OURS = ("_mid", "_path", "_attempt", "_origin", "_since", "_null")


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One message that could not go on.

    id: of the dead letter; its first part is the time of death (ms since 1970). reason: a short code. error: a
    sentence or a traceback. lane: where it was read last, main or retry. origin: `main/<entry id>`, where the message
    was first. fields: the user's fields as texts; a null field is not there, it is named in `nulls`.
    """

    id: str
    stream: str
    group: str
    reason: str
    error: str
    attempts: int
    lane: str
    origin: str
    mid: str
    path: str
    fields: Mapping[str, str]
    nulls: tuple[str, ...]
    replayable: bool

    @property
    def died_ms(self) -> int:
        """When it died, in ms since 1970, by the clock of Redis."""
        return int(self.id.partition("-")[0])


class DeadLetters:
    """The dead letters of one reader of one stream. Blocking; keeps no state of its own.

    Every call raises ServerAway and OutcomeUnknown; all may be repeated.
    """

    def __init__(self, redis: Client, keys: Keys, stream: str, group: str) -> None:
        self._redis = redis
        self._stream, self._group = stream, group
        self._at = keys.dead(stream, group)
        retry, main = keys.retry(stream, group), keys.stream(stream)
        self._replay_keys = [
            self._at.stream, self._at.counts, retry.stream, retry.counts, main.counts, main.groups,
        ]  # fmt: skip

    def count(self) -> int:
        """How many there are."""
        return int(call(self._redis, "XLEN", self._at.stream))

    def page(self, after: str = "", count: int = _PAGE) -> list[DeadLetter]:
        """Up to `count` dead letters after an id, the oldest first."""
        first = f"({after}" if after else "-"
        rows = call(self._redis, "XRANGE", self._at.stream, first, "+", "COUNT", count)
        return [dead_letter(self._stream, self._group, id_, fields) for id_, fields in rows]

    def __iter__(self) -> Iterator[DeadLetter]:
        """All of them, the oldest first, read page by page; what dies meanwhile may be among them."""
        page = self.page()
        while page:
            yield from page
            page = self.page(page[-1].id)

    def get(self, id_: str) -> DeadLetter | None:
        """One dead letter by its id; None if it is not there."""
        try:
            rows = call(self._redis, "XRANGE", self._at.stream, id_, id_)
        except ResponseError as error:
            if "Invalid stream ID" in str(error):
                return None
            raise
        return dead_letter(self._stream, self._group, *rows[0]) if rows else None

    def replay(self, ids: Sequence[str]) -> int:
        """Give dead letters back to their reader, with their attempts forgotten. Returns how many were moved.

        Each moves in one step, 500 at a time; ids that are not there (any more) are passed over, so that the call may
        be repeated. Raises NotDeclared when nobody would read them.
        """
        return sum(self._replay(ids[first : first + MAX_REPLAY]) for first in range(0, len(ids), MAX_REPLAY))

    def replay_all(self) -> int:
        """Give back all that are there now; what dies meanwhile stays. Returns how many were moved."""
        newest = call(self._redis, "XREVRANGE", self._at.stream, "+", "-", "COUNT", 1)
        if not newest:
            return 0
        moved, first, last = 0, b"-", newest[0][0]
        while rows := call(self._redis, "XRANGE", self._at.stream, first, last, "COUNT", MAX_REPLAY):
            moved += self._replay([id_.decode() for id_, _ in rows])
            first = b"(" + rows[-1][0]
        return moved

    def _replay(self, ids: Sequence[str]) -> int:
        answer = script("replay").run(self._redis, self._replay_keys, [self._group, *ids])
        if answer[0] != b"OK":
            raise NotDeclared(
                f"{self._group!r} is no reader of stream {self._stream!r} (any more), no one would handle them: "
                "put it back into the flow file and run `dataflow apply`"
            )
        return int(answer[1])


def dead_letter(stream: str, group: str, id_: bytes, fields: Sequence[bytes]) -> DeadLetter:
    """Read the entry of a dead letter. Whatever another program may have put there is shown as well as it can be."""
    texts = _texts(fields)
    packed = texts.pop(f"{_PREFIX}packed", None) is not None
    if packed:
        texts |= _texts(_unpacked(fields))
    lane, dead_id = texts.get("_dead_lane", "main"), texts.get("_dead_id", "")
    attempts = texts.get("_dead_attempts", "")
    return DeadLetter(
        id=id_.decode(),
        stream=stream,
        group=group,
        reason=texts.get("_dead_reason", ""),
        error=texts.get("_dead_error", ""),
        attempts=int(attempts) if attempts.isdecimal() else 0,
        lane=lane,
        origin=texts.get("_origin", f"{lane}/{dead_id}"),
        mid=texts.get("_mid", ""),
        path=texts.get("_path", ""),
        fields={name: text for name, text in texts.items() if not name.startswith(_PREFIX) and name not in _OURS},
        nulls=_nulls(texts.get("_null")),
        replayable=not packed,
    )


def _texts(fields: Sequence[bytes]) -> dict[str, str]:
    parts = [part.decode(errors="backslashreplace") for part in fields]
    return dict(zip(parts[::2], parts[1::2], strict=True))


def _nulls(text: str | None) -> tuple[str, ...]:
    try:
        return msgspec.json.decode(text or "[]", type=tuple[str, ...])
    except msgspec.DecodeError:
        return ()


def _unpacked(fields: Sequence[bytes]) -> list[bytes]:
    """The fields of a letter that was too long to be kept one by one: MessagePack texts, which may be any bytes."""
    packed = fields[2 * fields[::2].index(b"_dead_packed") + 1]
    return [_text(part) for part in msgspec.msgpack.decode(packed, type=list[msgspec.Raw])]


def _text(part: msgspec.Raw) -> bytes:
    raw = bytes(part)
    head = {0xD9: 2, 0xDA: 3, 0xDB: 5, 0xC4: 2, 0xC5: 3, 0xC6: 5}.get(raw[0], 1)
    return raw[head:]
