"""Entries as sinks get them: every row has a `_mid`, and nothing that is only meant for the source.

An entry that another program wrote has no `_mid`; it gets one from its place in the stream, the same whenever it is
read. A message that came back stands in the retry stream under another id, and remembers its first one in `_origin`.
"""

from __future__ import annotations

from typing import Final

from dataflow.ids import foreign_id
from dataflow.message import ATTEMPT, MID
from sync.sink import Row

ORIGIN: Final = b"_origin"
_OF_THE_SOURCE: Final = frozenset({MID, ATTEMPT, ORIGIN})


def as_row(stream: str, id_: bytes, fields: list[bytes]) -> Row:
    """The row of an entry: `_mid` first, then the other fields as they stand."""
    own: dict[bytes, bytes] = {}
    rest: list[bytes] = []
    for name, value in zip(fields[::2], fields[1::2], strict=True):
        if name in _OF_THE_SOURCE:
            own[name] = value
        else:
            rest += (name, value)
    return [MID, own.get(MID) or _foreign(stream, id_, own.get(ORIGIN, b"")), *rest]


def _foreign(stream: str, id_: bytes, origin: bytes) -> bytes:
    first_id = origin.partition(b"/")[2] or id_
    return foreign_id(stream, first_id.decode(errors="replace")).encode()
