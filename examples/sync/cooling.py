"""The job that takes old readings out of the hot store, each once, whatever is killed in between."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pymongo
from pymongo.collection import Collection

from dataflow.client import Hub
from dataflow.connections import Resolved, resolve
from dataflow.flow.load import load

FLOW = Path(__file__).resolve().parent / "flow.yml"
Readings = Collection[dict[str, Any]]


def move_old(older_than_h: float, batch: int = 500) -> str:
    """Move readings that are older than so many hours to the flow, until none is left. Told in the task's history.

    A batch is marked, sent under its mark as idempotency key, and deleted once the hub has it. A run that is cut short
    leaves a marked batch; the next one sends the very same again, and the hub knows it.
    """
    addresses, moved = resolve(load(FLOW)), 0
    with hot_store(addresses) as client, Hub(addresses.hub_url) as hub:
        readings = readings_of(client)
        while mark := _marked(readings) or _mark(readings, older_than_h, batch):
            found = list(readings.find({"moving": mark}).sort("_id", 1))
            hub.send(map(_message, found), idempotency_key=mark)
            readings.delete_many({"moving": mark})
            moved += len(found)
    return f"{moved} moved"


def hot_store(addresses: Resolved) -> pymongo.MongoClient[dict[str, Any]]:
    """A client of the hot store. The caller closes it."""
    return pymongo.MongoClient(addresses.mongo["hot"])


def readings_of(client: pymongo.MongoClient[dict[str, Any]]) -> Readings:
    """The collection: {_id, at (UTC, ISO 8601), sensor, value}, and `moving` while a reading is on its way."""
    return client["plant"]["readings"]


def _marked(readings: Readings) -> str | None:
    """The batch that a former run has left, if any."""
    found = readings.find_one({"moving": {"$exists": True}})
    return None if found is None else str(found["moving"])


def _mark(readings: Readings, older_than_h: float, batch: int) -> str | None:
    """Choose the next batch, the oldest first; None if nothing is old enough."""
    limit = (datetime.now(UTC) - timedelta(hours=older_than_h)).isoformat()
    chosen = [one["_id"] for one in readings.find({"at": {"$lt": limit}}).sort("at", 1).limit(batch)]
    if not chosen:
        return None
    mark = uuid4().hex
    readings.update_many({"_id": {"$in": chosen}}, {"$set": {"moving": mark}})
    return mark


def _message(reading: dict[str, Any]) -> dict[str, Any]:
    head = {"rec_id": str(reading["_id"]), "task_for": "readings", "function_type": "keep"}
    return {**head, **{name: reading[name] for name in ("at", "sensor", "value")}}
