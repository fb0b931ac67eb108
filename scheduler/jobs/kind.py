"""What every kind of job is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from dataflow.errors import UserError
from scheduler.record import Outcome


class BadJob(UserError):
    """The job that a task names cannot be done; the text says why."""


class Job(Protocol):
    """One kind of job. `elsewhere`: its runs happen in another process, and a run can be asked for twice."""

    elsewhere: bool

    def check(self, kwargs: Mapping[str, Any]) -> None:
        """Whether it could be done with these arguments. Contacts no one. Raises BadJob."""

    def run(self, kwargs: Mapping[str, Any], tick: int, hint: str) -> Outcome | None:
        """Do it, or have it done. Blocks; called in a thread of its own. What goes wrong is in the outcome.

        Args:
            kwargs: `task_kwargs` of the document.
            tick: which tick this is, ms since 1970.
            hint: by which id the outcome of a run elsewhere will be asked for; "" for one that is not.

        Returns None if it is done elsewhere.

        Raises BadJob; DataflowError if it could not be begun.
        """
