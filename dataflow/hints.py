"""Sends the hints that ask a sync process to run an edge. A hint names an edge and bounds, and holds no secret."""

from __future__ import annotations

from typing import Any, Final

from celery import Celery
from celery.exceptions import CeleryError
from kombu.exceptions import KombuError
from redis.exceptions import RedisError

from dataflow.broker import RUN_EDGE
from dataflow.errors import OutcomeUnknown, ServerAway
from dataflow.masking import mask_urls
from dataflow.store.redis import Client, call, connect

TIMEOUT_S: Final = 5
"""How long the broker may take to answer."""
MOST: Final = 10_000
"""So many hints may wait for a sync process; a scheduler sends each again as long as none takes it."""
AWAY: Final = (KombuError, CeleryError, RedisError, OSError)
"""What Celery raises when its broker or its result store cannot be reached."""


class HintSender:
    """Sends hints to one flow's queue. Thread-safe. Connects when it is first used.

    It has no result store: an app with one subscribes to the result of every hint it sends, and never lets go.

    Args:
        url: the broker.
        queue: the flow's queue.
    """

    def __init__(self, url: str, queue: str) -> None:
        self._queue = queue
        self._celery = Celery("hints", broker=url)
        limits = {"socket_timeout": TIMEOUT_S, "socket_connect_timeout": TIMEOUT_S}
        self._celery.conf.update(broker_transport_options=limits, task_serializer="json")
        self._redis: Client | None = connect(url) if url.startswith(("redis://", "rediss://")) else None

    def send(
        self,
        edge: str,
        hint: str,
        *,
        expires_s: float,
        tick: int | None = None,
        keep_result: bool = False,
        **bounds: int | None,
    ) -> None:
        """Ask for a run of an edge, by a message of this id. Blocks until the broker has it.

        Args:
            edge: its name.
            hint: id of the message.
            expires_s: it is worth nothing if nobody took it by then.
            tick: which tick of a schedule asks (ms since 1970).
            keep_result: whether Celery keeps what the run did.
            bounds: `max_batches`, `batch`; see `sync.app.run_edge`.

        Raises ServerAway (it may have been sent; it was not if MOST hints wait already).
        """
        self._check_room(edge)
        given: dict[str, Any] = {name: value for name, value in bounds.items() if value is not None}
        try:
            self._celery.send_task(
                RUN_EDGE,
                (edge, tick),
                given,
                task_id=hint,
                queue=self._queue,
                expires=expires_s,
                ignore_result=not keep_result,
                retry=False,
            )
        except AWAY as error:
            raise ServerAway(f"the hint for edge {edge!r} could not be sent: {mask_urls(str(error))}") from error

    def _check_room(self, edge: str) -> None:
        try:
            waiting = self.waiting()
        except (ServerAway, OutcomeUnknown) as error:
            raise ServerAway(f"the hint for edge {edge!r} could not be sent: {error}") from error
        if waiting >= MOST:
            raise ServerAway(
                f"{waiting} hints wait that no one takes; start `dataflow sync`. No more are sent until then"
            )

    def waiting(self) -> int:
        """How many hints nobody has taken yet; 0 where the broker is no plain Redis.

        Raises ServerAway, OutcomeUnknown.
        """
        return 0 if self._redis is None else int(call(self._redis, "LLEN", self._queue))

    def close(self) -> None:
        """Let go of the broker. Safe to call twice."""
        self._celery.close()
        if self._redis is not None:
            self._redis.close()
