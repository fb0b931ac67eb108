"""Keeps a set of programs running, and stops them in order.

One thread, no queue: `tick` looks at every child once and does what is due; `stop` ends all. Whoever calls them
decides what happens in between (show a page, write the run file, wait for signals).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from dataflow.process import ProcessId
from dataflow.up.child import Child, Program
from dataflow.up.restart import Backoff, Restarts, reason
from dataflow.up.signals import Signals

State = Literal["starting", "running", "restarting", "stopping", "stopped"]

TICK_S = 0.2


@dataclass(frozen=True, slots=True)
class ChildStatus:
    """What there is to say about one child. `reason` is why it ended last, "" if it never did."""

    name: str
    state: State
    process: ProcessId | None
    up_s: float
    restarts: int
    reason: str
    log: Path


class Supervisor:
    """Runs programs and starts again what ends.

    Use it in the main thread, with `Signals` entered.

    Args:
        folder: the data folder; logs go to `logs/` in it.
        tell: called with a sentence for people whenever something happens.
        backoff: pauses between restarts.
    """

    def __init__(self, folder: Path, tell: Callable[[str], None], backoff: Backoff | None = None) -> None:
        self._folder = folder
        self._tell = tell
        self._backoff = backoff or Backoff()
        self._posts: list[_Post] = []

    @property
    def status(self) -> list[ChildStatus]:
        """All children in the order in which they were added."""
        return [post.status() for post in self._posts]

    @property
    def ready(self) -> bool:
        """Whether every child does its work."""
        return all(post.state == "running" for post in self._posts)

    def start(self, programs: Iterable[Program]) -> None:
        """Start programs and keep them running from now on. Returns at once; `tick` finds out when they are ready."""
        for program in programs:
            post = _Post(program, self._folder / "logs" / f"{program.name}.log")
            self._posts.append(post)
            self._launch(post)

    def tick(self) -> None:
        """Notice what has ended, start what is due, ask those that start whether they are ready, keep logs short."""
        for post in self._posts:
            child = post.child
            if post.state == "stopped":
                continue
            if child is None:
                if time.monotonic() >= post.due_at:
                    self._launch(post)
            elif child.returncode is not None:
                self._put_off(post, reason(child.returncode, child.last_words()), child.ran_s)
            elif post.state == "starting" and post.program.ready(child.pid):
                post.state = "running"
                self._tell(f"{post.program.name} is ready (pid {child.pid})")
            if child is not None:
                child.bound_log()

    def stop(self, signals: Signals, meanwhile: Callable[[], None] = lambda: None) -> None:
        """Stop every child, the highest stage first, and wait until all have ended.

        A child gets SIGTERM and its `stop_s` seconds; then it is killed. When we are asked to stop once more
        meanwhile, all that is left is killed at once. `meanwhile` is called several times a second.
        """
        patience = min(1, signals.stops)
        for stage in sorted({post.program.stage for post in self._posts}, reverse=True):
            posts = [post for post in self._posts if post.program.stage == stage]
            for post in posts:
                post.terminate()
            _await_ends(posts, signals, patience, meanwhile)
            for post in posts:
                self._finish(post)

    def _launch(self, post: _Post) -> None:
        try:
            post.child = Child(post.program, self._folder, post.log)
        except OSError as error:
            self._put_off(post, f"cannot be started: {error}", ran_s=0.0)
            return
        post.state = "starting"

    def _put_off(self, post: _Post, why: str, ran_s: float) -> None:
        post.child = None
        post.restarts = post.restarts.next(ran_s, self._backoff)
        post.due_at = time.monotonic() + post.restarts.pause_s
        post.state, post.reason = "restarting", why
        self._tell(f"{post.program.name} {why}; starts again in {post.restarts.pause_s:g} s")

    def _finish(self, post: _Post) -> None:
        if post.child is not None and post.child.returncode is None:
            self._tell(f"{post.program.name} did not stop in time and was killed")
            post.child.kill()
        post.child, post.state = None, "stopped"


class _Post:
    """A program's place: the child that holds it now, if any, and its history."""

    def __init__(self, program: Program, log: Path) -> None:
        self.program = program
        self.log = log
        self.child: Child | None = None
        self.state: State = "starting"
        self.restarts = Restarts()
        self.due_at = 0.0
        self.reason = ""

    def status(self) -> ChildStatus:
        child = self.child
        return ChildStatus(
            name=self.program.name,
            state=self.state,
            process=child.process if child else None,
            up_s=child.ran_s if child else 0.0,
            restarts=self.restarts.count,
            reason=self.reason,
            log=self.log,
        )

    def terminate(self) -> None:
        self.state = "stopping"
        if self.child is not None:
            self.child.terminate()

    @property
    def ended(self) -> bool:
        return self.child is None or self.child.returncode is not None


def _await_ends(posts: list[_Post], signals: Signals, patience: int, meanwhile: Callable[[], None]) -> None:
    """Wait until all have ended, their time is over, or we are asked to stop more than `patience` times."""
    deadline = time.monotonic() + max(post.program.stop_s for post in posts)
    while not all(post.ended for post in posts) and signals.stops <= patience:
        left = deadline - time.monotonic()
        if left <= 0:
            return
        meanwhile()
        signals.wait(min(left, TICK_S))
