"""The scheduler's lease and its ticks, on every redis-server of this machine."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

import pytest

from dataflow.store.keys import Keys
from dataflow.store.leadership import SET_BACK_MS, Leadership
from dataflow.store.redis import call, connect

pytestmark = pytest.mark.integration

NOW = 1_800_000_000_000


def leadership(url: str, lease_s: float = 10.0, machine: str = "m") -> Leadership:
    return Leadership(connect(url), Keys("f"), machine, lease_s)


def test_one_of_two_leads(both_redis_url: str) -> None:
    one, two = leadership(both_redis_url), leadership(both_redis_url)
    assert one.keep() is None and one.leads
    held = two.keep()
    assert held is not None and held.nonce == one.nonce and 9 < held.left_s <= 10 and not two.leads
    assert leadership(both_redis_url, machine="other").keep() is None


def test_who_lets_go_is_followed_at_once(both_redis_url: str) -> None:
    one, two = leadership(both_redis_url), leadership(both_redis_url)
    one.keep()
    two.resign()
    assert two.keep() is not None, "only the holder lets go"
    one.resign()
    assert two.keep() is None and not one.leads


def test_a_lease_that_is_not_kept_runs_out(both_redis_url: str) -> None:
    one, two = leadership(both_redis_url, 0.2), leadership(both_redis_url)
    one.keep()
    deadline = time.monotonic() + 5
    while two.keep() is not None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert not one.leads and one.keep() is not None


def test_the_lease_of_a_dead_process_of_this_machine_counts_for_nothing(both_redis_url: str) -> None:
    code = (
        "import sys; from dataflow.store.leadership import Leadership; from dataflow.store.keys import Keys;"
        "from dataflow.store.redis import connect; l = Leadership(connect(sys.argv[1]), Keys('f'), 'm', 600);"
        "assert l.keep() is None"
    )
    subprocess.run([sys.executable, "-c", code, both_redis_url], check=True)
    assert leadership(both_redis_url).keep() is None


def test_a_tick_fires_once_and_only_for_who_leads(both_redis_url: str) -> None:
    one, two = leadership(both_redis_url), leadership(both_redis_url)
    one.keep()
    assert one.claim("t", NOW, NOW)
    assert not one.claim("t", NOW, NOW) and not one.claim("t", NOW - 1, NOW)
    assert one.claim("t", NOW + 1, NOW) and one.claim("u", NOW, NOW)
    assert not two.claim("t", NOW + 2, NOW)
    one.resign()
    assert not one.claim("t", NOW + 2, NOW)
    two.keep()
    assert not two.claim("t", NOW + 1, NOW), "what fired under another lease does not fire again"
    assert two.claim("t", NOW + 2, NOW)


def test_after_the_clock_was_set_back_ticks_fire_again(both_redis_url: str) -> None:
    one = leadership(both_redis_url)
    one.keep()
    assert one.claim("t", NOW, NOW)
    assert not one.claim("t", NOW - SET_BACK_MS, NOW - SET_BACK_MS), "so little may be two clocks that differ"
    early = NOW - SET_BACK_MS - 1
    assert one.claim("t", early, early) and not one.claim("t", early, early)


def test_of_many_threads_one_fires(both_redis_url: str) -> None:
    one = leadership(both_redis_url)
    one.keep()
    won: list[int] = []

    def claim() -> None:
        won.extend(tick for tick in range(NOW, NOW + 100) if one.claim("t", tick, NOW))

    threads = [threading.Thread(target=claim) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(won) == sorted(set(won)), "no tick fires twice"


def test_a_key_that_holds_something_else_is_left_alone(both_redis_url: str) -> None:
    client = connect(both_redis_url)
    call(client, "SET", Keys("f").scheduler("m"), "x")
    with pytest.raises(Exception, match="WRONGTYPE"):
        leadership(both_redis_url).keep()
    assert call(client, "GET", Keys("f").scheduler("m")) == b"x"
