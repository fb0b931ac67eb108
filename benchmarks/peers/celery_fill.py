"""Queues a task per message.   python -m benchmarks.peers.celery_fill URL COUNT"""

from __future__ import annotations

import sys

from celery import Celery

from benchmarks.messages import message


def main(url: str, count: int) -> None:
    """Send them all over one connection."""
    app = Celery("bench", broker=url)
    task = app.signature("hop", ignore_result=True)
    with app.producer_pool.acquire(block=True) as producer:
        for i in range(count):
            task.apply_async((message(i),), producer=producer)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
