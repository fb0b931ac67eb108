"""Children are kept running, and are stopped in order."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dataflow.process import ProcessId
from dataflow.up import leftovers
from dataflow.up.child import Program
from dataflow.up.restart import Backoff
from dataflow.up.signals import Signals
from dataflow.up.supervisor import ChildStatus, Supervisor

pytestmark = pytest.mark.integration

FAST = Backoff(first_s=0.02, most_s=0.1, steady_s=30.0)
OBEDIENT = "import time\ntime.sleep(120)"
STUBBORN = "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('deaf', flush=True)\n" + OBEDIENT


def interrupt() -> None:
    """Ctrl-C, for this thread: a test runner may have others that take signals."""
    signal.pthread_kill(threading.get_ident(), signal.SIGINT)


def program(name: str, code: str, *, stage: int = 0, stop_s: float = 10.0, ready: bool = True) -> Program:
    return Program(name, (sys.executable, "-c", code), stage, lambda pid: ready, stop_s)


class Bench:
    """A supervisor, what it told, and the clock's hand."""

    def __init__(self, folder: Path, signals: Signals) -> None:
        (folder / "logs").mkdir()
        self.folder, self.signals = folder, signals
        self.told: list[str] = []
        self.supervisor = Supervisor(folder, self.told.append, FAST)

    def until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 15
        while not condition():
            assert time.monotonic() < deadline, (self.told, self.supervisor.status)
            self.supervisor.tick()
            self.signals.wait(0.02)

    def child(self, name: str) -> ChildStatus:
        return next(child for child in self.supervisor.status if child.name == name)

    def log(self, name: str) -> str:
        return self.child(name).log.read_text()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with Signals() as signals:
        bench = Bench(tmp_path, signals)
        yield bench
        signals.stops = 2  # at once
        bench.supervisor.stop(signals)
    assert leftovers.end(tmp_path, patience_s=0.5) == []


CHATTY = (
    "import itertools, time\nfor n in itertools.count():\n    print(f'line {n:08}', flush=True)\n    time.sleep(0.001)"
)


def test_the_log_of_a_child_that_runs_for_long_stays_short(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dataflow.up.child.LOG_BYTES", 2000)
    bench.supervisor.start([program("a", CHATTY)])
    log = bench.child("a").log
    older = log.with_name("a.log.1")
    bench.until(lambda: older.exists() and log.stat().st_size > 0)
    first = older.read_text().splitlines()[0]
    bench.until(lambda: older.read_text().splitlines()[:1] not in ([], [first]))
    assert older.stat().st_size < 20_000 and log.stat().st_size < 20_000
    assert all(line.startswith("line ") for line in older.read_text().splitlines()), "no hole where it was cut"


def test_a_child_runs_logs_and_stops(bench: Bench) -> None:
    bench.supervisor.start([program("one", "print('hello', flush=True)\n" + OBEDIENT)])
    bench.until(lambda: bench.supervisor.ready and "hello" in bench.log("one"))
    process = bench.child("one").process
    assert process is not None and process.alive
    bench.supervisor.stop(bench.signals)
    assert bench.child("one").state == "stopped"
    assert not process.alive


def test_a_child_is_ready_when_its_probe_says_so(bench: Bench) -> None:
    answers = iter([False, False, True])
    asked = []

    def probe(pid: int) -> bool:
        asked.append(pid)
        return next(answers)

    bench.supervisor.start([Program("slow", (sys.executable, "-c", OBEDIENT), 0, probe)])
    bench.until(lambda: bench.supervisor.ready)
    process = bench.child("slow").process
    assert process is not None and asked == [process.pid] * 3


def test_what_ends_is_started_again_with_the_reason_shown(bench: Bench) -> None:
    bench.supervisor.start([program("bad", "import sys; print('no model'); sys.exit(7)"), program("good", OBEDIENT)])
    bench.until(lambda: bench.child("bad").restarts >= 3)
    assert bench.child("bad").reason == "ended with exit code 7: no model"
    assert "bad ended with exit code 7: no model; starts again in 0.02 s" in bench.told
    assert bench.child("good").restarts == 0


def test_a_killed_child_comes_back_under_another_pid(bench: Bench) -> None:
    bench.supervisor.start([program("one", OBEDIENT)])
    bench.until(lambda: bench.supervisor.ready)
    first = bench.child("one").process
    assert first is not None
    first.send(signal.SIGKILL)
    bench.until(lambda: bench.child("one").restarts == 1 and bench.supervisor.ready)
    assert bench.child("one").process not in (None, first)
    assert bench.child("one").reason == "ended by SIGKILL"


def test_a_program_that_does_not_exist_is_tried_again(bench: Bench) -> None:
    bench.supervisor.start([Program("none", ("/no/such/program",), 0, lambda pid: True)])
    bench.until(lambda: bench.child("none").restarts >= 2)
    assert "cannot be started" in bench.child("none").reason


def test_stages_stop_from_the_last_to_the_first(bench: Bench) -> None:
    order = bench.folder / "order"
    code = (
        "import signal, sys, time\n"
        f"def note(*_):\n  open({str(order)!r}, 'a').write(sys.argv[1] + ' '); sys.exit()\n"
        "signal.signal(signal.SIGTERM, note); print('set', flush=True)\n" + OBEDIENT
    )
    names = ["redis", "sync", "worker", "hub"]
    bench.supervisor.start(
        Program(name, (sys.executable, "-c", code, name), stage, lambda pid: True) for stage, name in enumerate(names)
    )
    bench.until(lambda: all("set" in bench.log(name) for name in names))
    bench.supervisor.stop(bench.signals)
    assert order.read_text().split() == ["hub", "worker", "sync", "redis"]


def test_a_child_that_does_not_stop_in_time_is_killed_and_that_is_told(bench: Bench) -> None:
    bench.supervisor.start([program("deaf", STUBBORN, stop_s=0.3)])
    bench.until(lambda: "deaf" in bench.log("deaf"))
    bench.supervisor.stop(bench.signals)
    assert "deaf did not stop in time and was killed" in bench.told


def test_a_second_request_to_stop_ends_all_at_once(bench: Bench) -> None:
    bench.supervisor.start([program("deaf", STUBBORN, stop_s=60), program("deafer", STUBBORN, stop_s=60, stage=1)])
    bench.until(lambda: "deaf" in bench.log("deaf") and "deaf" in bench.log("deafer"))
    interrupt()
    bench.signals.wait(5)
    assert bench.signals.stops == 1
    interrupt()
    begun = time.monotonic()
    bench.supervisor.stop(bench.signals)
    assert time.monotonic() - begun < 5
    assert [child.state for child in bench.supervisor.status] == ["stopped", "stopped"]


def test_killing_a_child_ends_its_whole_session(bench: Bench) -> None:
    code = f"import subprocess, sys\nsubprocess.Popen([sys.executable, '-c', {STUBBORN!r}])\n" + STUBBORN
    bench.supervisor.start([program("family", code, stop_s=0.2)])
    bench.until(lambda: bench.log("family").count("deaf") == 2)
    assert len(leftovers.find(bench.folder)) == 2
    bench.supervisor.stop(bench.signals)
    bench.until(lambda: leftovers.find(bench.folder) == [])


def test_a_long_log_is_put_aside(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dataflow.up.child.LOG_BYTES", 10)
    (bench.folder / "logs" / "one.log").write_text("what was said before\n")
    bench.supervisor.start([program("one", "print('new', flush=True)\n" + OBEDIENT)])
    bench.until(lambda: bench.log("one") == "new\n")
    assert (bench.folder / "logs" / "one.log.1").read_text() == "what was said before\n"


def test_leftovers_are_found_by_their_mark_and_ended(bench: Bench, tmp_path: Path) -> None:
    bench.supervisor.start([program("left", STUBBORN)])
    bench.until(lambda: "deaf" in bench.log("left"))
    process = bench.child("left").process
    assert process is not None
    assert leftovers.find(tmp_path / "another") == []
    assert leftovers.end(tmp_path, patience_s=0.2) == [process]
    assert ProcessId.of(process.pid) is None
