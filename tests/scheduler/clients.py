"""Clients of tasks as users of such a scheduler have them, written from what they are known to send and expect."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Send = Callable[[str, str, dict[str, Any] | None], dict[str, Any]]
"""Method, path, JSON body -> JSON answer."""

_FIELDS = ("year", "month", "day", "week", "day_of_week", "hour", "minute", "second", "start_date", "end_date")


class JobsClient:
    """One method per address, with and without a slash at the end, as such clients call them."""

    def __init__(self, send: Send) -> None:
        self._send = send

    def get_jobs(self) -> dict[str, Any]:
        return self._send("GET", "/get_jobs", None)

    def get_jobs_status(self) -> dict[str, Any]:
        return self._send("GET", "/get_jobs_status/", None)

    def publish(self, task_id: str, task_name: str | None, task_kwargs: Any = None, **schedule: Any) -> dict[str, Any]:
        """Sends every field, most of them null."""
        fields = dict.fromkeys(_FIELDS) | schedule
        head = {"task_id": task_id, "task_name": task_name, "task_type": "cron", "task_kwargs": task_kwargs}
        return self._send("POST", "/publish_a_task/", {**head, **fields})

    def pause(self, task_id: str) -> dict[str, Any]:
        return self._send("POST", "/pause_a_task/", {"task_id": task_id})

    def resume(self, task_id: str) -> dict[str, Any]:
        return self._send("POST", "/resume_a_task/", {"task_id": task_id})

    def remove(self, task_id: str) -> dict[str, Any]:
        return self._send("POST", "/remove_a_task/", {"task_id": task_id})

    def add_source(self, func_name: str, source: str) -> dict[str, Any]:
        return self._send("POST", "/add_task_type/", {"func_name": func_name, "func_body": source})


class DocumentFollower:
    """Makes a task what its document says, through a JobsClient, and asks for its state right after each step."""

    def __init__(self, client: JobsClient, task_id: str) -> None:
        self._client, self._task_id = client, task_id

    @property
    def state(self) -> str:
        """running: among the active ones; paused: known, but not active; init: not known."""
        if self._task_id in self._client.get_jobs_status()["data"]:
            return "running"
        return "paused" if self._task_id in self._client.get_jobs()["data"] else "init"

    def follow(self, document: dict[str, Any]) -> str:
        """One step towards `set_to_status`. Returns the state after it, as it would be written back."""
        step = (self.state, document["set_to_status"])
        if step in (("running", "init"), ("paused", "init")):
            self._client.remove(self._task_id)
        elif step == ("running", "paused"):
            self._client.pause(self._task_id)
        elif step == ("paused", "running"):
            self._client.resume(self._task_id)
        elif step == ("init", "running"):
            bounds = {"start_date": document["start_dt"], "end_date": document["end_dt"]}
            kwargs = document["task_kwargs"]
            self._client.publish(self._task_id, document["job_name"], kwargs, **bounds, **document["interval_para"])
        return self.state
