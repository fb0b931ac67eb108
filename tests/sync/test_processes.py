"""Runners as processes: killed, and stopped past their lease, at each step."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest

from dataflow import holder
from dataflow.process import boot
from sync.run import GOOD
from tests.sync.lab import STEPS, Lab, until

pytestmark = [pytest.mark.integration, pytest.mark.acceptance]

ROOT = Path(__file__).parents[2]
AT_STEPS = [(end, method, "after") for end, method in STEPS] + [("sink", "write", "before")]
"""Both sides of every step are in test_runner; here it is about processes."""
LEASE_S = 0.5


@contextmanager
def victim(url: str, end: str, method: str, when: str, lease_s: float = 30) -> Iterator[subprocess.Popen[str]]:
    """A runner that has come to a step."""
    command = [sys.executable, "-m", "tests.sync.victim", url, end, method, when, str(lease_s)]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert line(process.stdout) == "there"
        yield process
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            assert pipe is not None
            pipe.close()


def line(pipe: IO[str] | None) -> str:
    assert pipe is not None
    return pipe.readline().strip()


@pytest.mark.parametrize(("end", "method", "when"), AT_STEPS)
def test_one_that_was_killed_is_succeeded_at_once(redis_url: str, end: str, method: str, when: str) -> None:
    """Its lease has time left, but whoever comes next on this machine sees that it is dead."""
    lab = Lab(redis_url)
    lab.fill(25)
    with victim(redis_url, end, method, when) as process:
        process.kill()
        process.wait()
        assert lab.run().state == "empty"
    lab.each_once()


@pytest.mark.parametrize(("end", "method", "when"), AT_STEPS)
def test_one_that_was_stopped_past_its_lease_has_no_effect(redis_url: str, end: str, method: str, when: str) -> None:
    lab = Lab(redis_url, lease_s=LEASE_S)
    lab.fill(25)
    with victim(redis_url, end, method, when, LEASE_S) as process:
        process.send_signal(signal.SIGSTOP)
        other = lab.runner()
        until(lambda: other.run().state == "empty")
        before = (lab.arrived(), lab.lane_state(), lab.counts())
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
        process.send_signal(signal.SIGCONT)
        assert line(process.stdout) in GOOD | {"fenced"}
        assert (lab.arrived(), lab.lane_state(), lab.counts()) == before
    lab.each_once()


class TestHolder:
    def test_nonces_are_never_the_same(self) -> None:
        assert holder.new_nonce() != holder.new_nonce()

    def test_we_are_not_dead(self) -> None:
        assert not holder.is_dead(holder.new_nonce())

    def test_one_that_ended_is(self) -> None:
        command = [sys.executable, "-c", "from dataflow import holder; print(holder.new_nonce())"]
        told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        assert holder.is_dead(told.stdout.strip())

    def test_one_of_another_machine_with_our_name_may_live(self) -> None:
        """Its pids mean nothing here, and the first pid namespace has the same number everywhere."""
        place, pid, started, random = holder.new_nonce().split("|")
        other = [part.replace(boot(), "0f" * 16) for part in (place, "999999999", started, random)]
        assert holder.is_dead("|".join([place, "999999999", started, random]))
        assert not holder.is_dead("|".join(other))
        assert pid != "999999999"

    @pytest.mark.parametrize("nonce", ["", "x", "elsewhere|1|boot/1|ab", "a|b|c|d", "a|1", "||||"])
    def test_what_we_cannot_know_counts_as_alive(self, nonce: str) -> None:
        assert not holder.is_dead(nonce)
