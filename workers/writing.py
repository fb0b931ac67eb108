"""Step 4 of the loop: results become stream entries, or the reason why not. No I/O but the log."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import repeat
from typing import Any, NamedTuple

from dataflow.errors import InvalidMessage, StreamFull
from dataflow.flow.spec import Flow, Worker
from dataflow.handler import To
from dataflow.message import MID, PATH, Codec, child_id, extend_path, meta
from dataflow.store.outcomes import Dead, Drop, OneEach, Out, Outcome, Outcomes, Park
from workers import fate
from workers.fate import BadOutput
from workers.task import Failed, Filtered, Handled, Result, Task, Worked

log = logging.getLogger("dataflow.worker")

MAX_OUTPUTS_OF_ONE = 10_000
"""Messages that one message (or one aggregated batch) may become: they are written in one script."""
MAX_BYTES_OF_ONE = 32 * 1024 * 1024
"""Bytes of all of them."""


class Target(NamedTuple):
    """A stream that results go to: its number for `Hop.finish`, how it is written, its room."""

    name: str
    number: int
    codec: Codec
    max_len: int


class Writing:
    """Decides what every task of one worker becomes."""

    def __init__(self, flow: Flow, worker: Worker) -> None:
        self._worker = worker
        self._targets = {
            name: Target(name, number, Codec(flow.streams[name].schema), flow.streams[name].max_len)
            for number, name in enumerate(worker.targets)
        }
        self._first = self._targets[worker.targets[0]] if worker.targets else None
        self._keeps_mid = flow.keeps_mid(worker.name)

    def outcomes(self, worked: Worked, now_ms: int) -> Outcomes:
        """One outcome per task, in order."""
        keeps_mid = self._keeps_mid and not worked.together
        if keeps_mid and self._first is not None:
            alike = self._alike(worked.pairs, self._first, now_ms)
            if alike is not None:
                return alike
        return [(task.entry, self._outcome(task, result, now_ms, keeps_mid)) for task, result in worked.pairs]

    def _alike(self, pairs: Sequence[tuple[Task, Result]], target: Target, now_ms: int) -> Outcomes | None:
        """The same for a batch in which each message became one, written column by column; None for any other."""
        results = [result for _, result in pairs if isinstance(result, Handled) and len(result.messages) == 1]
        messages = [message for ((message,),) in results]
        if len(messages) < len(pairs) or set(map(type, messages)) != {dict}:
            return None
        tasks = [task for task, _ in pairs]
        if not all(task.path for task in tasks):
            return None
        hop = ">" + extend_path("", self._worker.name, now_ms)
        entries = [task.entry for task in tasks]
        mids = [task.mid.encode() for task in tasks]
        paths = [(task.path + hop).encode() for task in tasks]
        try:
            found = target.codec.encode_alike(messages)
            if found is not None:
                names, columns = found
                return OneEach(entries, target.number, [MID, PATH, *names], [mids, paths, *columns])
            rows = target.codec.encode_all(messages, (repeat(MID), mids, repeat(PATH), paths))
        except Exception:  # noqa: BLE001 - the values may be of classes of the user's own; each is tried by itself
            return None
        return [(entry, Out([(target.number, row)])) for entry, row in zip(entries, rows, strict=True)]

    def fitting(self, outcomes: Outcomes, full: StreamFull) -> int:
        """How many of the first outcomes the full stream still has room for."""
        target = self._targets.get(full.stream)
        room = full.max_len - full.depth
        for n, (_, outcome) in enumerate(outcomes):
            room -= _needed(outcome, None if target is None else target.number)
            if room < 0:
                return n
        return len(outcomes)

    def _outcome(self, task: Task, result: Result, now_ms: int, keeps_mid: bool) -> Outcome:
        if isinstance(result, Handled):
            try:
                return Out(self._encode(task, result.messages, now_ms, keeps_mid))
            except (InvalidMessage, BadOutput) as error:
                result = Failed(BadOutput(f"the handler's output does not fit: {error}"))
            except MemoryError:
                raise
            except Exception as error:  # noqa: BLE001 - the output may be of a class of the user's own
                result = Failed(BadOutput(f"the handler's output cannot be read: {fate.named(error)}"))
        return Drop() if isinstance(result, Filtered) else self._failed(task, result.error, now_ms)

    def _failed(self, task: Task, error: BaseException, now_ms: int) -> Outcome:
        outcome = self._fate(task, error, now_ms)
        text = "message is dead" if isinstance(outcome, Dead) else "message comes back later"
        facts = {"worker": self._worker.name, "mid": task.mid, "attempt": task.attempt, "error": fate.named(error)}
        log.warning(text, extra=facts)
        return outcome

    def _fate(self, task: Task, error: BaseException, now_ms: int) -> Dead | Park:
        worker = self._worker
        until_ms = fate.failing_since_ms(task.entry.fields, now_ms) + worker.max_retry_s * 1000
        try:
            return fate.after_failure(error, task.attempt, worker.max_attempts, now_ms, until_ms)
        except Exception as strange:  # noqa: BLE001 - the error may be of a class of the user's own
            return fate.after_failure(strange, task.attempt, worker.max_attempts, now_ms, until_ms)

    def _encode(
        self, task: Task, messages: Sequence[Mapping[str, Any] | To], now_ms: int, keeps_mid: bool
    ) -> list[tuple[int, list[bytes]]]:
        node = self._worker.name
        path = extend_path(task.path, node, now_ms)
        if keeps_mid and len(messages) == 1:
            return [self._entry(messages[0], task.mid, path)]
        self._check_number(messages)
        entries = [self._entry(message, child_id(task.mid, node, n), path) for n, message in enumerate(messages)]
        _check_size(entries)
        return entries

    def _entry(self, message: Mapping[str, Any] | To, mid: str, path: str) -> tuple[int, list[bytes]]:
        if isinstance(message, To):
            target, message = self._target(message.stream), message.message
        else:
            target = self._first or self._target(None)
        return target.number, meta(mid, path) + target.codec.encode(message)

    def _target(self, stream: str | None) -> Target:
        targets = self._worker.targets
        if not targets:
            raise BadOutput("the handler returned a message, but the worker has no `to` in the flow file")
        name = targets[0] if stream is None else stream
        if name not in self._targets:
            raise BadOutput(f"To({stream!r}, ...) is not among the worker's targets {list(targets)}")
        return self._targets[name]

    def _check_number(self, messages: Sequence[Mapping[str, Any] | To]) -> None:
        if len(messages) > MAX_OUTPUTS_OF_ONE:
            raise BadOutput(f"{len(messages)} messages out of one; at most {MAX_OUTPUTS_OF_ONE} are written at once")
        targets = Counter(self._target(message.stream if isinstance(message, To) else None) for message in messages)
        for target, n in targets.items():
            if n > target.max_len:
                raise BadOutput(f"{n} messages at once never fit into {target.name!r} (max_len {target.max_len})")


def _needed(outcome: Outcome, target: int | None) -> int:
    """How many messages an outcome puts into a target; None: into the dead letters."""
    if target is None:
        return int(isinstance(outcome, Dead))
    return sum(number == target for number, _ in outcome.messages) if isinstance(outcome, Out) else 0


def _check_size(entries: Sequence[tuple[int, list[bytes]]]) -> None:
    if len(entries) < MAX_BYTES_OF_ONE >> 20:  # a message is at most 1 MiB
        return
    size = sum(sum(map(len, fields)) for _, fields in entries)
    if size > MAX_BYTES_OF_ONE:
        raise BadOutput(f"{size} bytes of messages out of one; at most {MAX_BYTES_OF_ONE} are written at once")
