"""Reading and writing the documents of one machine. Every write is conditional or of single fields, never a save.

Nothing here relies on what differs between a real MongoDB and the embedded one: who inserted, how many matched, upserts
in findAndModify.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import mongoengine
from mongoengine.errors import OperationError
from pymongo.errors import ConfigurationError, ConnectionFailure, OperationFailure, PyMongoError

from dataflow.errors import DataflowError, ServerAway, UserError
from dataflow.masking import mask_urls
from scheduler.documents import ALIAS, DATABASE, TaskRun, TaskTable, TaskType
from scheduler.task import pid_of, tasks_of

TIMEOUT_MS: Final = 2000
"""How long a call waits for a MongoDB that does not answer."""

Raw = dict[str, Any]


class TasksRefused(DataflowError):
    """MongoDB refused a request."""


def connect(url: str) -> None:
    """Use the MongoDB at this address from now on, in the whole process. Contacts it at the first request.

    Raises UserError: the address cannot be used.
    """
    mongoengine.disconnect(ALIAS)
    limits = {"serverSelectionTimeoutMS": TIMEOUT_MS, "connectTimeoutMS": TIMEOUT_MS, "socketTimeoutMS": 2 * TIMEOUT_MS}
    try:
        mongoengine.connect(DATABASE, host=url, alias=ALIAS, uuidRepresentation="standard", **limits)
    except (ConfigurationError, mongoengine.ConnectionFailure, ValueError) as error:
        raise UserError(f"the address of the MongoDB cannot be used: {mask_urls(str(error))}") from None


class AmbiguousTask(UserError):
    """Several documents could be the task that is meant; none was changed."""


class Tasks:
    """The documents of a machine. `connect` goes before. Thread-safe; every method blocks for a few seconds at most.

    Every method raises ServerAway (MongoDB cannot be reached; what was to be written may have been) and TasksRefused.

    Args:
        machine: whose documents.
    """

    def __init__(self, machine: str) -> None:
        self.machine = machine

    def read(self) -> list[Raw]:
        """All tasks, as they stand."""
        with _reaching():
            return list(TaskTable.objects(machine=self.machine).as_pymongo())

    def find(self, task_id: str) -> Raw | None:
        """One task, whatever the `_id` of its document. Raises AmbiguousTask."""
        raws = self.read()
        task = tasks_of(raws).get(pid_of(self.machine, task_id))
        if task is None:
            return None
        if task.ambiguous:
            raise AmbiguousTask(task.remark)
        return next(raw for raw in raws if raw["_id"] == task.key)

    def insert(self, fields: Mapping[str, Any], now: str) -> bool:
        """Add a task. False: there is one of that name already. Nothing is changed then."""
        pid = pid_of(self.machine, fields["task_id"])
        blank = {"description": "", "running_status": "init", "is_enable": 1}
        times = {"create_time": now, "update_time": now}
        return _inserted(TaskTable, {"_id": pid, "machine": self.machine, **blank, **fields, **times})

    def set(self, key: object, **fields: Any) -> None:
        """Set fields of the document with this `_id`, of whatever type that is. A document that is gone stays gone."""
        documents = TaskTable._get_collection()
        with _reaching():
            try:
                documents.update_one({"_id": key}, {"$set": fields})
            except OperationFailure:
                if not isinstance(key, Mapping):
                    raise
                # The embedded server takes an object there for operators: it is asked for field by field.
                documents.update_one({f"_id.{name}": value for name, value in key.items()}, {"$set": fields})

    def records(self) -> dict[str, Raw]:
        """pid -> its runs, as they stand."""
        with _reaching():
            return {str(one["_id"]): one for one in TaskRun.objects(machine=self.machine).as_pymongo()}

    def record(self, pid: str) -> Raw | None:
        """The runs of one task."""
        with _reaching():
            found: Raw | None = TaskRun.objects(pid=pid).as_pymongo().first()
            return found

    def write(self, pid: str, fields: Mapping[str, Any]) -> None:
        """Set fields of a task's runs; makes the document if there is none."""
        with _reaching():
            changes = {f"set__{name}": value for name, value in fields.items()}
            if TaskRun.objects(pid=pid).only("pid").modify(**changes) is not None:
                return
        _inserted(TaskRun, {"_id": pid, "machine": self.machine, "last_tick": 0, **fields})

    def claim(self, pid: str, tick: int, begun: Mapping[str, Any]) -> bool:
        """Let a tick fire: true for one caller at most, and never again for this tick or an earlier one.

        Args:
            begun: fields that are set with it, so that a run that has begun is known to have.
        """
        changes = {f"set__{name}": value for name, value in begun.items()}
        with _reaching():
            won = TaskRun.objects(pid=pid, last_tick__lt=tick).only("pid").modify(set__last_tick=tick, **changes)
            if won is not None or TaskRun.objects(pid=pid).only("pid").first() is not None:
                return won is not None
        return _inserted(TaskRun, {"_id": pid, "machine": self.machine, "last_tick": tick, **begun})

    def rebase(self, pid: str, last_tick: int, now: int) -> None:
        """Put a last tick right that a clock has written which was set back since."""
        with _reaching():
            TaskRun.objects(pid=pid, last_tick=last_tick).only("pid").modify(set__last_tick=now)

    def ask(self, pid: str, now: int) -> None:
        """Ask for a run now."""
        self.write(pid, {"asked": now})

    def asked(self) -> dict[str, int]:
        """pid -> when a run was asked for, of those that were."""
        with _reaching():
            found = TaskRun.objects(machine=self.machine, asked__gt=0).only("asked").as_pymongo()
            return {str(one["_id"]): int(one["asked"]) for one in found}

    def answered(self, pid: str, asked: int) -> None:
        """Take a request for a run off the list, unless a newer one was made."""
        with _reaching():
            TaskRun.objects(pid=pid, asked=asked).only("pid").modify(set__asked=0)

    def types(self) -> dict[str, str]:
        """Registered jobs: name -> module:function."""
        with _reaching():
            return {one["name"]: one["function"] for one in TaskType.objects(machine=self.machine).as_pymongo()}

    def register(self, name: str, function: str) -> None:
        """Register a job, or give its name to another function."""
        pid = pid_of(self.machine, name)
        if not _inserted(TaskType, {"_id": pid, "machine": self.machine, "name": name, "function": function}):
            with _reaching():
                TaskType.objects(pid=pid).update_one(set__function=function)


def _inserted(kind: Any, document: Raw) -> bool:
    """Insert a document; false if its `_id` is taken. How a server says so differs, so it is looked up."""
    with _reaching():
        if _is_there(kind, document):
            return False
        try:
            kind._get_collection().insert_one(document)
        except ConnectionFailure:
            raise
        except PyMongoError:
            if not _is_there(kind, document):
                raise
            return False
    return True


def _is_there(kind: Any, document: Raw) -> bool:
    return kind.objects(pid=document["_id"]).only("pid").first() is not None


@contextmanager
def _reaching() -> Iterator[None]:
    try:
        yield
    except ConnectionFailure as error:
        raise ServerAway(f"MongoDB cannot be reached: {_first_line(error)}") from error
    except (PyMongoError, OperationError) as error:
        away = isinstance(error.__cause__, ConnectionFailure)
        kind = ServerAway if away else TasksRefused
        raise kind(f"MongoDB: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return mask_urls(str(error).split(",", 1)[0][:300])
