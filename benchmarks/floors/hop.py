"""A worker by hand: XREADGROUP, dicts, the handler, packed XADDs, XACK and XDEL in one pipeline.

    python -m benchmarks.floors.hop URL SOURCE TARGET GROUP COUNT BATCH one|many turns|ahead

`turns`: read, handle, write, wait. `ahead`: the next batch is asked for before the last one is handled, and what became
of what was written is looked at a batch later.

Dies: what it had read waits for ever. Dies while it writes: part of a batch is written and runs again. Twice the same
consumer: everything twice. A full target: nothing stops it.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import Any

from benchmarks import steps
from benchmarks.wire import Wire, pack
from dataflow.process import collect_seldom

NODE = "work"


def main(url: str, source: str, target: str, group: str, *, count: int, batch: int, form: str, ahead: bool) -> None:
    """Move `count` messages, all of which are there."""
    read = pack(("XREADGROUP", "GROUP", group, "c", "COUNT", batch, "STREAMS", source, ">"))
    handle = steps.many if form == "many" else lambda messages: [steps.one(message) for message in messages]
    moved = before_read = after_read = 0  # replies that are still to come before, and after, that of the read
    with Wire(url) as wire:
        wire.send(read)
        while moved < count:
            rows = wire.receive(before_read + 1)[-1][0][1]
            before_read = after_read
            if ahead:
                wire.send(read)
            outputs = handle([decode(fields) for _, fields in rows])
            wire.send(commands(source, target, group, rows, outputs))
            if ahead:
                after_read = len(rows) + 2
            else:
                wire.receive(len(rows) + 2)
                wire.send(read)
            moved += len(rows)
        wire.receive(before_read + 1 + after_read)


def decode(fields: Sequence[bytes]) -> dict[str, Any]:
    """The message of an entry whose fields one knows by heart."""
    return {
        "rec_id": fields[5].decode(),
        "device": fields[7].decode(),
        "n": int(fields[9]),
        "value": float(fields[11]),
        "ok": fields[13] == b"true",
    }


def commands(source: str, target: str, group: str, rows: Sequence[Any], outputs: Sequence[dict[str, Any]]) -> bytes:
    """All commands of a batch."""
    hop = b">%s@%d" % (NODE.encode(), time.time_ns() // 1_000_000)
    ids = [row[0] for row in rows]
    packed = [
        pack((
            b"XADD", target, b"*", b"_mid", fields[1], b"_path", fields[3] + hop, b"rec_id", out["rec_id"], b"device",
            out["device"], b"n", out["n"], b"value", repr(out["value"]), b"ok", b"true" if out["ok"] else b"false",
        ))
        for (_, fields), out in zip(rows, outputs, strict=True)
    ]  # fmt: skip
    packed += (pack(("XACK", source, group, *ids)), pack(("XDEL", source, *ids)))
    return b"".join(packed)


if __name__ == "__main__":
    collect_seldom()
    main(*sys.argv[1:5], count=int(sys.argv[5]), batch=int(sys.argv[6]), form=sys.argv[7], ahead=sys.argv[8] == "ahead")
