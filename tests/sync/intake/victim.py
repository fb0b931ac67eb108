"""A runner of a mongo2s edge in a process of its own, to be killed or stopped at a step.

    python -m tests.sync.intake.victim REDIS_URL MONGO_URL PART METHOD WHEN LEASE_S

Prints `there` when it has come to the step, goes on when it gets a line, and prints the state in which it ended.
"""

from __future__ import annotations

import sys

from tests.sync.intake.intake_lab import IntakeLab
from tests.sync.lab import Tripwire


def main(redis_url: str, mongo_url: str, part: str, method: str, when: str, lease_s: str) -> None:
    lab = IntakeLab(redis_url, mongo_url, lease_s=float(lease_s))

    def wait() -> None:
        print("there", flush=True)
        sys.stdin.readline()

    puller = lab.puller()
    setattr(puller, part, Tripwire(getattr(puller, part), method, when, wait))
    print(puller.run(max_batches=1).state, flush=True)
    puller.leave()


if __name__ == "__main__":
    main(*sys.argv[1:])
