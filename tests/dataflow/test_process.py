"""Telling one process from another, and children that end with their parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from dataflow.process import ProcessId

SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]


def test_a_running_process_is_alive_until_it_ends() -> None:
    child = subprocess.Popen(SLEEP)
    known = ProcessId.of(child.pid)
    assert known is not None and known.alive
    assert known.send(signal.SIGKILL)
    child.wait()
    assert not known.alive
    assert not known.send(signal.SIGTERM)


def test_a_zombie_is_not_alive() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert ProcessId.of(child.pid) is None
    child.wait()


def test_another_process_with_the_same_pid_is_never_signalled() -> None:
    earlier = replace(ProcessId.own(), started="an earlier boot/1")
    assert not earlier.alive
    assert not earlier.send(signal.SIGKILL)


def test_no_process_has_an_unused_pid() -> None:
    assert ProcessId.of(2**22 + 1) is None


@pytest.mark.acceptance
def test_a_child_ends_with_its_killed_parent() -> None:
    parent_code = (
        "import subprocess, sys; from dataflow.process import dies_with_parent\n"
        f"child = subprocess.Popen({SLEEP!r}, preexec_fn=dies_with_parent(), start_new_session=True)\n"
        "print(child.pid, flush=True); child.wait()"
    )
    parent = subprocess.Popen([sys.executable, "-c", parent_code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = ProcessId.of(int(parent.stdout.readline()))
    assert child is not None
    parent.kill()
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 10
    while child.alive and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not child.alive


def test_the_collector_looks_seldom_and_still_finds_cycles() -> None:
    code = """
import gc, weakref
from dataflow.process import collect_seldom
class Node: pass
collect_seldom()
assert gc.isenabled() and gc.get_freeze_count() > 1000
def cycle():
    node = Node()
    node.me = node
    return weakref.ref(node)
first = cycle()
rows = [[] for _ in range(50_000)]
assert first() is not None, "it was looked for already"
rows += [[] for _ in range(100_000)]
assert first() is None, "it was not found"
"""
    subprocess.run([sys.executable, "-c", code], check=True)
