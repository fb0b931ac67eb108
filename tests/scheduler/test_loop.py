"""The loop on a real Redis and a MongoDB-wire server: states follow documents, ticks fire once."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from dataflow.access import history
from dataflow.store.declare import apply
from dataflow.store.keys import Keys
from dataflow.store.redis import connect
from dataflow.testing.mongo import MongoServer
from dataflow.testing.servers import RedisServer
from scheduler.jobs.edge import EXPIRED, HELD
from scheduler.loop import Loop
from scheduler.machine import State
from scheduler.record import RESEND_MS, Outcome
from scheduler.task import Task
from tests.scheduler.rig import Rig, eventually

pytestmark = pytest.mark.integration


def test_a_document_from_anywhere_makes_its_edge_run(rig: Rig) -> None:
    rig.insert()
    loop = rig.loop()
    loop.turn()
    assert rig.said() == "running" and loop.states() == {"t": "running"}
    eventually("two ticks", lambda: len(rig.hints.sent) >= 2)
    assert rig.hints.sent[0][0] == "move" and all(tick % 1000 == 0 for tick in rig.hints.ticks)


def test_states_follow_the_wish(rig: Rig) -> None:
    pid = rig.insert(set_to_status="init", interval_para={"hour": 3})
    loop = rig.loop()
    for wish, states in [
        ("init", {}),
        ("running", {"t": "running"}),
        ("paused", {"t": "paused"}),
        ("running", {"t": "running"}),
        ("paused", {"t": "paused"}),
        ("init", {}),
        ("running", {"t": "running"}),
        ("init", {}),
    ]:
        rig.set(pid, set_to_status=wish)
        loop.turn()
        assert (loop.states(), rig.said()) == (states, wish)


def test_what_became_of_a_task_is_in_the_history_once(rig: Rig) -> None:
    """Whoever changed its document, and however often it is looked at."""
    pid = rig.insert(interval_para={"hour": 3})
    loop = rig.loop()
    loop.turn()
    for fields in ({}, {"set_to_status": "paused"}, {}, {"is_enable": 0}, {"set_to_status": "running", "is_enable": 1}):
        if fields:
            rig.set(pid, **fields)
        loop.turn()
    rig.delete(pid)
    loop.turn()
    loop.turn()
    entries = [one for one in history.read(connect(rig.redis_url), Keys("f"), 100) if rig.machine in one.who]
    assert {(one.who, one.subject) for one in entries} == {(f"scheduler {rig.machine}", "t")}
    assert [(one.what, one.facts["before"], one.facts["wish"]) for one in entries] == [
        ("task running", "init", "running"), ("task paused", "running", "paused"), ("task init", "paused", "paused"),
        ("task running", "init", "running"), ("task init", "running", ""),
    ]  # fmt: skip
    assert entries[-1].facts["why"] == "its document is gone"


def test_another_scheduler_that_takes_over_changes_no_state(rig: Rig) -> None:
    rig.insert(interval_para={"hour": 3})
    first = rig.loop()
    first.turn()
    first.stop()
    second = rig.loop()
    second.turn()
    assert second.states() == {"t": "running"}
    entries = history.read(connect(rig.redis_url), Keys("f"), 100)
    assert [one.what for one in entries if rig.machine in one.who] == ["task running"]


@pytest.mark.parametrize("wish", ["paused", "nonsense", None])
def test_a_wish_that_cannot_be_met_changes_nothing_and_says_why(rig: Rig, wish: object) -> None:
    pid = rig.insert(set_to_status=wish)
    loop = rig.loop()
    loop.turn()
    assert loop.states() == {} and rig.said() == "init"
    assert "set_to_status" in (rig.tasks.record(pid) or {})["why"]


@pytest.mark.parametrize(
    ("fields", "state"),
    [
        ({}, "running"),
        ({"set_to_status": "init"}, "init"),
        ({"is_enable": 0}, "disabled"),
        ({"end_dt": "2001-01-01 00:00:00"}, "expired"),
    ],
)
def test_it_tells_why_an_edge_does_not_run(rig: Rig, fields: dict[str, object], state: str) -> None:
    rig.insert(**{"interval_para": {"hour": 3}, **fields})
    loop = rig.loop()
    loop.turn()
    assert loop.edges()["move"] | {"why": ""} == {
        "task": "t", "state": state, "why": "", "last": "", "error": "",
    }  # fmt: skip
    assert ("no further run" in loop.edges()["move"]["why"]) is (state == "expired")


def test_it_tells_of_a_paused_edge_and_how_its_last_run_ended(rig: Rig) -> None:
    pid = rig.insert()
    rig.hints.answer = Outcome("full", "no room")
    loop = rig.loop()

    def ended() -> bool:
        loop.turn()
        return bool(loop.edges()["move"]["last"])

    eventually("a run that ended", ended)
    rig.set(pid, set_to_status="paused")
    loop.turn()
    told = loop.edges()["move"]
    assert (told["state"], told["last"], told["error"]) == ("paused", "full", "no room")


def test_is_enable_0_counts_as_init(rig: Rig) -> None:
    pid = rig.insert(interval_para={"hour": 3})
    loop = rig.loop()
    loop.turn()
    rig.set(pid, is_enable=0)
    loop.turn()
    assert loop.states() == {} and rig.said() == "init" and rig.document()["set_to_status"] == "running"
    rig.set(pid, is_enable=1)
    loop.turn()
    assert loop.states() == {"t": "running"}


def test_only_running_status_and_update_time_are_written(rig: Rig) -> None:
    rig.insert()
    before = rig.document()
    rig.loop().turn()
    after = rig.document()
    assert set(after) - set(before) == {"running_status", "update_time"}
    assert {name: after[name] for name in before} == before


def test_a_paused_task_does_not_fire(rig: Rig) -> None:
    pid = rig.insert()
    loop = rig.loop()
    loop.turn()
    eventually("a tick", lambda: bool(rig.hints.sent))
    rig.set(pid, set_to_status="paused")
    loop.turn()
    sent, until = len(rig.hints.sent), time.monotonic() + 2.2
    while time.monotonic() < until:
        assert len(rig.hints.sent) == sent
        time.sleep(0.05)


def test_a_task_whose_document_is_gone_is_removed(rig: Rig) -> None:
    pid = rig.insert()
    loop = rig.loop()
    loop.turn()
    rig.delete(pid)
    loop.turn()
    assert loop.states() == {} and rig.tasks.find("t") is None


def test_edits_while_running_are_followed(rig: Rig) -> None:
    pid = rig.insert(interval_para={"hour": 3, "minute": 0})
    loop = rig.loop()
    loop.turn()
    assert (loop.next_runs()["t"].hour, loop.next_runs()["t"].minute) == (3, 0)
    rig.set(pid, interval_para={"hour": 4, "minute": 30})
    loop.turn()
    assert (loop.next_runs()["t"].hour, loop.next_runs()["t"].minute) == (4, 30)


def test_a_bad_edit_leaves_the_former_schedule_and_says_so(rig: Rig) -> None:
    pid = rig.insert(interval_para={"hour": 3})
    loop = rig.loop()
    loop.turn()
    due = loop.next_runs()["t"]
    rig.set(pid, interval_para={"hour": 33})
    loop.turn()
    assert loop.next_runs()["t"] == due and rig.said() == "running"
    assert "goes on as before" in (rig.tasks.record(pid) or {})["why"]
    rig.set(pid, set_to_status="paused")
    loop.turn()
    assert rig.said() == "paused", "and it can be paused"


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"interval_para": {"second": 61}}, "61"),
        ({"interval_para": "often"}, "mapping"),
        ({"task_kwargs": {"edge": "no such"}}, "no such"),
        ({"task_kwargs": None}, "not nothing"),
        ({"task_kwargs": "edge"}, "not str"),
        ({"job_name": "s2ch"}, "is of kind s2s"),
        ({"job_name": "os:system"}, "may not be jobs"),
        ({"job_name": "unheard of"}, "there is no job"),
        ({"end_dt": "2001-01-01 00:00:00"}, "no further run"),
        ({"interval_para": {"date": "2001-01-01 00:00:00"}}, "no further run"),
    ],
)
def test_a_task_that_cannot_run_hinders_no_other(rig: Rig, fields: dict[str, object], says: str) -> None:
    bad = rig.insert("bad", **fields)
    rig.insert("good", interval_para={"hour": 3})
    loop = rig.loop()
    loop.turn()
    assert rig.said("good") == "running"
    assert says in (rig.tasks.record(bad) or {})["why"]


POISON = [
    {"interval_para": {"second": "*/5"}, "start_dt": "9999-12-31 23:59:59"},
    {"interval_para": {"interval": {"seconds": 5}}, "start_dt": "9999-12-31 23:59:59"},
]


@pytest.mark.parametrize("fields", POISON)
def test_a_start_that_no_clock_reaches_harms_its_own_task_only(rig: Rig, fields: dict[str, object]) -> None:
    rig.insert("gone", interval_para={"hour": 3})
    loop = rig.loop()
    loop.turn()
    bad = rig.insert("bad", **fields)
    rig.insert("good", interval_para={"hour": 3})
    rig.delete(f"{rig.machine}.gone")
    loop.turn()
    assert loop.states() == {"good": "running"} and rig.said("good") == "running" and rig.said("bad") == "init"
    why = (rig.tasks.record(bad) or {})["why"]
    assert "start_date '9999-12-31 23:59:59' cannot be used" in why
    assert loop.trouble == f"task {bad}: {why}"
    rig.set(bad, start_dt="")
    loop.turn()
    assert rig.said("bad") == "running" and loop.trouble == ""


@pytest.mark.parametrize("broken", ["trigger", "timing"])
def test_an_error_that_nobody_expected_is_that_of_one_task(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, broken: str
) -> None:
    """All else of the turn is done; it is told once and not in every turn, and over when the document is mended."""
    bad = rig.insert("bad", interval_para={"hour": 4})
    asked = rig.insert("good", interval_para={"hour": 3})

    def fails(task: Task, *_: object) -> object:
        if task.task_id == "bad":
            raise IndexError("list index out of range")
        return sound(task) if broken == "timing" else sound(task, "UTC")

    with monkeypatch.context() as patched:
        sound = vars(Task)[broken].fget if broken == "timing" else vars(Task)[broken]
        patched.setattr(Task, broken, property(fails) if broken == "timing" else fails)
        loop = rig.loop()
        rig.tasks.ask(asked, int(time.time() * 1000))
        for _ in range(3):
            loop.turn()
        assert loop.states() == {"good": "running"} and rig.said("good") == "running"
        eventually("the run that was asked for", lambda: bool(rig.hints.sent))
        why = (rig.tasks.record(bad) or {})["why"]
        assert "IndexError: list index out of range" in why and why in loop.trouble
        assert [one.exc_info is not None for one in caplog.records if one.levelname == "ERROR"] == [True]
    loop.turn()
    assert rig.said("bad") == "running" and loop.trouble == ""


def test_a_task_that_cannot_even_be_looked_at_ends_no_turn(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    bad = rig.insert("bad", interval_para={"hour": 4})
    rig.insert("good", interval_para={"hour": 3})
    sound = Loop._tell

    def fails(loop: Loop, task: Task, state: State) -> None:
        if task.task_id == "bad":
            raise RecursionError("too deep")
        sound(loop, task, state)

    monkeypatch.setattr(Loop, "_tell", fails)
    loop = rig.loop()
    loop.turn()
    loop.turn()
    assert rig.said("good") == "running" and "RecursionError: too deep" in loop.trouble
    assert [one.exc_info is not None for one in caplog.records if one.levelname == "ERROR"] == [True]
    assert "too deep" in (rig.tasks.record(bad) or {})["why"]


def test_of_many_tasks_that_cannot_be_followed_some_are_told(rig: Rig) -> None:
    for n in range(5):
        rig.insert(f"bad{n}", interval_para={"second": "6" * 5000})
    loop = rig.loop()
    loop.turn()
    assert "bad2: " in loop.trouble and "bad3" not in loop.trouble and loop.trouble.endswith("see `dataflow task ls`")
    assert "and 2 more" in loop.trouble and len(loop.trouble) < 1200
    for n in range(5):
        rig.delete(f"{rig.machine}.bad{n}")
    loop.turn()
    assert loop.trouble == ""


def test_a_date_fires_once_and_the_task_is_init_then(rig: Rig) -> None:
    rig.insert(interval_para={"date": time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(time.time() + 2))})
    loop = rig.loop()
    loop.turn()
    eventually("the tick", lambda: len(rig.hints.sent) == 1)
    eventually("its end", lambda: bool(loop.turn() or rig.said() == "init"))  # type: ignore[func-returns-value]
    loop.turn()
    assert loop.states() == {} and len(rig.hints.sent) == 1


def test_restarted_it_knows_who_was_paused(rig: Rig) -> None:
    pid = rig.insert(interval_para={"hour": 3})
    first = rig.loop()
    first.turn()
    rig.set(pid, set_to_status="paused")
    first.turn()
    first.stop()
    second = rig.loop()
    second.turn()
    assert second.states() == {"t": "paused"} and rig.said() == "paused"


def test_outcomes_are_kept(rig: Rig) -> None:
    pid = rig.insert()
    rig.hints.answer = Outcome("failed", "no table", {"read": 5})
    loop = rig.loop()
    loop.turn()
    eventually("an outcome", lambda: bool(loop.turn() or (rig.tasks.record(pid) or {}).get("history")))  # type: ignore[func-returns-value]
    record = rig.tasks.record(pid) or {}
    assert record["errors"] >= 1 and record["runs"] >= record["errors"]
    entry = record["history"][0]
    assert (entry["state"], entry["error"], entry["facts"]) == ("failed", "no table", {"read": 5})
    assert entry["tick"] == rig.hints.ticks[0]


def test_a_run_that_is_still_going_is_not_started_again(rig: Rig) -> None:
    rig.insert()
    rig.hints.answer = None
    loop = rig.loop()
    loop.turn()
    eventually("ticks that were left out", lambda: loop.runs.of(f"{rig.machine}.t").skipped >= 2)
    assert len(rig.hints.sent) == 1
    rig.hints.answers[rig.hints.ids[0]] = Outcome("empty")
    eventually("the next tick", lambda: len(rig.hints.sent) == 2)


def test_a_lost_hint_is_sent_again_for_the_same_tick(rig: Rig) -> None:
    rig.insert()
    rig.hints.answer = None
    loop = rig.loop()
    loop.turn()
    eventually("a hint", lambda: len(rig.hints.sent) == 1)
    rig.hints.answers[rig.hints.ids[0]] = Outcome(EXPIRED)
    loop.turn()
    assert len(rig.hints.sent) == 1
    rig.clock.off_s = RESEND_MS / 1000
    loop.turn()
    assert rig.hints.sent[1] == rig.hints.sent[0]


def test_a_run_that_meets_another_runner_ends_at_once(rig: Rig) -> None:
    pid = rig.insert(interval_para={"hour": 3})
    rig.hints.answer = Outcome(HELD)
    loop = rig.loop()
    loop.turn()
    loop.runs.begin(Task.of(rig.document()), int(time.time() * 1000))
    loop.turn()
    record = loop.runs.of(pid)
    assert [one.state for one in record.history] == [HELD] and not record.under_way and record.errors == 0


def test_tasks_of_one_edge_do_not_skip_ticks_for_one_another(rig: Rig) -> None:
    pids = [rig.insert(f"t{n}", interval_para={"second": "*/2"}) for n in range(4)]
    rig.hints.answer = Outcome(HELD)
    loop = rig.loop()
    eventually("runs", lambda: bool(loop.turn()) or all(loop.runs.of(pid).runs >= 3 for pid in pids))  # type: ignore[func-returns-value]
    assert [loop.runs.of(pid).skipped for pid in pids] == [0, 0, 0, 0]


def test_who_asked_again_waits_for_the_run_that_the_first_hint_began(rig: Rig) -> None:
    pid = rig.insert(interval_para={"hour": 3})
    rig.hints.answer = None
    loop = rig.loop()
    loop.turn()
    loop.runs.begin(Task.of(rig.document()), int(time.time() * 1000))
    rig.clock.off_s = RESEND_MS / 1000
    loop.turn()
    rig.hints.answers[rig.hints.ids[1]] = Outcome(HELD)
    loop.turn()
    assert loop.runs.of(pid).under_way and len(rig.hints.sent) == 2


def test_no_password_of_an_address_is_written_down(rig: Rig) -> None:
    pid = rig.insert(job_name="make_a_request", task_kwargs={"url": "http://u:hunter2@127.0.0.1/"})
    loop = rig.loop()
    loop.turn()
    assert "http://***@127.0.0.1/" in loop.runs.of(pid).why and "hunter2" not in str(rig.tasks.record(pid))
    rig.set(pid, job_name="s2s", task_kwargs={"edge": "http://u:hunter2@127.0.0.1/"})
    loop.turn()
    assert "***" in loop.runs.of(pid).why and "hunter2" not in str(rig.tasks.record(pid))


def test_a_hint_that_another_scheduler_lost_is_sent_again(rig: Rig) -> None:
    pid = rig.insert(interval_para={"hour": 3})
    rig.tasks.claim(pid, 1_000, {"due": 1_000, "hint": "lost", "sent_at": 1_000})
    rig.loop().turn()
    assert rig.hints.sent == [("move", 1_000)]


def test_a_tick_between_two_schedulers_is_made_up_for(rig: Rig) -> None:
    pid = rig.insert(interval_para={"hour": 3}, running_status="running")
    due = int(time.time() * 1000) - 5_000
    rig.tasks.write(pid, {"next_run": due})
    loop = rig.loop()
    loop.turn()
    eventually("the tick", lambda: rig.hints.ticks == [due])
    loop.turn()
    assert loop.next_runs()["t"].hour == 3


def test_a_run_is_begun_when_someone_asks(rig: Rig) -> None:
    pid = rig.insert(set_to_status="init")
    loop = rig.loop()
    loop.turn()
    asked = int(time.time() * 1000)
    rig.tasks.ask(pid, asked)
    loop.turn()
    eventually("the run", lambda: rig.hints.ticks == [asked])
    eventually("its end", lambda: bool(loop.turn() or (rig.tasks.record(pid) or {})["done"] >= asked))  # type: ignore[func-returns-value]
    loop.turn()
    assert len(rig.hints.sent) == 1


def test_of_two_loops_one_leads_and_the_other_takes_over(rig: Rig) -> None:
    rig.insert()
    one, two = rig.loop(), rig.loop()
    one.turn()
    two.turn()
    assert one.leads and not two.leads and two.held_by and two.states() == {}
    eventually("a tick", lambda: bool(rig.hints.sent))
    one.stop()
    two.turn()
    assert two.leads and two.states() == {"t": "running"}
    seen = len(rig.hints.sent)
    eventually("ticks go on", lambda: len(rig.hints.sent) >= seen + 2)
    assert len(rig.hints.ticks) == len(set(rig.hints.ticks)), "each tick once"


def test_two_loops_that_both_think_they_lead_fire_each_tick_once(rig: Rig) -> None:
    rig.insert()
    one, two = rig.loop(lease_s=1.0), rig.loop(lease_s=1.0)
    one.turn()
    deadline = time.monotonic() + 6
    while time.monotonic() < deadline:
        two.turn()  # takes over when the first has been silent for a second; that one's board goes on
        time.sleep(0.1)
    assert two.leads and len(rig.hints.ticks) >= 4
    assert len(rig.hints.ticks) == len(set(rig.hints.ticks))


def test_mongo_away_means_going_on(redis_url: str, own_mongo: MongoServer, tmp_path: Path) -> None:
    with Rig(redis_url, own_mongo.url, tmp_path) as rig:
        rig.insert()
        loop = rig.loop()
        loop.turn()
        eventually("a tick", lambda: bool(rig.hints.sent))
        own_mongo.kill()
        loop.turn()
        assert loop.trouble and loop.states() == {"t": "running"} and loop.leads
        seen = len(rig.hints.sent)
        eventually("ticks go on", lambda: len(rig.hints.sent) >= seen + 2)
        own_mongo.start()
        eventually("documents again", lambda: bool(loop.turn() or not loop.trouble))  # type: ignore[func-returns-value]
        loop.turn()
        record = rig.tasks.record(f"{rig.machine}.t") or {}
        assert record["runs"] >= seen + 2, "what happened meanwhile is written down"
        assert len(rig.hints.ticks) == len(set(rig.hints.ticks))


def test_on_a_full_disk_of_mongo_ticks_go_on_and_their_ends_are_written_down_later(
    redis_url: str, own_mongo: MongoServer, tmp_path: Path
) -> None:
    with Rig(redis_url, own_mongo.url, tmp_path) as rig:
        pid = rig.insert()
        loop = rig.loop()
        loop.turn()
        rig.hints.answer = None
        eventually("a run is under way", lambda: bool(rig.hints.sent))
        loop.turn()
        own_mongo.fill_disk()
        rig.hints.answers = {hint: Outcome("empty") for hint in rig.hints.ids}
        rig.hints.answer = Outcome("empty")
        loop.turn()
        seen = len(rig.hints.sent)
        eventually("ticks go on", lambda: len(rig.hints.sent) >= seen + 2)
        own_mongo.free_disk()
        rig.set(pid, set_to_status="paused")
        eventually("paused", lambda: bool(loop.turn() or rig.said() == "paused"))  # type: ignore[func-returns-value]
        loop.turn()
        record = rig.tasks.record(pid) or {}
        assert record["due"] == record["done"], "no run is said to be under way"
        assert record["runs"] >= seen + 2


def test_a_standby_takes_over_while_mongo_is_away(redis_url: str, own_mongo: MongoServer, tmp_path: Path) -> None:
    with Rig(redis_url, own_mongo.url, tmp_path) as rig:
        pid = rig.insert()
        one, two = rig.loop(), rig.loop()
        one.turn()
        two.turn()
        eventually("two ticks", lambda: len(rig.hints.sent) >= 2)
        one.turn()
        stored = (rig.tasks.record(pid) or {})["runs"]
        own_mongo.kill()
        one.stop()
        two.turn()
        seen = len(rig.hints.sent)
        eventually("ticks go on", lambda: len(rig.hints.sent) >= seen + 2)
        own_mongo.start()
        eventually("documents again", lambda: bool(two.turn() or not two.trouble))  # type: ignore[func-returns-value]
        two.turn()
        assert (rig.tasks.record(pid) or {})["runs"] >= stored + 2
        assert len(rig.hints.ticks) == len(set(rig.hints.ticks))


def test_without_documents_at_the_start_nothing_is_made_up(
    redis_url: str, own_mongo: MongoServer, tmp_path: Path
) -> None:
    with Rig(redis_url, own_mongo.url, tmp_path) as rig:
        rig.write("{second: '*'}")
        own_mongo.kill()
        loop = rig.loop()
        loop.turn()
        assert not loop.ready and loop.states() == {} and loop.trouble
        own_mongo.start()
        eventually("documents", lambda: bool(loop.turn() or loop.ready))  # type: ignore[func-returns-value]
        loop.turn()
        assert loop.states() == {"move": "running"}


def test_redis_away_no_tick_fires_and_then_they_go_on(
    own_redis: RedisServer, mongo: MongoServer, tmp_path: Path
) -> None:
    with Rig(own_redis.url, mongo.url, tmp_path) as rig:
        rig.insert()
        loop = rig.loop()
        loop.turn()
        eventually("a tick", lambda: bool(rig.hints.sent))
        own_redis.kill()
        loop.turn()
        seen = len(rig.hints.sent)
        assert loop.states() == {"t": "running"}
        own_redis.start()
        loop.turn()
        eventually("ticks go on", lambda: len(rig.hints.sent) >= seen + 2)
        assert len(rig.hints.ticks) == len(set(rig.hints.ticks))


def test_after_the_clock_was_set_back_ticks_go_on(rig: Rig) -> None:
    pid = rig.insert()
    rig.tasks.claim(pid, int((time.time() + 3600) * 1000), {})  # an hour ahead, then set right
    loop = rig.loop()
    loop.turn()
    eventually("ticks", lambda: len(rig.hints.sent) >= 2)
    assert max(rig.hints.ticks) < (time.time() + 60) * 1000


def test_a_clock_that_is_set_while_it_runs(rig: Rig) -> None:
    rig.insert(interval_para={"interval": {"seconds": 1}})
    loop = rig.loop()
    loop.turn()
    eventually("a tick", lambda: bool(rig.hints.sent))
    rig.clock.off_s = -3600
    loop.turn()
    seen = len(rig.hints.sent)
    eventually("ticks go on", lambda: len(rig.hints.sent) >= seen + 2)


# -- the flow's own


def applied(rig: Rig, loop: Loop, task: str) -> None:
    """Change the flow file, apply it, turn."""
    rig.write(task)
    apply(rig.flow, connect(rig.redis_url))
    loop.turn()


def test_the_flow_owns_the_schedule_and_the_document_the_wish(rig: Rig) -> None:
    rig.write("{hour: 3}")
    loop = rig.loop()
    loop.turn()
    document = rig.document("move")
    assert (document["_id"], document["job_name"], document["task_kwargs"], document["set_to_status"]) == (
        f"{rig.machine}.move", "s2s", {"edge": "move"}, "running",
    )  # fmt: skip
    assert rig.said("move") == "running"
    rig.set(document["_id"], set_to_status="paused", interval_para={"hour": 9})
    loop.turn()
    loop.stop()
    again = rig.loop()
    again.turn()
    assert rig.document("move")["interval_para"] == {"hour": 3}
    assert rig.document("move")["set_to_status"] == "paused" and again.states() == {"move": "paused"}


def test_a_newly_applied_flow_is_followed(rig: Rig) -> None:
    rig.write("{hour: 3}")
    apply(rig.flow, connect(rig.redis_url))
    loop = rig.loop()
    loop.turn()
    applied(rig, loop, "{hour: 4}")
    assert loop.next_runs()["move"].hour == 4


def test_a_schedule_that_the_flow_drops_ends_and_comes_back_with_it(rig: Rig) -> None:
    rig.write("{hour: 3}")
    apply(rig.flow, connect(rig.redis_url))
    loop = rig.loop()
    loop.turn()
    applied(rig, loop, "")
    assert loop.states() == {} and rig.said("move") == "init"
    applied(rig, loop, "{hour: 5}")
    assert loop.states() == {"move": "running"}


def test_a_schedule_that_becomes_external_goes_on(rig: Rig) -> None:
    rig.write("{hour: 3}")
    apply(rig.flow, connect(rig.redis_url))
    loop = rig.loop()
    loop.turn()
    applied(rig, loop, "external")
    assert loop.states() == {"move": "running"} and loop.next_runs()["move"].hour == 3
