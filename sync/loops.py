"""Continuous edges: each edge without a `task` has a thread that moves what comes, until it is told to stop."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Mapping

from dataflow.flow.spec import Edge, Flow
from dataflow.store.alarms import clear_alarm, raise_alarm
from dataflow.store.keys import Keys
from sync.edges import lanes_of, note, runner_of
from sync.pace import RETRY_S, Pace, due_in_s
from sync.run import GOOD, TROUBLE, UNANSWERED, Run, State, state_of
from sync.servers import Servers
from sync.sink import Mode
from sync.source import LaneName

log = logging.getLogger("dataflow.sync")

TURN_BATCHES = 100
"""Most batches of one lane before the other is looked after."""
FAILING = "edge-failing"
"""Kind of the alarm of an edge that keeps failing and keeps trying."""


class _LaneLoop:
    """Looks after one lane: is it time, run it, how long to wait."""

    def __init__(self, flow: Flow, edge: Edge, servers: Servers, lane: LaneName, stop: threading.Event) -> None:
        self._flow, self._edge, self._servers, self._lane = flow, edge, servers, lane
        self._runner = runner_of(flow, edge, servers, lane)
        self._redis = servers.redis(flow.streams[edge.anchor].on)
        self._keys = Keys(flow.name)
        self._subject = edge.name if lane == "main" else f"{edge.name}/{lane}"
        self._min_batch = edge.min_batch if lane == "main" else 1
        self._stop = stop
        self._pace = Pace()
        self._alarmed = True  # an alarm of a former process may be up
        self._noted: object = None
        self.answers = True
        """Whether the server of its lease answered when it was last asked, as far as a run tells."""
        self.state: State = "empty"

    def turn(self) -> float:
        """Run if it is time. Returns the seconds until the next look."""
        try:
            waiting = self._runner.waiting(self._min_batch)
        except TROUBLE as error:
            return self._after(Run(state_of(error), error=str(error)))
        self.answers = True
        if waiting.paused:
            return self._after(Run("paused", error=waiting.paused))
        waited_s = self._pace.waited_s(waiting.count, time.monotonic())
        due_s = due_in_s(waiting, self._min_batch, self._edge.max_wait_s, waited_s)
        if due_s != 0:
            if self.state not in GOOD:  # what was wrong is over, and there is nothing to run
                self._after(Run("empty"))
            return self._pace.after_look(due_s)
        return self._after(self._runner.run(TURN_BATCHES, self._stop.is_set))

    def leave(self, *, release: bool) -> bool:
        """Let go of the lane, and of its lease if the server is to be asked. Returns whether it answers."""
        return self._runner.leave(release=release) and release

    @property
    def mode(self) -> Mode | None:
        """How the target knows a batch again; None before it was first opened."""
        return self._runner.mode

    def _after(self, run: Run) -> float:
        if run.state != self.state:
            self._tell(run)
        self.state = run.state
        delay_s = self._pace.after_run(run.state, random.random())
        self.answers = run.state not in UNANSWERED
        for report in (self._update_alarm, self._note):
            if self.answers or not self._stop.is_set():
                report(run)
        return delay_s

    def _note(self, run: Run) -> None:
        """Note how the stream's run ended, where that is news."""
        news = "" if run.state in GOOD else run.state, run.error, run.mode
        if self._lane != "main" or run.state == "held" or news == self._noted:
            return
        if note(self._flow, self._edge, self._servers, run):
            self._noted = news

    def _tell(self, run: Run) -> None:
        if run.state in GOOD and self.state in GOOD:
            return
        level = logging.INFO if run.state in GOOD else logging.WARNING
        log.log(level, "edge %s: %s %s", self._subject, run.state, run.error)

    def _update_alarm(self, run: Run) -> None:
        """Raise or clear the alarm of an edge that keeps failing."""
        try:
            if self._pace.alarming:
                raise_alarm(self._redis, self._keys, FAILING, self._subject, f"{run.state}: {run.error}")
                self._alarmed = True
            elif self._alarmed and run.state in GOOD:
                clear_alarm(self._redis, self._keys, FAILING, self._subject)
                self._alarmed = False
        except TROUBLE as error:
            log.debug("the alarm of edge %s was not written: %s", self._subject, error)
            self.answers = self.answers and state_of(error) not in UNANSWERED


class EdgeLoop:
    """The thread of one continuous edge."""

    def __init__(self, flow: Flow, edge: Edge, servers: Servers) -> None:
        self._edge = edge
        self._stop = threading.Event()
        self._lanes = [_LaneLoop(flow, edge, servers, lane, self._stop) for lane in lanes_of(edge)]
        self._thread = threading.Thread(target=self._run, name=f"edge-{edge.name}", daemon=True)
        self.answers = True
        """Whether the server of its leases answered when it was last asked."""

    @property
    def state(self) -> State:
        """How the last run of its stream ended."""
        return self._lanes[0].state

    @property
    def mode(self) -> Mode | None:
        """How its target knows a batch again; None before it was first opened."""
        return self._lanes[0].mode

    def start(self) -> None:
        """Begin to move messages."""
        self._thread.start()

    def ask_to_stop(self) -> None:
        """Stop after the batch in hand. Does not wait."""
        self._stop.set()

    def join(self, timeout_s: float) -> bool:
        """Wait until it has stopped and let go of the edge. False if it still works after `timeout_s`."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while not self._stop.is_set():
            self._stop.wait(self._turn())
        for lane in self._lanes:  # a server that did not answer just now is not asked again: its leases run out
            self.answers = lane.leave(release=self.answers)

    def _turn(self) -> float:
        try:
            pauses = []
            for lane in self._lanes:
                pauses.append(lane.turn())
                self.answers = lane.answers
                if self._stop.is_set():
                    break
            return min(pauses)
        except Exception:
            log.exception("edge %s: an error that nobody expected", self._edge.name)
            return RETRY_S[1]


class Loops:
    """The loops of all continuous edges of a flow. Used by one thread."""

    def __init__(self) -> None:
        self._loops: dict[str, EdgeLoop] = {}
        self._made_from: dict[str, object] = {}

    def keep(self, flow: Flow, servers: Servers, *, wait_s: float = 30.0) -> None:
        """Bring the loops in line with a flow: edges that are gone or changed stop, new ones start.

        Called again at any time. A loop that takes longer than `wait_s` to stop is left to its end; its successor is
        kept out by the lease until then.
        """
        wanted = {edge.name: _part(flow, edge) for edge in flow.edges.values() if edge.task is None}
        stale = [name for name in self._loops if self._made_from[name] != wanted.get(name)]
        self._end(stale, wait_s)
        for name, part in wanted.items():
            if name not in self._loops:
                self._loops[name] = EdgeLoop(flow, flow.edges[name], servers)
                self._made_from[name] = part
                self._loops[name].start()

    def states(self) -> Mapping[str, State]:
        """How each edge's last run ended."""
        return {name: loop.state for name, loop in self._loops.items()}

    def modes(self) -> Mapping[str, Mode]:
        """How the target of each edge knows a batch again, for those that have been opened."""
        return {name: loop.mode for name, loop in self._loops.items() if loop.mode is not None}

    def ask_to_stop(self) -> None:
        """Stop all loops after the batches in hand. Does not wait; may be called from any thread."""
        for loop in list(self._loops.values()):
            loop.ask_to_stop()

    def stop(self, wait_s: float = 30.0) -> bool:
        """Stop all loops and wait for them. Returns whether every server answered at last."""
        return self._end(list(self._loops), wait_s)

    def _end(self, names: list[str], wait_s: float) -> bool:
        ending = [(name, self._loops.pop(name)) for name in names]
        for _, loop in ending:
            loop.ask_to_stop()
        for name, loop in ending:
            if not loop.join(wait_s):
                log.warning("edge %s is still at work after %g s", name, wait_s)
        return all(loop.answers for _, loop in ending)


def _part(flow: Flow, edge: Edge) -> object:
    """Everything of a flow that an edge's work depends on."""
    around = (edge.anchor, *edge.target_streams)
    streams = tuple(flow.streams[name] for name in around)
    return edge, streams, flow.keeps_mid(edge.name), edge.source and flow.readers(edge.source), edge.connection
