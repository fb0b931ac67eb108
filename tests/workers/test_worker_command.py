"""`dataflow worker` as a user runs it: signals, crashes, hangs, a Redis that goes away. Nothing is lost or doubled."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Callable

import pytest

from dataflow.flow.load import load
from dataflow.store.alarms import alarms
from dataflow.store.declare import apply
from dataflow.store.live import live
from dataflow.store.reading import read_stream
from dataflow.store.redis import call
from dataflow.testing.servers import RedisServer
from tests.workers.project import Project, alive, eventually
from tests.workers.rig import IN, NAME, OUT

pytestmark = pytest.mark.acceptance

MakeProject = Callable[..., Project]

SAME = """
def handle(message):
    note(message["n"])
    return {"n": message["n"]}
"""
SLOW = """
def handle(message):
    note(message["n"])
    time.sleep(0.05)
    return {"n": message["n"]}
"""


class TestSignals:
    """Stopping."""

    def test_sigterm_finishes_the_message_in_hand_and_hands_back_the_rest(self, project: MakeProject) -> None:
        own = project(SLOW, more="processes: 2")
        own.rig.put(range(200))
        worker = own.start()
        eventually(lambda: len(own.noted()) > 10)
        worker.signal()
        start = time.monotonic()
        assert worker.wait() == 0
        assert time.monotonic() - start < 2.0
        group = own.rig.group()
        assert 10 < len(own.noted()) < 200
        assert group.handled == len(own.noted())  # whatever was begun is finished, and no more
        assert own.consumers() in (["-"], [])
        assert own.crashes() == 0
        assert live(own.rig.redis, own.rig.keys) == []
        own.steps(SAME)
        own.start()
        took_s = eventually(own.drained)
        assert took_s < 10.0
        own.once(range(200))
        assert sorted(map(int, own.noted())) == list(range(200))

    def test_a_second_signal_ends_everything_at_once(self, project: MakeProject) -> None:
        own = project("def handle(message): note(message['n']); time.sleep(60)", more="processes: 2, max_attempts: 1")
        own.rig.put(range(50))
        worker = own.start()
        eventually(lambda: len(own.noted()) == 2)
        children = worker.children
        worker.signal()
        eventually(lambda: "finishing what is in hand" in worker.stderr)
        worker.signal()
        start = time.monotonic()
        assert worker.wait() == 0
        assert time.monotonic() - start < 2.0
        assert not any(map(alive, children))
        own.steps(SAME)
        own.start()
        own.finish()
        own.once(range(50))

    def test_an_attempt_that_a_second_signal_ended_does_not_count(self, project: MakeProject) -> None:
        own = project("def handle(message): note(message['n']); time.sleep(60)", more="max_attempts: 1")
        own.rig.put([1])
        own.rig.hop().read("dead", 10, 1)  # so that it runs alone, after the lease
        worker = own.start()
        eventually(lambda: own.crashes() == 1)
        eventually(lambda: own.noted() == ["1"])
        worker.signal()
        eventually(lambda: "finishing what is in hand" in worker.stderr)
        worker.signal()
        assert worker.wait() == 0
        assert own.crashes() == 0
        own.steps(SAME)
        own.start()
        own.finish()
        own.once([1])

    def test_ctrl_c_in_a_terminal_stops_in_good_order(self, project: MakeProject) -> None:
        """The terminal sends SIGINT to all processes of the group; what the handler runs must not get it."""
        own = project(
            """
            import subprocess
            def handle(message):
                note(message["n"])
                subprocess.run(["sleep", "0.5"], check=True)
                return {"n": message["n"]}
            """
        )
        own.rig.put(range(5))
        worker = own.start()
        eventually(lambda: len(own.noted()) == 1)
        os.killpg(worker.process.pid, signal.SIGINT)
        assert worker.wait() == 0
        own.once([0])
        assert own.crashes() == 0

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_a_signal_to_a_child_is_no_messages_fault(self, project: MakeProject, number: signal.Signals) -> None:
        own = project(SLOW, more="max_attempts: 1")
        own.rig.put(range(40))
        own.rig.hop().read("dead", 10, 1)  # so that some run alone
        worker = own.start()
        for n in (3, 10, 35):
            eventually(lambda n=n: len(own.noted()) > n)  # type: ignore[misc]
            os.kill(worker.children[0], number)
        own.finish()
        own.once(range(40))
        assert alarms(own.rig.redis, own.rig.keys) == []

    def test_a_service_manager_that_tells_every_process(self, project: MakeProject) -> None:
        own = project(SLOW, more="processes: 2")
        own.rig.put(range(40))
        worker = own.start()
        eventually(lambda: len(own.noted()) > 3)
        for pid in (*worker.children, worker.process.pid):
            os.kill(pid, signal.SIGTERM)
        assert worker.wait() == 0
        assert own.rig.group().handled + own.rig.group().pending + own.rig.group().undelivered == 40
        assert own.consumers() == ["-"]
        own.start()
        assert eventually(own.drained) < 10
        own.once(range(40))

    def test_sigterm_during_a_slow_setup(self, project: MakeProject) -> None:
        own = project(
            """
            class Model:
                def setup(self, context): note("setup"); time.sleep(60)
                def handle(self, message): pass
            handle = Model
            """
        )
        worker = own.start()
        eventually(lambda: own.noted())
        worker.signal()
        start = time.monotonic()
        assert worker.wait() == 0
        assert time.monotonic() - start < 2.0

    def test_a_parent_killed_during_a_slow_setup_leaves_no_child(self, project: MakeProject) -> None:
        own = project(
            """
            class Model:
                def setup(self, context): note("setup"); time.sleep(60)
                def handle(self, message): pass
            handle = Model
            """
        )
        worker = own.start()
        eventually(lambda: own.noted())
        (child,) = worker.children
        worker.kill()
        eventually(lambda: not alive(child), deadline_s=5.0)

    def test_close_runs_at_the_end_and_may_fail_or_hang(self, project: MakeProject) -> None:
        own = project(
            """
            class Model:
                def handle(self, message): return {"n": message["n"]}
                def close(self): note("closed"); time.sleep(60)
            handle = Model
            """,
            more="timeout_s: 0.5",
        )
        own.rig.put([1])
        worker = own.start()
        own.finish()
        assert worker.stop() == 0
        assert own.noted() == ["closed"]
        assert "in close" in worker.stderr


class TestCrashes:
    """A message that kills its process costs itself only."""

    def test_kill_9_of_a_child(self, project: MakeProject) -> None:
        own = project(SLOW, more="processes: 2")
        own.rig.put(range(100))
        worker = own.start()
        for n in (5, 20, 40):
            eventually(lambda n=n: len(own.noted()) > n)  # type: ignore[misc]
            os.kill(worker.children[0], signal.SIGKILL)
        own.finish()
        own.once(range(100))
        assert "killed by SIGKILL" in worker.stderr
        assert [alarm.kind for alarm in alarms(own.rig.redis, own.rig.keys)] == ["crash"]

    def test_kill_9_of_the_parent(self, project: MakeProject) -> None:
        own = project(SLOW, more="processes: 2")
        own.rig.put(range(100))
        first = own.start()
        eventually(lambda: len(own.noted()) > 10)
        children = first.children
        first.kill()
        eventually(lambda: not any(map(alive, children)), "the children die with it", 5.0)
        own.start()
        own.finish()
        own.once(range(100))

    def test_a_successor_on_the_same_machine_waits_for_no_lease(self, project: MakeProject) -> None:
        """So neither a long lease nor a clock of Redis that was set back holds up what a dead process had."""
        own = project(SLOW, more="processes: 2, lease_s: 3600")
        own.rig.put(range(100))
        first = own.start()
        eventually(lambda: len(own.noted()) > 10)
        first.kill()
        own.start()
        own.finish()
        own.once(range(100))

    @pytest.mark.parametrize("how", ["os._exit(78)", "os.kill(os.getpid(), signal.SIGKILL)", "os.abort()"])
    def test_a_poisonous_message_among_a_thousand(self, project: MakeProject, how: str) -> None:
        own = project(
            f"""
            def handle(message):
                if message["n"] == 500:
                    note("poison")
                    {how}
                return {{"n": message["n"]}}
            """,
            more="max_attempts: 2",
        )
        own.rig.put(range(1000))
        own.start()
        own.finish()
        own.once([n for n in range(1000) if n != 500])
        (letter,) = own.rig.dead()
        assert (letter.mid, letter.reason, letter.attempts) == ("m500", "crashed", 2)
        assert own.noted() == ["poison"] * 3  # in the batch, then alone
        assert own.crashes() == 0

    def test_the_others_do_not_wait_for_a_poisonous_message(self, project: MakeProject) -> None:
        own = project(
            """
            def handle(message):
                if message["n"] == 5: os._exit(1)
                return {"n": message["n"]}
            """,
            more="max_attempts: 10",
        )
        own.rig.put(range(1000))
        worker = own.start()
        eventually(lambda: own.rig.group().handled == 999)
        assert worker.stop() == 0
        assert (own.rig.group().waiting, own.rig.dead()) == (1, [])

    def test_many_poisonous_messages_do_not_hold_up_the_others(self, project: MakeProject) -> None:
        own = project(
            """
            def handle(message):
                if message["n"] % 50 == 7:
                    os._exit(1)
                return {"n": message["n"]}
            """,
            more="processes: 2, max_attempts: 2",
        )
        own.rig.put(range(500))
        own.start()
        own.finish(60.0)
        own.once([n for n in range(500) if n % 50 != 7])
        assert sorted(letter.mid for letter in own.rig.dead()) == sorted(f"m{n}" for n in range(7, 500, 50))
        assert {letter.reason for letter in own.rig.dead()} == {"crashed"}

    def test_a_poisonous_message_of_a_batch_handler(self, project: MakeProject) -> None:
        own = project(
            """
            def handle(messages):
                if any(message["n"] == 77 for message in messages):
                    os._exit(1)
                return [{"n": message["n"]} for message in messages]
            """,
            more="batch_handler: list, batch: 100, max_attempts: 1",
        )
        own.rig.put(range(300))
        own.start()
        own.finish()
        own.once([n for n in range(300) if n != 77])
        assert [letter.mid for letter in own.rig.dead()] == ["m77"]

    def test_a_message_that_hangs(self, project: MakeProject) -> None:
        own = project(
            """
            def stuck():
                while True: time.sleep(1)
            def handle(message):
                if message["n"] == 20: stuck()
                return {"n": message["n"]}
            """,
            more="timeout_s: 0.5, max_attempts: 2",
        )
        own.rig.put(range(40))
        worker = own.start()
        own.finish()
        own.once([n for n in range(40) if n != 20])
        (letter,) = own.rig.dead()
        assert (letter.mid, letter.reason, letter.attempts) == ("m20", "crashed", 2)
        assert "longer than timeout_s" in worker.stderr
        assert "in stuck" in worker.stderr  # where it hung

    @pytest.mark.parametrize("form", ["threads", "async"])
    def test_one_call_of_several_that_hangs(self, project: MakeProject, form: str) -> None:
        source = """
            def handle(message):
                if message["n"] == 5: time.sleep(60)
                return {"n": message["n"]}
        """
        if form == "async":
            source = source.replace("def", "import asyncio\n            async def").replace(
                "time.sleep", "await asyncio.sleep"
            )
        own = project(source, more="timeout_s: 1, max_attempts: 1, threads: 4")
        own.rig.put(range(20))
        own.start()
        own.finish()
        own.once([n for n in range(20) if n != 5])

    def test_what_a_handler_has_started_ends_with_its_process(self, project: MakeProject) -> None:
        own = project(
            """
            import subprocess
            def handle(message):
                note(subprocess.Popen(["sleep", "100"]).pid, "pids")
                if message["n"] == 1: os._exit(1)
                if message["n"] == 2: time.sleep(100)
            """,
            more="timeout_s: 1, max_attempts: 1",
        )
        own.rig.put(range(3))
        worker = own.start()
        own.finish()
        worker.stop()
        pids = list(map(int, own.noted("pids")))
        assert len(pids) > 3
        assert not any(map(alive, pids))

    def test_a_handler_may_fork_and_start_threads(self, project: MakeProject) -> None:
        own = project(
            """
            import multiprocessing, threading
            def square(n): return n * n
            def handle(message):
                with multiprocessing.get_context("fork").Pool(2) as pool:
                    squares = pool.map(square, [message["n"]])
                thread = threading.Thread(target=note, args=(message["n"],))
                thread.start()
                threading.Thread(target=time.sleep, args=(100,)).start()  # never joined
                thread.join()
                return {"n": squares[0]}
            """
        )
        own.rig.put(range(10))
        worker = own.start()
        own.finish()
        own.once([n * n for n in range(10)])
        assert worker.stop() == 0
        assert len(own.noted()) == 10

    def test_a_handler_that_prints(self, project: MakeProject) -> None:
        own = project(
            "def handle(message):\n    print('printed', message['n'])\n    input() if message['n'] == 2 else None"
        )
        own.rig.put(range(3))
        worker = own.start()
        eventually(lambda: own.rig.group().filtered == 2)
        eventually(lambda: "printed 1\n" in worker.stderr)
        own.finish()
        assert "EOFError" in own.rig.dead()[0].error  # there is nothing to be read
        worker.stop()
        assert worker.process.stdout is not None
        assert worker.process.stdout.read() == b""


class TestRedis:
    """A server that goes away and comes back."""

    def test_killed_and_restarted_under_load(self, own_redis: RedisServer, project: MakeProject) -> None:
        own = project(SAME.replace('note(message["n"])', "time.sleep(0.002)"), own_redis.url, more="processes: 2")
        own.rig.put(range(3000))
        worker = own.start()
        for n in (300, 1000, 2000):
            eventually(lambda n=n: own.rig.group().handled > n)  # type: ignore[misc]
            own_redis.kill()
            own_redis.start()
        own.finish()
        own.once(range(3000))
        assert worker.process.poll() is None
        assert "going on" in worker.stderr

    def test_away_for_longer_than_the_lease(self, own_redis: RedisServer, project: MakeProject) -> None:
        own = project(SLOW, own_redis.url)
        own.rig.put(range(40))
        worker = own.start()
        eventually(lambda: len(own.noted()) > 5)
        own_redis.stop()
        eventually(lambda: "cannot reach Redis" in worker.stderr)
        time.sleep(1.2)  # the lease is 1 s
        own_redis.start()
        own.finish()
        own.once(range(40))

    def test_standing_still_for_longer_than_the_lease(self, own_redis: RedisServer, project: MakeProject) -> None:
        own = project(SLOW, own_redis.url, more="processes: 2")
        own.rig.put(range(100))
        own.start()
        own.start()
        eventually(lambda: len(own.noted()) > 10)
        own_redis.freeze()
        time.sleep(2.5)
        own_redis.thaw()
        own.finish()
        own.once(range(100))

    def test_stopping_while_it_is_away(self, own_redis: RedisServer, project: MakeProject) -> None:
        own = project(SLOW, own_redis.url)
        own.rig.put(range(40))
        worker = own.start()
        eventually(lambda: len(own.noted()) > 5)
        own_redis.stop()
        start = time.monotonic()
        assert worker.stop() == 0
        assert time.monotonic() - start < 10.0
        own_redis.start()
        own.start()
        own.finish()
        own.once(range(40))

    def test_stopping_while_it_stands_still(self, own_redis: RedisServer, project: MakeProject) -> None:
        own = project(SLOW, own_redis.url, more="processes: 2")
        own.rig.put(range(40))
        worker = own.start()
        eventually(lambda: len(own.noted()) > 5)
        own_redis.freeze()
        start = time.monotonic()
        try:
            assert worker.stop() == 0
            assert time.monotonic() - start < 15.0, "it is five seconds that one call waits for"
        finally:
            own_redis.thaw()
        own.start()
        own.finish()
        own.once(range(40))

    def test_a_lost_group_is_mended(self, project: MakeProject) -> None:
        own = project(SLOW)
        own.rig.put(range(40))
        own.start()
        eventually(lambda: len(own.noted()) > 5)
        call(own.rig.redis, "XGROUP", "DESTROY", own.rig.keys.stream(IN).stream, NAME)
        eventually(lambda: own.rig.group().handled == 40)
        own.once(range(40))
        assert "group-lost" in [alarm.kind for alarm in alarms(own.rig.redis, own.rig.keys)]

    def test_a_server_that_is_not_there_at_the_start(self, own_redis: RedisServer, project: MakeProject) -> None:
        own = project(SAME, own_redis.url)
        own_redis.stop()
        worker = own.start()
        assert worker.wait() == 3
        assert "cannot reach Redis" in worker.stderr
        own_redis.start()


class TestSetUp:
    """A handler that cannot be used, or not yet."""

    def test_a_module_that_raises_on_import(self, project: MakeProject) -> None:
        own = project("raise RuntimeError('broken module')")
        worker = own.start()
        assert worker.wait() == 2
        assert "importing 'steps' failed: RuntimeError: broken module" in worker.stderr
        assert "line" in worker.stderr  # and where
        (alarm,) = alarms(own.rig.redis, own.rig.keys)
        assert (alarm.kind, alarm.subject) == ("handler", NAME)

    def test_a_setup_that_raises_is_tried_again(self, project: MakeProject) -> None:
        own = project(
            """
            class Model:
                def setup(self, context):
                    note("setup")
                    if len(noted()) < 4: raise OSError("no route to the model store")
                def handle(self, message): return {"n": message["n"]}
            handle = Model
            """
        )
        own.rig.put(range(10))
        worker = own.start()
        eventually(lambda: [alarm.kind for alarm in alarms(own.rig.redis, own.rig.keys)] == ["handler", "crash"])
        own.finish()
        own.once(range(10))
        assert "no route to the model store" in worker.stderr
        assert "handler" not in [alarm.kind for alarm in alarms(own.rig.redis, own.rig.keys)]

    def test_a_process_that_sets_up_holds_nothing(self, project: MakeProject) -> None:
        """One of two processes hangs in its set-up after a crash: the other one gets its messages."""
        own = project(
            """
            class Model:
                def setup(self, context):
                    note("setup", "setups")
                    if len(noted("setups")) > 2: time.sleep(60)
                def handle(self, message):
                    if message["n"] == 10 and not noted("crashed"):
                        note("x", "crashed")
                        os._exit(1)
                    time.sleep(0.02)
                    return {"n": message["n"]}
            handle = Model
            """,
            more="processes: 2",
        )
        worker = own.start()
        eventually(lambda: len(own.noted("setups")) == 2)
        own.rig.put(range(60))
        own.finish()
        own.once(range(60))
        assert len(own.noted("setups")) == 3
        worker.signal()
        assert worker.wait() == 0

    @pytest.mark.parametrize("name", ["workers", "sync"])
    def test_a_users_module_with_the_name_of_ours(self, project: MakeProject, name: str) -> None:
        own = project(SAME)
        (own.folder / f"{name}.py").write_text("def handle(message): return message")
        own.path.write_text(own.rig.text.replace("steps:handle", f"{name}:handle"))
        worker = own.start()
        assert worker.wait() == 2
        assert f"the name '{name}' already belongs to" in worker.stderr
        assert f"rename {own.folder / name}.py" in worker.stderr

    def test_a_users_folders_with_the_names_of_ours(self, project: MakeProject) -> None:
        own = project(SAME)
        for name in ("workers", "sync", "message_hub"):
            (own.folder / name).mkdir()
            (own.folder / name / "__init__.py").write_text("raise RuntimeError('the wrong one')")
        own.rig.put(range(10))
        own.start()
        own.finish()
        own.once(range(10))

    def test_a_worker_that_there_is_not(self, project: MakeProject) -> None:
        worker = project(SAME).start(name="nobody")
        assert worker.wait() == 2
        assert "flow 'net' has no worker 'nobody' (it has: work)" in worker.stderr

    def test_a_flow_file_with_problems(self, project: MakeProject) -> None:
        own = project(SAME)
        own.path.write_text(own.rig.text.replace("out.stream_out,", "out.nowhere,"))
        worker = own.start()
        assert worker.wait() == 1
        assert "flow.yml:" in worker.stderr

    def test_a_flow_that_was_never_applied_is_waited_for(self, project: MakeProject) -> None:
        own = project(SAME)
        call(own.rig.redis, "FLUSHALL")
        worker = own.start()
        eventually(lambda: "waiting: " in worker.stderr)
        apply(own.rig.flow, own.rig.redis)
        own.rig.put(range(10))
        own.finish()
        own.once(range(10))


class TestWork:
    """Many messages, many processes, and a flow that changes."""

    def test_three_processes_and_twenty_thousand_messages(self, project: MakeProject) -> None:
        own = project('def handle(message): return {"n": message["n"]}')
        own.start("--processes", "3")
        own.rig.put(range(20_000))
        own.finish(60.0)
        own.once(range(20_000))

    def test_slow_messages_are_shared_out(self, project: MakeProject) -> None:
        own = project(
            """
            def handle(message):
                note(os.getpid())
                time.sleep(0.25)
            """,
            more="processes: 4",
        )
        worker = own.start()
        eventually(lambda: len(worker.children) == 4)
        own.rig.put(range(24))
        own.finish()
        shares = Counter(own.noted())
        assert len(shares) == 4
        assert max(shares.values()) <= 12  # of 24

    def test_a_message_that_takes_longer_than_the_lease_stays_with_its_process(self, project: MakeProject) -> None:
        own = project('def handle(message): note(message["n"]); time.sleep(2.5); return {"n": message["n"]}')
        own.rig.put([1, 2])
        own.start()
        own.start()
        own.finish()
        own.once([1, 2])
        assert sorted(own.noted()) == ["1", "2"]

    def test_the_processes_are_seen(self, project: MakeProject) -> None:
        own = project(SAME, more="processes: 2")
        worker = own.start()
        eventually(lambda: len(live(own.rig.redis, own.rig.keys)) == 1)
        eventually(lambda: len(worker.children) == 2)
        (seen,) = live(own.rig.redis, own.rig.keys)
        assert (seen.kind, seen.facts["name"]) == ("worker", NAME)

    def test_a_flow_that_is_applied_anew_is_followed(self, project: MakeProject) -> None:
        own = project(
            """
            def handle(message, plus=0):
                time.sleep(0.01)
                return {"n": message["n"], "plus": plus}
            """,
            more="processes: 2",
        )
        own.rig.put(range(400))
        worker = own.start()
        eventually(lambda: own.rig.group().handled > 20)
        own.path.write_text(own.rig.text.replace("processes: 2", "processes: 1, params: {plus: 7}"))
        apply(load(own.path), own.rig.redis)
        own.finish()
        own.once(range(400))
        plus = [int(found.message["plus"]) for found in own.rig.messages(OUT)]
        assert set(plus) == {0, 7}
        assert own.rig.dead() == []
        eventually(lambda: len(worker.children) == 1)

    def test_a_worker_is_replaced_by_another_under_load(self, project: MakeProject) -> None:
        """Another name and another handler, there and back: each message is handled by one of them."""
        own = project(
            """
            def handle(message):
                time.sleep(0.002)
                return {"n": message["n"], "by": "handle"}

            def other(message):
                time.sleep(0.002)
                return {"n": message["n"], "by": "other"}
            """,
            more="processes: 2, batch: 20",
        )
        replaced = own.rig.text.replace("  work: {", "  other: {").replace("steps:handle", "steps:other")

        def handled() -> int:
            return sum(group.handled for group in read_stream(own.rig.redis, own.rig.keys, IN).groups)

        own.rig.put(range(6000))
        own.start()
        for round_ in range(4):
            before = handled()
            eventually(lambda n=before: handled() > n + 100)  # type: ignore[misc]
            text, name = (replaced, "other") if round_ % 2 == 0 else (own.rig.text, NAME)
            own.path.write_text(text)
            done = apply(load(own.path), own.rig.redis)
            assert list(done.renamed) == [name]
            own.start(name=name)
        own.finish()
        own.once(range(6000))
        assert {found.message["by"] for found in own.rig.messages(OUT)} == {"handle", "other"}

    def test_a_broken_flow_that_is_applied_elsewhere_stops_nobody(self, project: MakeProject) -> None:
        own = project(SAME)
        worker = own.start()
        eventually(lambda: worker.children)
        own.path.write_text("flow: [")
        call(own.rig.redis, "HSET", own.rig.keys.applied, "digest", "another")
        eventually(lambda: "keeps its old part" in worker.stderr)
        own.rig.put(range(10))
        own.finish()
        own.once(range(10))

    def test_a_full_target_is_told_and_the_alarm_goes(self, project: MakeProject) -> None:
        own = project(SAME, max_len=500, more="batch: 250")
        own.rig.put(range(700))
        worker = own.start()
        eventually(lambda: [alarm.kind for alarm in alarms(own.rig.redis, own.rig.keys)] == ["full"])
        assert "waiting: stream 'out.stream_out' is full" in worker.stderr
        taken = own.rig.drain()
        own.finish()
        assert sorted([*taken, *own.rig.out()]) == list(range(700))
        eventually(lambda: alarms(own.rig.redis, own.rig.keys) == [])
