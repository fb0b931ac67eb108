"""FastStream on the same Redis, reading a stream through a consumer group.

    python -m benchmarks.peers.faststream_app URL SOURCE TARGET one|batch|pipeline

one: a handler per message, its result published by the decorator. batch: the handler gets up to 500 messages and
publishes each. pipeline: the same, but appended with a pipeline of redis-py, which is faster than FastStream's own
publishing. FastStream acknowledges; it does not delete.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from typing import Any

from faststream import FastStream
from faststream.redis import RedisBroker, StreamSub
from faststream.redis.parser import BinaryMessageFormatV1
from redis.asyncio import Redis

from benchmarks import steps

GROUP = "faststream"
BATCH = 500


def main(url: str, source: str, target: str, form: str) -> None:
    """Run until SIGTERM."""
    broker = RedisBroker(url, logger=None, apply_types=False)  # type: ignore[arg-type]
    batch = form != "one"
    at = StreamSub(source, group=GROUP, consumer="c", batch=batch, max_records=BATCH, last_id=">", polling_interval=10)
    subscribe = broker.subscriber(stream=at)
    if form == "one":
        subscribe(broker.publisher(stream=target)(steps.one))
    elif form == "batch":
        subscribe(_publishing_each(broker, target))
    else:
        subscribe(_publishing_in_pipeline(target, url))
    asyncio.run(FastStream(broker, logger=None).run(log_level=logging.WARNING))


def _publishing_each(broker: RedisBroker, target: str) -> Any:
    async def handle(messages: list[dict[str, Any]]) -> None:
        for message in steps.many(messages):
            await broker.publish(message, stream=target)

    return handle


def _publishing_in_pipeline(target: str, url: str) -> Any:
    client = Redis.from_url(url)

    async def handle(messages: list[dict[str, Any]]) -> None:
        pipeline = client.pipeline(transaction=False)
        for message in steps.many(messages):
            message["ok"] = "true" if message["ok"] else "false"
            pipeline.xadd(target, message)  # type: ignore[arg-type]
        await pipeline.execute()

    return handle


def payload(message: dict[str, Any]) -> bytes:
    """A message as FastStream writes it into a stream's field."""
    encoded = BinaryMessageFormatV1.encode(message=message, reply_to=None, headers=None, correlation_id="bench")
    return asyncio.run(encoded)


if __name__ == "__main__":
    main(*sys.argv[1:5])
