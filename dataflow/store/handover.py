"""Carries out a succession of readers on one server: waits for what is on its way, then does all in one script."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final

from dataflow import holder
from dataflow.errors import Fenced, NotDeclared, StillOnItsWay
from dataflow.store.alarms import alarms, clear_alarm, raise_alarm
from dataflow.store.keys import Keys
from dataflow.store.leads import Leads, Reader, packed_leads, read_leads
from dataflow.store.redis import Client
from dataflow.store.script import script
from dataflow.store.succession import Step, succession

WAIT_S: Final = 10.0
"""How long what is on its way is waited for: a batch, and what a target on another server needs to confirm it."""
LOOK_S: Final = 0.05
MARK_MS: Final = 5000
"""For so long after each look an edge begins nothing new: one who looks no more hinders nobody."""
TURN_S: Final = 60.0
"""For so long others may not apply a flow, unless who does is done, or dead."""
OVERTAKEN: Final = "another process applies a flow of this name, or has done so since this one began"


class Handover:
    """One server's part of an apply. A context: nobody else applies this flow meanwhile, and at its end edges that stay
    begin what is new again.

    Raises UserError (see `dataflow.store.succession`), Fenced (someone else keeps applying it), ServerAway,
    OutcomeUnknown; nothing was changed.

    Args:
        wanted: the readers of the flow on this server.
    """

    def __init__(self, redis: Client, keys: Keys, wanted: Leads) -> None:
        self._redis, self._keys, self._wanted = redis, keys, wanted
        self._nonce = holder.new_nonce()
        self._done = False

    def __enter__(self) -> Handover:
        self._take_turn()
        try:
            self._before = read_leads(self._redis, self._keys)
            self._plan = succession(self._before, self._wanted)
        except BaseException:
            self._end_turn()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            for reader in self._before:
                if reader in self._wanted or not self._done:
                    self._on_its_way(reader, 0)
        finally:
            self._end_turn()

    @property
    def turn(self) -> str:
        """The nonce of who applies: scripts that get it change nothing once it is another's turn."""
        return self._nonce

    @property
    def can_be_refused(self) -> bool:
        """Whether it can be too early for something when it is carried out, though it was checked before."""
        return any(step.quiet for step in self._plan.steps)

    @property
    def renamed(self) -> dict[str, str]:
        """New name -> whose place it takes."""
        return {step.reader.name: step.former.name for step in self._plan.steps if step.former != step.reader}

    def is_quiet(self) -> bool:
        """Whether nothing that has to arrive first is on its way. Its edges begin nothing new for now."""
        readers = [reader for reader in self._plan.dropped if self._before[reader].kind != "worker"]
        readers += [step.former for step in self._plan.steps if step.quiet]
        return sum([self._on_its_way(reader, MARK_MS) for reader in readers]) == 0

    def check(self) -> None:
        """Whether it can be done. Raises StillOnItsWay, NotDeclared (a name has messages of its own)."""
        self._run(carry_out=False)

    def carry_out(self) -> None:
        """Do it, all or nothing. Raises what `check` raises."""
        self._run(carry_out=True)
        self._done = True
        for step in self._plan.steps:
            if step.former != step.reader:
                self._rename_alarms(step)

    def _run(self, *, carry_out: bool) -> None:
        keys, args = [self._keys.applying, self._keys.leads], [self._nonce, int(carry_out), len(self._plan.steps)]
        for step in self._plan.steps:
            at = self._keys.stream(step.reader.stream)
            keys += [at.stream, at.groups, at.counts, self._keys.joins(step.reader.stream)]
            keys += [*self._own(step.former), *self._own(step.reader)]
            args += [step.former.name, step.reader.name, int(step.quiet), int(step.anew), step.now.at]
        answer = script("handover").run(self._redis, keys, [*args, *packed_leads(self._plan.leads)])
        if answer[0] != b"OK":
            raise self._refusal(answer)

    def _refusal(self, answer: Sequence[bytes | int]) -> Exception:
        if answer[0] == b"FENCED":
            return Fenced(f"{OVERTAKEN}: apply again")
        step = self._plan.steps[int(answer[1]) - 1]
        if answer[0] == b"BUSY":
            return StillOnItsWay(step.former.name, step.before.place, step.wish, int(answer[2]))
        return NotDeclared(
            f"{step.reader.name!r} is to go on where {step.former.name!r} stood, but has messages of its own in "
            f"{answer[2].decode()!r}; nothing was changed: take another name, or clear up there first "  # type: ignore[union-attr]
            "(`dataflow dlq`, `dataflow release`)"
        )

    def _rename_alarms(self, step: Step) -> None:
        for alarm in alarms(self._redis, self._keys):
            subject = _renamed_subject(alarm.subject, step.former, step.reader)
            if subject is not None:
                raise_alarm(self._redis, self._keys, alarm.kind, subject, alarm.text)
                clear_alarm(self._redis, self._keys, alarm.kind, alarm.subject)

    def _on_its_way(self, reader: Reader, mark_ms: int) -> int:
        """How many messages a reader has on its way. For `mark_ms` it begins nothing new; 0: it may begin again."""
        stream, name = reader
        keys = [self._keys.stream(stream).stream, self._keys.retry(stream, name).stream, *self._lanes(name)]
        return int(script("leaving").run(self._redis, keys, [name, mark_ms]))

    def _own(self, reader: Reader) -> list[str]:
        """The keys that a reader has for itself."""
        keys, (stream, name) = self._keys, reader
        retry, dead = keys.retry(stream, name), keys.dead(stream, name)
        return [
            retry.stream, retry.groups, retry.counts, dead.stream, dead.counts,
            keys.parked(stream, name), keys.attempts(stream, name), *self._lanes(name),
        ]  # fmt: skip

    def _lanes(self, name: str) -> list[str]:
        """The keys of an edge's lanes: state and what is settled, of the stream and of what came back."""
        keys = self._keys
        return [
            key for retry in (False, True) for key in (keys.edge(name, retry=retry), keys.settled(name, retry=retry))
        ]

    def _take_turn(self) -> None:
        deadline, dead = time.monotonic() + TURN_S, ""
        while True:
            args = [self._nonce, int(TURN_S * 1000), dead]
            answer = script("lead").run(self._redis, [self._keys.applying], args)
            if answer[0] == b"OK":
                return
            other = answer[2].decode()
            dead = other if holder.is_dead(other) else ""
            if time.monotonic() > deadline:
                raise Fenced("another process keeps applying a flow of this name; nothing was changed: apply again")
            time.sleep(LOOK_S)

    def _end_turn(self) -> None:
        script("lead").run(self._redis, [self._keys.applying], [self._nonce, 0, ""])


def wait_until_quiet(handovers: Sequence[Handover], wait_s: float) -> None:
    """Wait until what has to arrive first has arrived, on all servers, or `wait_s` is over."""
    deadline = time.monotonic() + wait_s
    while sum(not one.is_quiet() for one in handovers) and time.monotonic() < deadline:
        time.sleep(LOOK_S)


def _renamed_subject(subject: str, former: Reader, reader: Reader) -> str | None:
    """What an alarm about the former name is about now; None if it is about something else."""
    own = {f"{former.name}{lane}": f"{reader.name}{lane}" for lane in ("", "/main", "/retry")}
    return {**own, str(former): str(reader)}.get(subject)
