"""A flow on a real Redis with one worker, whose loop runs in the test's own process."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from dataflow.audit import audit, is_clean
from dataflow.errors import DataflowError
from dataflow.flow.load import loads
from dataflow.flow.spec import Flow
from dataflow.message import Codec, Decoded, meta
from dataflow.store.deadletters import DeadLetter, DeadLetters
from dataflow.store.declare import apply
from dataflow.store.door import Door, Outgoing
from dataflow.store.hop import Hop
from dataflow.store.keys import Keys
from dataflow.store.reading import GroupView, read_stream
from dataflow.store.redis import Client, call, connect
from workers.handler import Handler, Pace
from workers.handlers.calls import PerBatch, PerMessage
from workers.loop import Loop
from workers.patience import Patience
from workers.pulse import Pulse

IN, OUT, SIDE = "in.stream_in", "out.stream_out", "side.stream_out"
NAME = "work"
DEADLINE_S = 20.0
LEASE_S = 0.2
"""Of loops in the test's process; a flow file may not say less than a second."""

FLOW = """
flow: net
connections:
  main: {{redis: "{url}"}}
streams:
  in.stream_in: {{max_len: 30000, schema: {{n: int, text: {{type: str, nullable: true}}}}}}
  out.stream_out: {{max_len: {max_len}, schema: {{n: int}}, keep: {{messages: 100000}}}}
  side.stream_out: {{max_len: 1000, keep: {{messages: 100000}}}}
workers:
  work: {{from: in.stream_in, {to}handler: "steps:handle"{more}}}
{workers}
"""

Stop = Callable[[], bool]
Wrap = Callable[[Hop], Hop]


class Rig:
    """One worker of a small flow. Streams and counters are checked by `check`, the messages by what they say.

    Args:
        more: further keys of the worker, as they stand in the flow file.
        workers: further lines of the flow file's `workers`.
        path: of the flow file; only its folder counts.
    """

    def __init__(
        self,
        url: str,
        *,
        more: str = "",
        to: Sequence[str] = (OUT, SIDE),
        max_len: int = 30000,
        workers: str = "",
        path: Path = Path("/nowhere/flow.yml"),
    ) -> None:
        targets = f"to: [{', '.join(to)}], " if to else ""
        usual = [key for key in ("max_attempts: 3", "lease_s: 1") if key.partition(":")[0] not in more]
        more = "".join(f", {key}" for key in (more, *usual) if key)
        text = FLOW.format(url=url, more=more, to=targets, max_len=max_len, workers=workers)
        self.text = text
        self.flow: Flow = loads(text, path)
        self.worker = replace(self.flow.workers[NAME], lease_s=LEASE_S)
        self.redis: Client = connect(url)
        self.keys = Keys(self.flow.name)
        self.troubles: list[DataflowError] = []
        self.pulse = Pulse(self.worker.threads)
        self._names = itertools.count(1)
        self._codec = Codec(self.flow.streams[IN].schema)
        apply(self.flow, self.redis)

    def put(self, numbers: Iterable[int], **fields: Any) -> None:
        """Messages {"n": number} through the door, their mids m<number>."""
        door = Door(self.redis, self.keys)
        messages = [Outgoing(IN, meta(f"m{n}", "hub@1") + self._codec.encode({"n": n, **fields})) for n in numbers]
        for first in range(0, len(messages), 500):
            door.append(messages[first : first + 500])

    def put_raw(self, *fields: bytes) -> None:
        """An entry as another program may write it."""
        call(self.redis, "XADD", self.keys.stream(IN).stream, "*", *fields)

    def hop(self) -> Hop:
        """The worker's consumer group."""
        return Hop(self.redis, self.keys, IN, NAME, self.worker.targets)

    def loop(
        self,
        handler: Handler,
        stopping: Stop,
        *,
        hop: Hop | None = None,
        consumer: str = "",
        predecessors: Sequence[str] = (),
        trouble: Callable[[DataflowError | None], None] | None = None,
        settle_every_s: float = 0.25,
    ) -> Loop:
        """A loop that is to be run by the test; it reads full batches from the start."""

        def note(error: DataflowError | None) -> None:
            self.troubles += [] if error is None else [error]
            if trouble is not None:
                trouble(error)

        loop = Loop(
            self.flow,
            self.worker,
            hop or self.hop(),
            consumer or f"c{next(self._names)}",
            handler,
            Pace(self.pulse, stopping, settle_every_s),
            Patience(stopping, note),
            predecessors,
        )
        loop.intake.appetite.count = self.worker.batch
        return loop

    def work(self, handle: Callable[[dict[str, Any]], Any] | Handler, **loop: Any) -> None:
        """Run a loop until nothing is left to do. `handle` gets messages, or is a whole handler."""
        handler = PerMessage(lambda task: handle(task.message), lambda: None) if callable(handle) else handle
        self.loop(handler, until(self.idle), **loop).run()

    def batches(self, handle: Callable[[list[dict[str, Any]]], Any], *, aggregate: bool = False) -> Handler:
        """A handler of batches."""
        return PerBatch(handle, lambda: None, "list", aggregate)

    def idle(self) -> bool:
        """Whether nothing is left to do; what is due comes back."""
        self.hop().wake()
        return self.drained()

    def drained(self) -> bool:
        """Whether nothing is left to do. A group that was lost cannot tell what waits for it."""
        group = self.group()
        return group.exists and group.retry_exists and group.waiting == 0

    def group(self) -> GroupView:
        """The worker's counters and depths."""
        view = read_stream(self.redis, self.keys, IN, self.flow.readers(IN), exact=True)
        return next(group for group in view.groups if group.name == NAME)

    def messages(self, stream: str = OUT) -> list[Decoded]:
        """What stands in a stream, in order."""
        codec = Codec(self.flow.streams[stream].schema)
        rows = call(self.redis, "XRANGE", self.keys.stream(stream).stream, "-", "+")
        return [codec.decode(fields) for _, fields in rows]

    def out(self, stream: str = OUT) -> list[int]:
        """The numbers in a stream, in order."""
        return [int(found.message["n"]) for found in self.messages(stream)]

    def drain(self, count: int = 10**6) -> list[int]:
        """Take the first so many messages out of OUT, as a reader would. Gives their numbers."""
        at = self.keys.stream(OUT)
        codec = Codec(self.flow.streams[OUT].schema)
        rows = call(self.redis, "XRANGE", at.stream, "-", "+", "COUNT", count)
        for id_, _ in rows:  # by name: a worker may add more meanwhile
            call(self.redis, "XDEL", at.stream, id_)
        call(self.redis, "HINCRBY", at.counts, "removed", len(rows))
        return [int(codec.decode(fields).message["n"]) for _, fields in rows]

    def mids(self, stream: str = OUT) -> list[str | None]:
        """The message ids in a stream, in order."""
        return [found.mid for found in self.messages(stream)]

    def dead(self) -> list[DeadLetter]:
        """The worker's dead letters."""
        return list(DeadLetters(self.redis, self.keys, IN, NAME))

    def replay(self) -> int:
        """Give all dead letters back."""
        letters = DeadLetters(self.redis, self.keys, IN, NAME)
        return letters.replay([letter.id for letter in letters])

    def check(self) -> None:
        """Every equation of the audit holds."""
        findings = audit(self.flow, {"main": self.redis}, {})
        assert is_clean(findings), [finding for finding in findings if finding.state == "drift"]

    def close(self) -> None:
        """Give the connections back."""
        self.redis.close()


def until(condition: Callable[[], bool], deadline_s: float = DEADLINE_S) -> Stop:
    """A stop signal that comes when a condition holds. Asked often, it looks every few milliseconds."""
    state = {"asked": 0.0, "stop": False}
    deadline = time.monotonic() + deadline_s

    def stopping() -> bool:
        now = time.monotonic()
        if not state["stop"] and now - state["asked"] > 0.01:
            state["stop"] = condition()
            state["asked"] = time.monotonic()
            assert now < deadline, "the worker has not come to its end"
        return bool(state["stop"])

    return stopping
