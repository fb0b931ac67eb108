"""Redis loses its last second, as a host that loses power may with `appendfsync everysec`.

Required: what was accepted before that second arrives; nothing is there twice, whatever had been carried on meanwhile.
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
            log = _newest_log(rig.redis.folder)
            safe, size = rig.accepted, log.stat().st_size
            rig.pause(1.0)
            rig.redis.kill()
            with log.open("r+b") as file:
                file.truncate(size)
            rig.redis.start()
        rig.until("everything that is left has arrived", lambda: not rig.left())
        rows = rig.rows("doubled")
        assert [n for n, count in rows.items() if count > 1] == []
        assert set(range(safe)) - {n for n in range(safe) if n % 97 == 5} <= set(rows)
        assert set(rig.rows("graded").values()) == {1}


def _newest_log(folder: Path) -> Path:
    """The append-only file that is written to: a folder of its own from Redis 7 on."""
    return max(
        [*folder.glob("appendonlydir/*.incr.aof"), *folder.glob("appendonly.aof")], key=lambda at: at.stat().st_mtime
    )
