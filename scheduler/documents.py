"""The documents of tasks in MongoDB, as mongoengine classes. Database flask_aps unless the URL names one.

| collection | one document per | written by |
|---|---|---|
| `task_table` | task | people and programs; the loop only sets `running_status` and `update_time` |
| `task_run` | task | the scheduler: ticks, runs, errors, history; `asked` is set by who wants a run now |
| `task_type` | registered job | the scheduler's API |
"""

from __future__ import annotations

from typing import Any, Final

from mongoengine import DictField, Document, IntField, ListField, StringField

ALIAS: Final = "dataflow-tasks"
DATABASE: Final = "flask_aps"


class TaskTable(Document):  # type: ignore[misc]  # mongoengine has no types
    """What should be: one task. It has these fields and no other, other programs' classes refuse to read more.

    pid is `<machine>.<task_id>`. set_to_status, running_status: init, running, paused. interval_para: the schedule.
    Times are "YYYY-MM-DD HH:MM:SS".
    """

    pid = StringField(required=True, primary_key=True)
    machine = StringField(required=True)
    task_id = StringField(required=True)
    description = StringField()
    job_name = StringField()
    set_to_status = StringField()
    running_status = StringField()
    interval_para = DictField()
    start_dt = StringField()
    end_dt = StringField()
    task_kwargs = DictField()
    is_enable = IntField(default=1)
    create_time = StringField()
    update_time = StringField()

    meta: Any = {"collection": "task_table", "db_alias": ALIAS, "auto_create_index": False}  # noqa: RUF012


class TaskRun(Document):  # type: ignore[misc]
    """What was: the runs of one task (see `scheduler.record`)."""

    pid = StringField(primary_key=True)
    machine = StringField(required=True)
    last_tick = IntField(default=0)
    due = IntField(default=0)
    done = IntField(default=0)
    asked = IntField(default=0)
    hint = StringField()
    sent_at = IntField(default=0)
    resent = IntField(default=0)
    next_run = IntField(default=0)
    runs = IntField(default=0)
    errors = IntField(default=0)
    skipped = IntField(default=0)
    why = StringField()
    owner = StringField()
    history = ListField(DictField())

    meta: Any = {"collection": "task_run", "db_alias": ALIAS, "auto_create_index": False}  # noqa: RUF012


class TaskType(Document):  # type: ignore[misc]
    """A registered job: a name of one's own for an installed `module:function`."""

    pid = StringField(primary_key=True)
    machine = StringField(required=True)
    name = StringField(required=True)
    function = StringField(required=True)

    meta: Any = {"collection": "task_type", "db_alias": ALIAS, "auto_create_index": False}  # noqa: RUF012
