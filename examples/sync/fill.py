"""Fills the hot store with two days of readings, asks for the old ones to be moved, and shows where they are."""

from __future__ import annotations

import math
import sys
import time
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pymongo
from cooling import FLOW, Readings, hot_store, move_old, readings_of

from dataflow import warehouse
from dataflow.connections import resolve
from dataflow.errors import DataflowError
from dataflow.flow.load import load

NUMBER = 1000
EVERY_MIN = 3
KEPT_HOT_H = NUMBER * EVERY_MIN / 60 / 2
MOVED_DEADLINE_S = 60.0


def main() -> int:
    """Returns 0 if the newer half is in the hot store and the older half is in the cold one, each once."""
    addresses = resolve(load(FLOW))
    cold = warehouse.connect(addresses.warehouse["cold"])
    with hot_store(addresses) as client:
        hot = readings_of(client)
        run = fill(hot)
        print(f"{NUMBER} readings in the hot store, one every {EVERY_MIN} minutes")
        publish(client)
        print(f"task: every 2 seconds, what is older than {KEPT_HOT_H:g} hours moves")
        deadline = time.monotonic() + MOVED_DEADLINE_S
        while (where := counts(hot, cold, run)) != (NUMBER // 2, NUMBER // 2) and time.monotonic() < deadline:
            time.sleep(0.2)
    print("hot: {}, cold: {}".format(*where))
    return 0 if where == (NUMBER // 2, NUMBER // 2) else 1


def fill(hot: Readings) -> str:
    """Put readings in, in the place of those of a former run. Returns what their ids begin with."""
    hot.delete_many({"moving": {"$exists": False}})
    run, now = uuid4().hex[:8], datetime.now(UTC)
    hot.insert_many(
        {
            "_id": f"{run}-{n:04d}",
            "at": (now - timedelta(minutes=EVERY_MIN * (n + 0.5))).isoformat(),
            "sensor": f"pump {n % 4}",
            "value": round(20 + 5 * math.sin(n / 40), 3),
        }
        for n in range(NUMBER)
    )
    return run


def publish(client: pymongo.MongoClient[dict[str, Any]]) -> None:
    """The task as a document, as any program may write it."""
    task = {
        "machine": load(FLOW).machine, "task_id": "cool", "job_name": f"{move_old.__module__}:{move_old.__name__}",
        "interval_para": {"second": "*/2"}, "task_kwargs": {"older_than_h": KEPT_HOT_H}, "set_to_status": "running",
    }  # fmt: skip
    tasks = client["flask_aps"]["task_table"]
    tasks.update_one({"_id": f"{task['machine']}.cool"}, {"$set": task}, upsert=True)


def counts(hot: Readings, cold: warehouse.Warehouse, run: str) -> tuple[int, int]:
    """Readings of this run in the hot and in the cold store; there each row counts, so a repeat would show."""
    if not cold.rows("SELECT 1 AS there FROM system.tables WHERE database = currentDatabase() AND name = 'readings'"):
        return hot.count_documents({}), 0
    (row,) = cold.rows(f"SELECT count() AS n FROM readings WHERE startsWith(rec_id, '{run}')")
    return hot.count_documents({}), int(row["n"])


if __name__ == "__main__":
    try:
        sys.exit(main())
    except DataflowError as error:
        sys.exit(str(error))
