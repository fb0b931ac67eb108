"""A runner in a process of its own, to be killed or stopped at a step. Run by test_processes.

    python -m tests.sync.victim URL END METHOD WHEN LEASE_S

Prints `there` when it has come to the step, goes on when it gets a line, and prints the state in which it ended.
"""

from __future__ import annotations

import sys

from tests.sync.lab import Lab, tripped


def main(url: str, end: str, method: str, when: str, lease_s: str) -> None:
    lab = Lab(url, lease_s=float(lease_s))

    def wait() -> None:
        print("there", flush=True)
        sys.stdin.readline()

    runner = tripped(lab, end, method, when, wait)
    print(runner.run(max_batches=1).state, flush=True)
    runner.leave()


if __name__ == "__main__":
    main(*sys.argv[1:])
