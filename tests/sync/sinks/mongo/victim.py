"""A runner of an s2mongo edge in a process of its own, to be killed or stopped at a step.

    python -m tests.sync.sinks.mongo.victim REDIS_URL MONGO_URL END METHOD WHEN LEASE_S

Prints `there` when it has come to the step, goes on when it gets a line, and prints the state in which it ended.
"""

from __future__ import annotations

import sys

from tests.sync.lab import tripped
from tests.sync.sinks.mongo.mongo_lab import MongoLab


def main(redis_url: str, mongo_url: str, end: str, method: str, when: str, lease_s: str) -> None:
    lab = MongoLab(redis_url, mongo_url, lease_s=float(lease_s))

    def wait() -> None:
        print("there", flush=True)
        sys.stdin.readline()

    runner = tripped(lab, end, method, when, wait)
    print(runner.run(max_batches=1).state, flush=True)
    runner.leave()


if __name__ == "__main__":
    main(*sys.argv[1:])
