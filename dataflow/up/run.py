"""`dataflow up` in the foreground: start in order, keep running, stop in order."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from functools import cached_property
from typing import Any

import msgspec

from dataflow import run_file
from dataflow.access import history
from dataflow.connections import resolve
from dataflow.errors import OutcomeUnknown, ServerAway
from dataflow.flow.spec import Flow
from dataflow.masking import mask_urls
from dataflow.run_file import ChildRecord, RunFile
from dataflow.store import declare
from dataflow.store.keys import Keys
from dataflow.store.redis import connect
from dataflow.up import doors, leftovers, plan
from dataflow.up.depths import Depths
from dataflow.up.folder import DataFolder
from dataflow.up.page import View
from dataflow.up.screen import Screen
from dataflow.up.signals import Signals
from dataflow.up.supervisor import TICK_S, Supervisor

LEFTOVERS_S = 10.0
START_S = 60.0
"""How long embedded servers may take to load their data, and servers elsewhere to answer at all."""


def run(flow: Flow, screen: Screen, hub_port: int | None = None) -> None:
    """Run everything of a flow until we are told to stop (SIGINT, SIGTERM, SIGHUP). Blocks; main thread only.

    Order: own the folder; end what a killed `up` left; choose addresses; embedded servers; apply; rooms. On the way
    out, whatever the reason: hub, workers, sync, servers.

    Raises AlreadyRunning, PortTaken, NoRedisServer, NoKeys (a door would be open to all), ServerAway (servers did not
    come up, apply did not get through); everything that was started has been stopped by then.
    """
    folder = DataFolder.of(flow.path)
    folder.create()
    with folder.locked(), Signals() as signals, screen:
        for process in leftovers.end(folder.path, LEFTOVERS_S):
            screen.tell(f"ended process {process.pid}, left behind by an earlier run")
        addresses = plan.addresses(flow, run_file.read(folder.path), hub_port)
        this = _Run(flow, folder, addresses, screen, signals)
        try:
            this.to_the_end()
        finally:
            this.stop()


class _Run:
    """One run of `up`, from the first server to the request to stop."""

    def __init__(self, flow: Flow, folder: DataFolder, addresses: RunFile, screen: Screen, signals: Signals) -> None:
        self._flow, self._folder, self._addresses = flow, folder, addresses
        self._screen, self._signals = screen, signals
        self._supervisor = Supervisor(folder.path, screen.tell)
        self._published: RunFile | None = None
        self._ready = False
        self._revisions: dict[str, int] = {}
        self._trouble = ""

    def to_the_end(self) -> None:
        """Start everything in order and keep it running until we are told to stop."""
        self._publish()
        self._supervisor.start(plan.servers(self._addresses, self._folder))
        if not self._reached(lambda: self._supervisor.ready, "the embedded servers did not come up"):
            return
        try:
            if not self._reached(self._applied, "the flow could not be applied"):
                return
        finally:
            self._note_applied()
        doors.check(self._flow)
        self._supervisor.start(plan.rooms(self._flow, self._addresses))
        self._reached(self._noted_ready, "", within_s=math.inf)

    def stop(self) -> None:
        """Stop everything in order, if anything was started."""
        if not self._supervisor.status:
            return
        self._screen.tell("stopping; asking once more stops at once")
        self._supervisor.stop(self._signals, meanwhile=lambda: self._screen.show(self._view))
        leftovers.end(self._folder.path, patience_s=1.0)
        self._publish()
        self._screen.tell("stopped")
        self._screen.show(self._view)

    def _reached(self, condition: Callable[[], bool], complaint: str, within_s: float = START_S) -> bool:
        """Go on until the condition holds; False if we are told to stop before. Raises ServerAway after `within_s`."""
        deadline = time.monotonic() + within_s
        while not self._signals.stops:
            self._supervisor.tick()
            if condition():
                return True
            if time.monotonic() > deadline:
                raise ServerAway(f"{complaint} in {within_s:g} s: {self._troubles()}")
            self._publish()
            self._screen.show(self._view)
            self._signals.wait(TICK_S)
        return False

    def _applied(self) -> bool:
        """Try to declare the flow on its Redis servers."""
        urls = resolve(self._flow).redis
        try:
            with ExitStack() as stack:
                names = reversed(self._flow.redis_connections)
                clients = {name: stack.enter_context(closing(connect(urls[name]))) for name in names}
                done = declare.apply_all(self._flow, clients)
        except (ServerAway, OutcomeUnknown) as error:
            self._trouble = str(error)
            return False
        self._revisions = {name: one.revision for name, one in done.items()}
        for one in done.values():
            for warning in one.warnings:
                self._screen.tell(f"warning: {warning}")
            for new, former in one.renamed.items():
                self._screen.tell(f"{new} goes on where {former} stood, which the flow no longer has")
        return True

    def _note_applied(self) -> None:
        """Write into the history what was applied, once, however often it was tried."""
        if not self._revisions:
            return
        flow = self._flow
        facts: dict[str, Any] = {"digest": flow.digest, "revisions": self._revisions}
        with closing(connect(resolve(flow).redis[flow.home])) as home:
            history.record(home, Keys(flow.name), history.person("up"), "apply", flow.name, **facts)

    def _noted_ready(self) -> bool:
        """Tell once that everything is up. Never true: a run ends only by being told to."""
        if self._supervisor.ready and not self._ready:
            self._ready = True
            self._publish()
            self._screen.ready(self._view([]))
        return False

    def _publish(self) -> None:
        """Bring the run file up to date, if there is anything new."""
        children = {
            child.name: ChildRecord(child.state, child.process, child.restarts, mask_urls(child.reason))
            for child in self._supervisor.status
        }
        run = msgspec.structs.replace(self._addresses, ready=self._ready, children=children)
        if run != self._published:
            run_file.write(self._folder.path, run)
            self._published = run

    def _view(self, events: list[str]) -> View:
        return View(
            flow=self._flow.name,
            flow_path=self._flow.path.resolve(),
            run=self._addresses,
            children=self._supervisor.status,
            depths=self._depths.read(),
            events=events,
            logs=self._folder.logs,
        )

    @cached_property
    def _depths(self) -> Depths:
        urls = resolve(self._flow).redis
        return Depths(self._flow, {name: urls[name] for name in self._flow.redis_connections})

    def _troubles(self) -> str:
        reasons = [f"{child.name} {child.reason}" for child in self._supervisor.status if child.reason]
        return "; ".join([*filter(None, [self._trouble]), *reasons]) or f"see {self._folder.logs}"
