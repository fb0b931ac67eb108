"""`memory_mb`: a message that eats memory without end costs itself only, a handler that leaks costs nobody anything."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from dataflow.flow.load import load
from dataflow.store.alarms import alarms
from dataflow.store.declare import apply
from tests.workers.project import Project, eventually
from tests.workers.support import pace, tasks
from workers.handlers.calls import PerMessage
from workers.loop import out_of_memory
from workers.task import Handled, Results, Task

MakeProject = Callable[..., Project]
ROOT = Path(__file__).resolve().parents[2]

GLUTTON = """
    def eat():
        eaten = []
        while True:
            eaten.append(bytearray(1 << 20))
"""
ONE = """
    def handle(message):
        if message["n"] == 150: eat()
        return {"n": message["n"]}
"""
BATCH = """
    def handle(messages):
        if any(message["n"] == 150 for message in messages): eat()
        return [{"n": message["n"]} for message in messages]
"""


@pytest.mark.acceptance
@pytest.mark.parametrize(
    ("handler", "more"),
    [(ONE, ""), (ONE, ", threads: 4"), (BATCH, ", batch_handler: list"), (ONE.replace("eat()", "os.abort()"), "")],
    ids=["alone", "threads", "batch", "a library that ends the process"],
)
def test_a_message_that_eats_memory_without_end(project: MakeProject, handler: str, more: str) -> None:
    own = project(GLUTTON + handler, more=f"memory_mb: 64, max_attempts: 2{more}")
    own.rig.put(range(300))
    worker = own.start()
    own.finish()
    own.once([n for n in range(300) if n != 150])
    (letter,) = own.rig.dead()
    aborts = "abort" in handler
    assert (letter.mid, letter.reason, letter.attempts) == ("m150", "crashed" if aborts else "failed", 2)
    assert aborts or ("MemoryError" in letter.error and "eaten.append" in letter.error), letter.error
    assert aborts or "it ran out of memory" in worker.stderr
    assert [alarm.kind for alarm in alarms(own.rig.redis, own.rig.keys)] == ["crash"]
    assert own.crashes() == 0


@pytest.mark.acceptance
def test_a_handler_that_leaks_is_replaced_and_no_message_pays_for_it(project: MakeProject) -> None:
    own = project(
        """
        leaked = []
        def handle(message):
            leaked.append(bytearray(1 << 20))
            return {"n": message["n"]}
        """,
        more="memory_mb: 32, batch: 20",
    )
    own.rig.put(range(150))
    worker = own.start()
    own.finish()
    own.once(range(150))
    assert own.rig.dead() == []
    assert worker.stderr.count("it ran out of memory") >= 3


@pytest.mark.acceptance
def test_a_setup_that_takes_too_much_says_so(project: MakeProject) -> None:
    own = project(
        """
        class Model:
            def setup(self, context): self.weights = bytearray(100 << 20)
            def handle(self, message): return {"n": message["n"]}
        handle = Model
        """,
        more="memory_mb: 32",
    )
    own.rig.put([1])
    own.start()
    eventually(lambda: [alarm.kind for alarm in alarms(own.rig.redis, own.rig.keys)] == ["handler"])
    assert "MemoryError" in alarms(own.rig.redis, own.rig.keys)[0].text
    own.path.write_text(own.rig.text.replace("memory_mb: 32", "memory_mb: 200"))
    apply(load(own.path), own.rig.redis)
    own.finish()
    own.once([1])


LIMITED = """
from workers import memory
memory.limit(64, 1)
bytearray(48 << 20)
try:
    bytearray(80 << 20)
except MemoryError:
    print("MemoryError")
"""


@pytest.mark.acceptance
def test_the_limit_is_above_what_the_process_has_and_counts_what_it_may_write() -> None:
    """In a process of its own: one that has given much back finds room in what it holds."""
    done = subprocess.run([sys.executable, "-c", LIMITED], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "MemoryError\n"


def test_what_the_frames_of_a_failed_call_held_is_let_go() -> None:
    class Held:
        alive = 0

        def __init__(self) -> None:
            Held.alive += 1

        def __del__(self) -> None:
            Held.alive -= 1

    def eat(task: Task) -> None:
        held = [Held()]
        raise MemoryError(len(held))

    results = PerMessage(eat, lambda: None).handle(tasks(1), pace())
    assert Held.alive == 1, "the traceback holds it"
    assert out_of_memory(results)
    assert Held.alive == 0
    assert not out_of_memory(Results([Handled(({},))]))
    assert out_of_memory(Results([], split=MemoryError()))
