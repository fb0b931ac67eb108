"""What a worker process does, in five steps: read, decode, handle, write, settle.

The promise is kept by `settle` alone: in one script it writes the outputs of those entries that are still pending for
this consumer, acknowledges them and lets go of what no one needs any more. Whatever happens before it, or to it, can
happen again.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from dataflow.errors import (
    DataflowError,
    InvalidMessage,
    NotDeclared,
    OutcomeUnknown,
    ServerAway,
    ServerFull,
    StreamFull,
)
from dataflow.flow.spec import Flow, Worker
from dataflow.handler import To
from dataflow.message import Codec, child_id, extend_path, foreign_id, meta
from dataflow.store.hop import Dead, Drop, Entry, Finished, Hop, Out, Outcome
from workers import fate
from workers.fate import BadOutput, Crashed
from workers.handler import Handler, Pace
from workers.task import Failed, Filtered, Handled, Result, Task, Worked

T = TypeVar("T")
log = logging.getLogger("dataflow.worker")

BLOCK_MS = 500
"""How long a read waits for messages; also the longest that a stop signal waits for it."""
TRANSIENT = (ServerAway, OutcomeUnknown, StreamFull, ServerFull, NotDeclared)
"""Errors that pass, or that someone mends while we wait."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Entries in hand. `alone`: a single entry during which a process may have died, or whose batch failed."""

    entries: Sequence[Entry]
    alone: bool = False


class Loop:
    """Runs one worker process's share of a stream until told to stop. Not thread-safe.

    Args:
        consumer: the name this process is known by in the consumer group.
        stopping: asked between messages and between steps.
        trouble: told of every error that makes the loop wait, and of None when it goes on.
    """

    def __init__(
        self,
        flow: Flow,
        worker: Worker,
        hop: Hop,
        consumer: str,
        handler: Handler,
        pace: Pace,
        stopping: Callable[[], bool],
        trouble: Callable[[DataflowError | None], None],
    ) -> None:
        self._worker, self._hop, self._consumer = worker, hop, consumer
        self._handler, self._pace, self._stopping, self._trouble = handler, pace, stopping, trouble
        self._codec = Codec(flow.streams[worker.source].schema)
        self._targets = {
            name: (number, Codec(flow.streams[name].schema), flow.streams[name].max_len)
            for number, name in enumerate(worker.targets)
        }
        self._keeps_mid = flow.keeps_mid(worker.name)
        self._backlog: deque[Entry] = deque()
        self._alone: deque[Entry] = deque()
        self._begun: list[Entry] = []
        self._next_take_over = 0.0
        self._unsure = True  # an earlier process of this slot may have left us what it held

    def run(self) -> None:
        """Work until told to stop; then what is in hand has been settled or handed back."""
        while not self._stopping():
            batch = self.read()
            tasks = self.decode(batch)
            worked = self.handle(batch, tasks)
            outcomes = self.write(worked)
            self.settle(outcomes, together=worked.together)
        self._patiently(lambda: self._hop.hand_back(self._consumer, self._begun), default=0, tries=3)

    def read(self) -> Batch:
        """Step 1: what is in hand first, then what others left, then what is new."""
        if not self._alone and not self._backlog:
            self._patiently(self._fetch, default=None)
        if self._alone:
            return Batch([self._alone.popleft()], alone=True)
        return Batch(self._from_backlog())

    def decode(self, batch: Batch) -> list[Task]:
        """Step 2: entries become messages; an entry that does not read as one carries its fault."""
        return [self._task(entry) for entry in batch.entries]

    def handle(self, batch: Batch, tasks: Sequence[Task]) -> Worked:
        """Step 3: run the user's function. What was not begun goes back into the hand."""
        faulty = [(task, Failed(task.fault)) for task in tasks if task.fault is not None]
        if faulty:
            self._put_back([task for task in tasks if task.fault is None])
            return Worked(faulty)
        if batch.alone:
            return self._handle_alone(tasks[0])
        if not tasks:
            return Worked()
        self._pace.start()
        results = self._handler.handle(tasks, self._pace)
        if results.split is not None:
            self._alone.extend(task.entry for task in tasks)
            self._log("the batch failed and is run message by message", results.split, messages=len(tasks))
            return Worked()
        self._put_back(tasks[len(results.each) :])
        return Worked(list(zip(tasks, results.each, strict=False)), results.together)

    def write(self, worked: Worked) -> list[tuple[Entry, Outcome]]:
        """Step 4: results become stream entries, or the reason why not."""
        now_ms = time.time_ns() // 1_000_000
        return [(task.entry, self._outcome(task, result, now_ms)) for task, result in worked.pairs]

    def settle(self, outcomes: Sequence[tuple[Entry, Outcome]], *, together: bool = False) -> None:
        """Step 5: one script writes, acknowledges and deletes. Repeated until Redis has said what became of it.

        A full target is waited for: that is how pressure from below reaches the readers above.
        """
        if not outcomes:
            return
        done = self._patiently(
            lambda: self._hop.finish(self._consumer, outcomes, together=together), default=Finished()
        )
        self._begun.clear()
        self._pace.pulse.mark_alone(b"")
        if done.lost:
            self._log("entries had been finished before, or taken over by another process", entries=len(done.lost))

    def _fetch(self) -> None:
        """Get entries into the empty hand. A reply that is lost on its way leaves entries pending for us: ask again."""
        if self._unsure:
            self._alone.extend(self._hop.recover(self._consumer))
            self._unsure = False
        elif time.monotonic() >= self._next_take_over:
            self._unsure = True
            clean, suspect = self._hop.take_over(self._consumer, int(self._worker.lease_s * 1000), self._worker.batch)
            self._next_take_over = time.monotonic() + self._worker.lease_s / 2
            self._backlog.extend(clean)
            self._alone.extend(suspect)
            self._unsure = False
            if suspect:
                self._log("took over entries of a process that is gone; they run one by one", entries=len(suspect))
        else:
            self._unsure = True
            self._backlog.extend(self._hop.read(self._consumer, self._worker.batch, BLOCK_MS))
            self._unsure = False

    def _put_back(self, tasks: Sequence[Task]) -> None:
        self._backlog.extendleft(task.entry for task in reversed(tasks))

    def _from_backlog(self) -> list[Entry]:
        """Up to a batch of entries of one lane from the head of the backlog; what has failed before goes alone."""
        entries: list[Entry] = []
        while self._backlog and len(entries) < self._worker.batch:
            if entries and self._backlog[0].lane != entries[0].lane:
                break
            entry = self._backlog.popleft()
            if entry.lane == "retry" and self._codec_attempt(entry) > 0:
                self._alone.append(entry)
            else:
                entries.append(entry)
        return entries

    def _task(self, entry: Entry) -> Task:
        try:
            decoded = self._codec.decode(entry.fields)
        except InvalidMessage as fault:
            return Task(entry, "", "", 1, {}, fault)
        mid = decoded.mid or foreign_id(self._worker.source, _origin(entry))
        return Task(entry, mid, decoded.path, decoded.attempt + 1, decoded.message)

    def _codec_attempt(self, entry: Entry) -> int:
        try:
            return self._codec.decode(entry.fields).attempt
        except InvalidMessage:
            return 0

    def _handle_alone(self, task: Task) -> Worked:
        """Run one message by itself, its attempt counted before it runs, so that a crash in it is remembered."""
        crashes = self._patiently(lambda: self._hop.attempts(task.entry), default=-1)
        if crashes > 0:
            task.attempt += crashes - 1
            return Worked([(task, Failed(Crashed()))])
        if crashes < 0 or self._stopping():
            return Worked()
        if not self._patiently(lambda: self._begin(task.entry), default=0):
            return Worked()
        self._pace.start()
        results = self._handler.handle([task], self._pace)
        return Worked([(task, result) for result in results.each], results.together)

    def _begin(self, entry: Entry) -> int:
        begun = self._hop.begin(self._consumer, entry)
        if begun:
            self._begun = [entry]
            self._pace.pulse.mark_alone(entry.lane.encode() + b"/" + entry.id)
        return begun

    def _outcome(self, task: Task, result: Result, now_ms: int) -> Outcome:
        if isinstance(result, Filtered):
            return Drop()
        if isinstance(result, Handled):
            try:
                return Out(self._encode(task, result, now_ms))
            except (InvalidMessage, BadOutput) as error:
                result = Failed(BadOutput(f"the handler's output does not fit: {error}"))
        outcome = fate.after_failure(result.error, task.attempt, self._worker.max_attempts, now_ms)
        text = "message is dead" if isinstance(outcome, Dead) else "message comes back later"
        self._log(text, result.error, mid=task.mid, attempt=task.attempt)
        return outcome

    def _encode(self, task: Task, result: Handled, now_ms: int) -> list[tuple[int, list[bytes]]]:
        path = extend_path(task.path, self._worker.name, now_ms)
        same_mid = self._keeps_mid and len(result.messages) == 1
        written = []
        for n, message in enumerate(result.messages):
            name, body = self._address(message)
            number, codec, max_len = self._targets[name]
            if len(result.messages) > max_len:
                raise BadOutput(f"{len(result.messages)} messages at once never fit into {name!r} (max_len {max_len})")
            mid = task.mid if same_mid else child_id(task.mid, self._worker.name, n)
            written.append((number, meta(mid, path) + codec.encode(body)))
        return written

    def _address(self, message: object) -> tuple[str, dict[str, object]]:
        if not self._targets:
            raise BadOutput("the handler returned a message, but the worker has no `to` in the flow file")
        if not isinstance(message, To):
            return self._worker.targets[0], message  # type: ignore[return-value]
        if message.stream not in self._targets:
            raise BadOutput(f"To({message.stream!r}, ...) is not among the worker's targets {self._worker.targets}")
        return message.stream, message.message  # type: ignore[return-value]

    def _patiently(self, step: Callable[[], T], *, default: T, tries: int | None = None) -> T:
        """Repeat a step until it succeeds, waiting longer and longer; give up (default) only when told to stop."""
        wait_s, waiting = 0.05, False
        while True:
            try:
                answer = step()
            except TRANSIENT as error:
                self._trouble(error)
                waiting = True
            else:
                if waiting:
                    self._trouble(None)
                return answer
            if tries is not None:
                tries -= 1
            if tries == 0 or (tries is None and self._stopping()):
                return default
            time.sleep(wait_s)
            wait_s = min(wait_s * 2, 2.0)

    def _log(self, text: str, error: BaseException | None = None, **facts: object) -> None:
        facts = {"worker": self._worker.name, **facts, **({} if error is None else {"error": repr(error)})}
        log.warning(text, extra=facts)


def _origin(entry: Entry) -> str:
    """The id under which an entry came into the main stream, whatever lane it is in now."""
    names = entry.fields[::2]
    if b"_origin" in names:
        return entry.fields[2 * names.index(b"_origin") + 1].decode().partition("/")[2]
    return entry.id.decode()
