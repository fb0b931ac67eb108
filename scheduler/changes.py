"""What becomes of tasks, in the history of changes: also where a document was changed by hand."""

from __future__ import annotations

import logging

from dataflow.access import history
from dataflow.store.keys import Keys
from dataflow.store.redis import Client
from scheduler.machine import State

log = logging.getLogger("dataflow.scheduler")


class Changes:
    """Notes the changes of tasks' states that this scheduler makes.

    Args:
        redis, keys: the server and the keys of the history.
        machine: the machine name whose tasks these are.
    """

    def __init__(self, redis: Client, keys: Keys, machine: str) -> None:
        self._redis, self._keys = redis, keys
        self._who = f"scheduler {machine}"

    def note(self, task_id: str, before: State, now: State, wish: object, why: str) -> None:
        """Note that a task has become something else. Blocks for Redis; never raises on its account.

        Args:
            wish: `set_to_status` of its document.
            why: why it is not as wished; "" if it is.
        """
        facts = {"before": before, "wish": str(wish)[:100], **({"why": why} if why else {})}
        log.info("task %s is %s", task_id, now, extra=facts)
        history.record(self._redis, self._keys, self._who, f"task {now}", task_id, **facts)
