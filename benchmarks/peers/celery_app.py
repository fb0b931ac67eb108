"""A Celery task per message on the same Redis: the task appends the result to the target stream.

Best settings for the purpose: JSON, no results, one process (`--pool solo`), a long prefetch, acknowledged early.
"""

from __future__ import annotations

import os
from typing import Any

import redis
from celery import Celery

from benchmarks import steps

URL = os.environ["BENCH_REDIS_URL"]
TARGET = os.environ["BENCH_TARGET"]

app = Celery("bench", broker=URL)
app.conf.update(
    task_ignore_result=True,
    worker_prefetch_multiplier=1000,
    worker_hijack_root_logger=False,
    broker_connection_retry_on_startup=True,
    worker_send_task_events=False,
    broker_pool_limit=1,
)
_client = redis.Redis.from_url(URL)


@app.task(name="hop")  # type: ignore[untyped-decorator]  # Celery has no types
def hop(message: dict[str, Any]) -> None:
    """One message."""
    done = steps.one(message)
    done["ok"] = "true" if done["ok"] else "false"
    _client.xadd(TARGET, done)  # type: ignore[arg-type]
