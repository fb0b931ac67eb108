"""Commands that look at a flow: status, audit, dlq, tail; and those that change what is declared: apply, release."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import pytest

from dataflow.cli.audit import Tables
from dataflow.store.alarms import raise_alarm
from dataflow.store.edgeruns import note_edge_run
from dataflow.store.live import beat
from dataflow.store.outcomes import Dead, Drop, Out, Park
from dataflow.store.redis import call
from tests.dataflow.cli.conftest import Site
from tests.dataflow.store.store_contract import freeze

pytestmark = pytest.mark.integration


TWO = '  two: {from: a.stream_in, to: c.stream_out, handler: "steps:two", batch: 10}\n'


class TestApply:
    def test_it_says_what_it_did(self, site: Site) -> None:
        answer = site.run("apply")
        assert (answer.out, answer.code) == ("flow 'net' applied to main as revision 1: 4 streams, 4 readers\n", 0)
        assert site.run("apply", "flow.yml", "--json").json["main"]["revision"] == 2

    def test_another_name_for_the_same_server_is_the_same_flow(
        self, site: Site, redis_url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        site.run("apply")
        monkeypatch.setenv("DATAFLOW_REDIS_URL", redis_url.replace("127.0.0.1", "localhost"))
        assert site.run("status", "--json").json["applied"]["main"] == {"revision": 1, "current": True}
        findings = site.run("doctor", "--json").json["findings"]
        assert "applied" not in [one["code"] for one in findings if one["level"] == "wrong"]

    def test_a_lost_group_is_told(self, site: Site) -> None:
        site.store.apply()
        site.store.lose_group(site.store.keys.stream("a.stream_in"), "one")
        assert "made again where it stood: a.stream_in/one" in site.run("apply").out
        (alarm,) = site.run("status", "--json").json["alarms"]
        assert (alarm["kind"], alarm["subject"]) == ("group-lost", "a.stream_in/one")
        site.run("apply")
        assert site.run("status", "--json").json["alarms"] == []

    def test_a_reader_that_the_flow_dropped_is_kept_until_it_is_released(self, site: Site) -> None:
        site.store.apply()
        site.put(1, 2, 3)
        site.change(TWO, "")
        held = site.run("apply").out
        assert "kept: a.stream_in/two" in held and "for 3 messages wait for it" in held
        assert site.run("status", "--json").json["streams"][0]["held_by"] == ["one", "two"]
        command = held[held.index("dataflow release") :].split()[1:]
        answer = site.run(*command, "--yes")
        assert (answer.out, answer.code) == ("released a.stream_in/two: 3 messages dropped\n", 0)
        assert "two" not in site.run("apply").out
        assert site.run("audit").code == 0

    def test_a_reader_without_messages_is_let_go_of(self, site: Site) -> None:
        site.store.apply()
        raise_alarm(site.client, site.store.keys, "handler", "two", "x" * 5000)
        assert [len(alarm["text"]) for alarm in site.run("status", "--json").json["alarms"]] == [2000]
        site.change(TWO, "")
        assert "let go of: a.stream_in/two\n" in site.run("apply").out
        assert site.run("status", "--json").json["alarms"] == [], "nobody would take it down"

    def test_a_reader_with_another_name_goes_on(self, site: Site) -> None:
        site.store.apply()
        site.put(1, 2, 3)
        site.change("  two: {from: a.stream_in", "  three: {from: a.stream_in")
        told = site.run("apply").out
        assert "three goes on where two stood, which the flow no longer has\n" in told
        assert "kept" not in told
        assert site.run("status", "--json").json["streams"][0]["held_by"] == ["one", "three"]
        assert site.run("audit").code == 0

    def test_a_reader_of_the_flow_is_not_released(self, site: Site) -> None:
        site.store.apply()
        site.put(1)
        answer = site.run("release", "one", "--yes")
        assert (answer.code, "is a reader of the flow" in answer.err) == (2, True)
        assert (site.run("release", "nobody", "--yes").code, site.run("release").code) == (2, 2)
        assert site.store.view("a.stream_in").groups[0].waiting == 1


class TestStatus:
    def test_everything_is_told(self, site: Site) -> None:
        site.store.apply()
        site.put(*range(10))
        hop = site.store.hop("one")
        a, b, c, *_ = hop.read("c", 6, 0)
        message = [b"_mid", b"o", b"_path", b"p", b"n", b"1"]
        hop.finish("c", [(a, Out([(1, message)])), (b, Dead("x", "y", 1)), (c, Park(9**13, 1))])
        lane = site.store.lane()
        freeze(lane, lane.acquire("n1", 60_000, "line"))
        lane.pause("schema drift")
        raise_alarm(site.client, site.store.keys, "edge-paused", "copy", "more than half is bad")
        beat(site.client, site.store.keys, "sync", "sync@h.1", edges={"copy": "paused"}, modes={"archive": "token"})
        beat(site.client, site.store.keys, "worker", "one@h.2", name="one", processes=[3, 4])
        seen = site.run("status", "--json").json
        assert seen["applied"] == {"main": {"revision": 1, "current": True}}
        stream = seen["streams"][0]
        assert (stream["depth"], stream["max_len"], stream["added"], stream["held_by"]) == (
            10,
            2000,
            10,
            ["two", "one"],
        )
        one = stream["readers"][0]
        numbers = ("undelivered", "in_work", "parked", "handled", "dead", "processes")
        assert [one[name] for name in numbers] == [4, 3, 1, 1, 1, 2]
        copy, archive = seen["edges"]
        assert (copy["lag"], copy["open"], copy["paused"], copy["runner"]) == (1, 1, "schema drift", "n1")
        assert (copy["mode"], copy["state"], archive["mode"]) == ("marker", "paused", "token")
        assert seen["alarms"][0]["text"] == "more than half is bad"
        assert seen["processes"][0]["name"] == "sync@h.1"

    def test_one_page_for_people(self, site: Site) -> None:
        site.store.apply()
        site.put(*range(10))
        raise_alarm(site.client, site.store.keys, "edge-paused", "copy", "more than half is bad")
        page = site.run("status").out
        for word in ("flow net", "revision 1", "a.stream_in", "two", "archive", "more than half is bad"):
            assert word in page

    def test_the_last_run_of_an_edge_is_told_though_no_process_is_left(self, site: Site) -> None:
        site.store.apply()
        redis, keys = site.client, site.store.keys
        note_edge_run(redis, keys, "archive", "empty", "", "token")
        note_edge_run(redis, keys, "archive", "refused", "no table at clickhouse://u:hunter2@h/", "")
        copy, archive = site.run("status", "--json").json["edges"]
        assert (archive["mode"], archive["state"], archive["last_run"]["state"]) == ("token", "", "refused")
        assert copy["last_run"] == {"state": "", "error": "", "mode": "", "at_ms": 0}
        page = " ".join(site.run("status").out.split())
        assert "refused" in page and "hunter2" not in page
        beat(redis, keys, "sync", "sync@h.1", edges={"archive": "empty"}, modes={})
        assert "refused" not in site.run("status").out, "a process that lives knows better"

    def test_what_is_not_well_is_said(self, site: Site) -> None:
        assert "not applied, run `dataflow apply`" in site.run("status").out
        site.store.apply()
        site.change("max_len: 2000", "max_len: 3000")
        site.store.lose_group(site.store.keys.stream("b.stream_out"), "archive")
        page = site.run("status").out
        assert "another text of the file" in page and "archive: its consumer group is gone from Redis" in page

    def test_who_holds_a_stream_is_told_with_the_reason_and_what_to_do(self, site: Site) -> None:
        site.store.apply()
        site.put(1, 2, 3)
        beat(site.client, site.store.keys, "worker", "two@h.2", name="two", processes=[3])
        one, two = site.run("status", "--json").json["streams"][0]["holds"]
        assert (one["reader"], one["reason"], one["waiting"]) == ("one", "no_process", 3)
        assert (two["reader"], two["reason"]) == ("two", "behind")
        assert "one: no process runs it: `dataflow worker flow.yml one` does" in site.run("status").out

    def test_when_a_stream_will_be_full(self, site: Site) -> None:
        site.store.apply()
        note = {"at_ms": site.store.hop("one").now_ms() - 10_000, "depths": {"a.stream_in": 0}}
        call(site.client, "LPUSH", site.store.keys.trend, json.dumps(note))
        site.put(*range(200))
        stream = site.run("status", "--json").json["streams"][0]
        assert stream["growth_per_s"] == pytest.approx(20, rel=0.1)
        assert stream["full_in_s"] == pytest.approx(90, rel=0.1)
        assert "1 min 3" in site.run("status").out or "1 min 2" in site.run("status").out

    def test_memory_and_where_readers_began(self, site: Site) -> None:
        site.store.apply()
        call(site.client, "CONFIG", "SET", "maxmemory", 10**9)
        seen = site.run("status", "--json").json
        assert (seen["memory"]["main"]["limit_bytes"], seen["memory"]["main"]["door"]) == (10**9, "open")
        assert {r["join"]["where"] for stream in seen["streams"] for r in stream["readers"]} == {"start"}
        assert "MiB of 954 (0%)" in site.run("status").out

    def test_watching_ends_with_ctrl_c(self, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
        site.store.apply()
        looks = iter([None, None])

        def stop_after_two(seconds: float) -> None:
            assert seconds == 2.0
            if next(looks, "end") == "end":
                raise KeyboardInterrupt

        monkeypatch.setattr("dataflow.cli.status.time.sleep", stop_after_two)
        answer = site.run("status", "--watch", "--json")
        assert (answer.code, [look["flow"] for look in answer.lines]) == (130, ["net", "net", "net"])


class TestAudit:
    def test_a_clean_flow(self, site: Site) -> None:
        site.store.apply()
        site.put(1, 2)
        answer = site.run("audit")
        assert answer.code == 0
        assert re.search(r"^audit: clean: \d+ ok of \d+$", answer.out, re.MULTILINE)
        told = site.run("audit", "--json").json
        assert told["clean"] and {"check", "subject", "equation", "left", "right", "drift", "state", "text"} == set(
            told["findings"][0]
        )
        assert site.run("audit", "--json", "--problems").json == {"clean": True, "findings": []}

    def test_a_drift(self, site: Site) -> None:
        site.store.apply()
        site.put(1, 2)
        ((id_, _), _) = site.store.fields(site.store.keys.stream("a.stream_in"))
        site.store.remove_by_hand("a.stream_in", id_)
        answer = site.run("audit", "--problems")
        assert (answer.code, "audit: DRIFT" in answer.out, "entries are gone" in answer.out) == (1, True, True)
        told = site.run("audit", "--json", "--problems").json
        assert not told["clean"]
        assert {(f["subject"], f["drift"]) for f in told["findings"]} == {
            ("a.stream_in", 1), ("a.stream_in/one", 1), ("a.stream_in/two", 1),
        }  # fmt: skip

    def test_a_drift_that_is_known_is_taken_as_the_new_beginning(self, site: Site) -> None:
        site.store.apply()
        site.put(1, 2)
        ((id_, _), _) = site.store.fields(site.store.keys.stream("a.stream_in"))
        site.store.remove_by_hand("a.stream_in", id_)
        answer = site.run("audit", "--rebase", "--yes")
        assert answer.code == 0, answer.out
        assert re.search(r"^corrected .*counts removed by \+1 ", answer.out, re.MULTILINE)
        assert "counters were corrected 1 times, the last time by" in site.run("audit").out
        assert site.run("audit", "--json").json["clean"]

    def test_tables_are_counted(self) -> None:
        asked: list[str] = []

        class Warehouse:
            def rows(self, sql: str, params: Any = None, *, timeout_s: float = 60.0) -> Sequence[dict[str, Any]]:
                asked.append(sql)
                return [{"n": 5, "mids": 4}]

        warehouse: Any = Warehouse()
        assert Tables(warehouse).count("db.scores") == (5, 4)
        assert asked == ["SELECT count() AS n, uniqExact(_mid) AS mids FROM `db`.`scores`"]


class TestDeadLetters:
    def bury(self, site: Site, count: int) -> None:
        site.store.apply()
        site.put(*range(count))
        hop = site.store.hop("one")
        error = "Traceback (most recent call last):\n  File ...\nValueError: no good"
        hop.finish("c", [(entry, Dead("raised", error, 5)) for entry in hop.read("c", count, 0)])

    def test_how_many_each_reader_has(self, site: Site) -> None:
        self.bury(site, 3)
        told = {row["reader"]: row for row in site.run("dlq", "ls", "--json").json}
        assert (told["one"]["letters"], told["one"]["reasons"], told["two"]["letters"]) == (3, {"raised": 3}, 0)
        assert "3 x raised" in site.run("dlq", "ls").out

    def test_the_letters_of_a_reader(self, site: Site) -> None:
        self.bury(site, 3)
        letters = site.run("dlq", "ls", "one", "--json").json
        assert [letter["mid"] for letter in letters] == ["m0", "m1", "m2"]
        listed = site.run("dlq", "ls", "flow.yml", "one", "-n", "2")
        assert "ValueError: no good" in listed.out and "m2" not in listed.out
        assert listed.err == "2 of 3; -n 3 lists all\n"

    def test_one_letter_whole(self, site: Site) -> None:
        self.bury(site, 1)
        (letter,) = site.run("dlq", "ls", "one", "--json").json
        shown = site.run("dlq", "show", "one", letter["id"]).out
        for part in ("reason    raised", "attempts  5", "n: 0", "x: null", "  ValueError: no good", "path      hub@1"):
            assert part in shown
        assert site.run("dlq", "show", "a.stream_in/one", letter["id"], "--json").json == [letter]

    def test_replay(self, site: Site) -> None:
        self.bury(site, 3)
        ids = [letter["id"] for letter in site.run("dlq", "ls", "one", "--json").json]
        assert site.run("dlq", "replay", "one", ids[1]).out == "replayed 1 to one; 2 dead letters left\n"
        assert site.run("dlq", "replay", "one", ids[1]).out == "replayed 0 to one; 2 dead letters left\n"
        told = site.run("dlq", "replay", "one", "--all", "--json").json
        assert told == {"reader": "one", "replayed": 2, "left": 0}
        assert site.store.view("a.stream_in").groups[0].retry_undelivered == 3
        assert site.run("audit").code == 0

    @pytest.mark.parametrize(
        ("words", "said"),
        [
            (("ls", "nobody"), "no worker or edge 'nobody'"),
            (("ls", "nowhere/one"), "no stream 'nowhere'"),
            (("show", "one"), "at least one id"),
            (("show", "one", "5-5"), "no dead letter '5-5'"),
            (("replay", "one"), "or --all"),
            (("replay", "one", "5-5", "--all"), "or --all"),
        ],
    )
    def test_what_cannot_be_done_is_said(self, site: Site, words: tuple[str, ...], said: str) -> None:
        site.store.apply()
        answer = site.run("dlq", *words)
        assert (answer.code, answer.out) == (2, "")
        assert said in answer.err


class TestTail:
    def test_what_is_there(self, site: Site) -> None:
        site.store.apply()
        site.put(*range(1, 6))
        lines = site.run("tail", "a.stream_in", "--from-start", "--no-follow").lines
        assert [line["n"] for line in lines] == [1, 2, 3, 4, 5]
        assert lines[0] == {"_id": lines[0]["_id"], "_mid": "m1", "rec_id": "r1", "n": 1, "x": None}
        assert [line["n"] for line in site.run("tail", "a.stream_in", "-n", "2", "--no-follow").lines] == [4, 5]
        assert site.run("tail", "a.stream_in", "--no-follow").lines == []
        assert [line["n"] for line in site.run("tail", "a.stream_in", "--from-start", "--count", "1").lines] == [1]
        assert site.run("tail", "a.stream_in", "-n", "1", "--no-follow", "--meta").lines[0]["_path"] == "hub@1"

    def test_nothing_is_consumed(self, site: Site) -> None:
        site.store.apply()
        site.put(1, 2)
        site.run("tail", "a.stream_in", "--from-start", "--no-follow")
        assert len(site.store.hop("one").read("c", 10, 0)) == 2

    def test_what_does_not_fit_the_schema_is_shown_with_the_reason(self, site: Site) -> None:
        site.store.apply()
        call(site.client, "XADD", site.store.keys.stream("a.stream_in").stream, "*", "n", "x", "odd", b"\xff")
        (line,) = site.run("tail", "a.stream_in", "--from-start", "--no-follow").lines
        assert (line["n"], line["odd"], "n" in line["_error"]) == ("x", "\\xff", True)

    def test_numbers_that_json_has_not_are_texts(self, site: Site) -> None:
        site.store.apply()
        at = site.store.keys.stream("a.stream_in").stream
        call(site.client, "XADD", at, "*", "rec_id", "r", "n", "1", "x", "nan")
        assert site.run("tail", "a.stream_in", "--from-start", "--no-follow").lines[0]["x"] == "nan"

    @pytest.mark.acceptance
    def test_what_comes_is_printed_as_it_comes(self, site: Site) -> None:
        site.store.apply()
        site.put(1)
        command = [sys.executable, "-m", "dataflow", "tail", "a.stream_in", "-n", "1"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ, cwd=site.folder) as process:
            assert process.stdout is not None
            assert json.loads(process.stdout.readline())["n"] == 1
            for n in (2, 3):
                site.put(n)
                assert json.loads(process.stdout.readline())["n"] == n
            process.terminate()


@pytest.mark.parametrize(
    "words",
    [("status",), ("audit",), ("dlq", "ls"), ("tail", "a.stream_in"), ("apply",), ("dlq", "replay", "one", "5-5")],
)
def test_a_redis_that_is_away_is_one_clear_line(
    site: Site, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    monkeypatch.setenv("DATAFLOW_REDIS_URL", "redis://:hunter2@127.0.0.1:1/0")
    answer = site.run(*words)
    assert (answer.code, answer.out, answer.err.count("\n")) == (3, "", 1)
    assert "127.0.0.1:1" in answer.err and "hunter2" not in answer.err


def test_an_embedded_server_that_does_not_run_is_said(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DATAFLOW_REDIS_URL")
    answer = site.run("status")
    assert answer.code == 3 and "dataflow up" in answer.err


def test_a_flow_of_a_newer_program_is_not_touched(site: Site) -> None:
    call(site.client, "HSET", site.store.keys.applied, "format", 99)
    for words in (("status",), ("apply",), ("audit",), ("dlq", "replay", "one", "--all")):
        answer = site.run(*words)
        assert answer.code == 2 and "upgrade" in answer.err


def test_the_flow_file_can_be_named_in_either_way(site: Site) -> None:
    (site.folder / "flow.yml").rename(site.folder / "net.yaml")
    site_apply = site.run("apply", "net.yaml")
    assert site_apply.code == 0
    for words in (("status", "-f", "net.yaml"), ("tail", "net.yaml", "a.stream_in", "--no-follow"),
                  ("tail", "a.stream_in", "--no-follow", "-f", "net.yaml"), ("dlq", "ls", "net.yaml")):  # fmt: skip
        assert site.run(*words).code == 0
    assert site.run("status", "net.yaml", "-f", "net.yaml").code == 2
    assert site.run("status").code == 1


def test_other_readers_are_not_disturbed(site: Site) -> None:
    site.store.apply()
    site.put(1, 2)
    two = site.store.hop("two")
    two.finish("c", [(entry, Drop()) for entry in two.read("c", 10, 0)])
    for words in (("status",), ("audit",), ("dlq", "ls"), ("tail", "a.stream_in", "--from-start", "--no-follow")):
        assert site.run(*words).code == 0
    assert len(site.store.hop("one").read("c", 10, 0)) == 2
