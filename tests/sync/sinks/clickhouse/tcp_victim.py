"""A runner in a process of its own, to be stopped or killed inside its INSERT. Run by test_server_processes.

    python -m tests.sync.sinks.clickhouse.tcp_victim REDIS_URL CLICKHOUSE_URL TABLE MOMENT LEASE_S

Moments: `early`, when the INSERT has not begun; `before` the lease is looked at, while the server waits for rows;
`between` that and the first row; `after` the rows were sent and before the answer is read. Prints `there` at the
moment, goes on when it gets a line, and prints the state in which it ended. `never` runs through.
"""

from __future__ import annotations

import sys
from typing import Any

from dataflow.clickhouse.link import _Driver
from sync.claim import Claim
from tests.sync.sinks.clickhouse.tcp_lab import TcpLab


def wait() -> None:
    print("there", flush=True)
    sys.stdin.readline()


class Waiting:
    """Waits at the look that is taken inside the INSERT: the second one of a write."""

    def __init__(self, claim: Claim, moment: str) -> None:
        self._claim, self._moment, self._looks = claim, moment, 0

    def check(self, lineage: str, epoch: int, nonce: str = "") -> None:
        self._looks += bool(nonce)
        inside = bool(nonce) and self._looks == 2
        if inside and self._moment == "before":
            wait()
        self._claim.check(lineage, epoch, nonce)
        if self._looks == 1 and bool(nonce) and self._moment == "early":
            wait()
        if inside and self._moment == "between":
            wait()


def main(url: str, ch_url: str, table: str, moment: str, lease_s: str) -> None:
    lab = TcpLab(url, ch_url, table, lease_s=float(lease_s))
    if moment == "after":
        answer = _Driver.receive_end_of_insert_query

        def wait_first(driver: Any) -> None:
            wait()
            answer(driver)

        _Driver.receive_end_of_insert_query = wait_first
    runner = lab.tcp_runner(wrap=lambda claim: Waiting(claim, moment))
    print(runner.run(max_batches=None if moment == "never" else 1).state, flush=True)
    runner.leave()


if __name__ == "__main__":
    main(*sys.argv[1:])
