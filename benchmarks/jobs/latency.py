"""From the hub's door to stream_out at a steady 200 messages a second: the one row whose figures are absolute."""

from __future__ import annotations

import threading
import time

from benchmarks.jobs.hop import TARGET, flow_text
from benchmarks.jobs.hub import PATH, hub, requests
from benchmarks.lab import Lab, holds, stream_key
from benchmarks.load import send_paced
from benchmarks.measure import CheckFailed, Contender, Job, Sample, fact
from benchmarks.wire import Wire

PER_SECOND = 200.0
WARM = 100
"""Messages that are sent before and not counted."""


def ours(lab: Lab, n: int) -> Sample:
    """Hub and worker, a handler per message."""
    with lab.redis() as server:
        flow = lab.flow(flow_text("one", ""), server.url)
        target = stream_key(flow, TARGET)
        with lab.process("dataflow", "worker", str(flow.path), "work") as worker, hub(lab, str(flow.path)) as (port, _):
            send_paced(port, requests(PATH, WARM, 1), PER_SECOND)
            lab.wait(worker, holds(server.url, target, WARM))
            with Wire(server.url) as wire:
                wire.call("XTRIM", target, "MAXLEN", 0)
            arrivals = _Arrivals(server.url, target, n)
            due = send_paced(port, requests(PATH, n, 1), PER_SECOND)
            found = arrivals.join()
        if sorted(found) != list(range(n)):
            raise CheckFailed(f"{len(found)} different messages arrived of {n}")
        took_ms = sorted((found[i] - at) * 1000 for i, at in enumerate(due))
        facts = {"p50 ms": took_ms[n // 2], "p99 ms": took_ms[n * 99 // 100], "max ms": took_ms[-1]}
        return Sample(n, n / PER_SECOND, facts)


class _Arrivals:
    """A thread that notes when each message stands in the stream."""

    def __init__(self, url: str, key: str, n: int) -> None:
        self._wire, self._key, self._n = Wire(url), key, n
        self._found: dict[int, float] = {}
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def join(self) -> dict[int, float]:
        """Message number -> time.perf_counter of its arrival, once all have come (or it takes too long)."""
        self._thread.join(30)
        return self._found

    def _read(self) -> None:
        after = b"0"
        while len(self._found) < self._n:
            reply = self._wire.call("XREAD", "BLOCK", 1000, "STREAMS", self._key, after)
            now = time.perf_counter()
            for id_, fields in reply[0][1] if reply else ():
                after = id_
                number = int(fields[fields.index(b"n") + 1])
                if number in self._found:
                    return
                self._found[number] = now


JOB = Job(
    "latency",
    "hub POST to stream_out, 200 messages a second",
    (Contender("ours", ours),),
    (fact("p50 ms", 3.0, side="at most"), fact("p99 ms", 15.0, side="at most")),
    messages=0.02,
)
