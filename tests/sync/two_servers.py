"""A flow whose edge leads from one redis-server to another, each with the streams that are declared on it.

    python -m tests.sync.two_servers URL TARGET_URL END METHOD WHEN LEASE_S

runs its edge once in a process of its own, as `tests.sync.victim` does.
"""

from __future__ import annotations

import sys
from typing import Any

from dataflow.audit import audit, is_clean
from dataflow.store.declare import apply
from dataflow.store.redis import connect
from tests.sync.lab import Lab, tripped

FLOW = """
flow: water
connections:
  near: {redis: "%s"}
  far: {redis: "%s"}
streams:
  a.stream_in: {on: near}
  b.stream_in: {on: far, keep: {messages: 100000}, max_len: 1000, schema: {n: int}}
edges:
  move: {kind: s2s, from: a.stream_in, to: b.stream_in, batch: 10}
"""

ROUTED = """
flow: water
connections:
  near: {redis: "%s"}
  far: {redis: "%s"}
streams:
  a.stream_in: {on: near}
  red.stream_in: {on: far, keep: {messages: 100000}}
  blue.stream_in: {on: far, keep: {messages: 100000}, max_len: 100}
edges:
  move:
    kind: s2s
    from: a.stream_in
    batch: 10
    route: {by: colour, cases: {red: red.stream_in}, other: blue.stream_in}
"""


class TwoServers(Lab):
    """See the module.

    Args:
        patience_s: how long the target may take to answer.
    """

    def __init__(self, url: str, target_url: str, text: str = FLOW, patience_s: float = 5.0, **options: Any) -> None:
        super().__init__(url, text % (url, target_url), target_url, **options)
        self.target.close()
        self.target = connect(target_url, timeout_s=patience_s)

    def declare(self) -> None:
        """Each server gets the streams that are declared on it."""
        apply(self.flow, self.target, "far")
        apply(self.flow, self.redis, "near")

    def books_balance(self) -> None:
        """The audit over both servers is clean."""
        found = audit(self.flow, {"near": self.redis, "far": self.target}, {})
        assert is_clean(found), [one for one in found if one.state == "drift"]


def main(url: str, target_url: str, end: str, method: str, when: str, lease_s: str) -> None:
    lab = TwoServers(url, target_url, lease_s=float(lease_s))

    def wait() -> None:
        print("there", flush=True)
        sys.stdin.readline()

    runner = tripped(lab, end, method, when, wait)
    print(runner.run(max_batches=1).state, flush=True)
    runner.leave()


if __name__ == "__main__":
    main(*sys.argv[1:])
