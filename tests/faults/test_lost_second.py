"""Redis loses its last second, as a host that loses power may with `appendfsync everysec`.

Required: what was accepted before that second arrives; nothing is there twice, whatever had been carried on meanwhile.
The audit names the rows that Redis has forgotten, and nothing else. Once an operator has taken them into the books, it
is clean, and stays so.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.rig import Rig

pytestmark = pytest.mark.acceptance


@pytest.mark.parametrize("try_", range(3))
def test_redis_restarts_from_a_file_cut_one_second_earlier(try_: int, tmp_path: Path) -> None:
    with Rig(tmp_path) as rig:
        with rig.load():
            rig.pause(1.0 + try_ / 3)
            safe, cut = rig.accepted, rig.redis.log_bytes()
            rig.pause(1.0)
            rig.redis.restart_cut_at(cut)
        rig.until("everything that is left has arrived", lambda: not rig.left())
        rows = rig.rows("doubled")
        assert [n for n, count in rows.items() if count > 1] == []
        assert set(range(safe)) - {n for n in range(safe) if n % 97 == 5} <= set(rows)
        assert set(rig.rows("graded").values()) == {1}
        for drift in rig.drifts():  # rows that Redis has forgotten, and nothing else
            assert drift.check == "table" and drift.right > drift.left, drift
        rig.rebase()
        assert rig.drifts() == []
        rig.send()
        rig.until("what is new has arrived", lambda: not rig.left())
        assert rig.drifts() == []
