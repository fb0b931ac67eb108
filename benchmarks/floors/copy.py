"""Copies a stream to another Redis by hand: XRANGE, packed XADDs, XDEL. No guarantee at all.

python -m benchmarks.floors.copy SOURCE_URL TARGET_URL BATCH
"""

from __future__ import annotations

import sys
import time

from benchmarks.wire import Wire, pack
from dataflow.process import collect_seldom

EDGE = "move"


def main(source_url: str, target_url: str, batch: int) -> None:
    """Copy all of stream `in` to stream `out`, one hop added to each path. Prints the seconds."""
    begun = time.perf_counter()
    with Wire(source_url) as source, Wire(target_url) as target:
        while rows := source.call("XRANGE", "in", "-", "+", "COUNT", batch):
            hop = b">%s@%d" % (EDGE.encode(), time.time_ns() // 1_000_000)
            for _, fields in rows:
                fields[3] += hop
            target.send(b"".join([pack((b"XADD", b"out", b"*", *fields)) for _, fields in rows]))
            target.receive(len(rows))
            source.call("XDEL", "in", *(row[0] for row in rows))
    print(time.perf_counter() - begun)


if __name__ == "__main__":
    collect_seldom()
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
