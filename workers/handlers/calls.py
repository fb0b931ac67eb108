"""The three ways to call a Python handler: once per message, awaited per message, once per batch."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal

from workers.handler import Pace
from workers.outputs import result_of, results_of_batch
from workers.task import Failed, Result, Results, Task


class Turns:
    """Deals the tasks of a batch out to threads, in order, until the pace says stop."""

    def __init__(self, tasks: Sequence[Task], pace: Pace) -> None:
        self._tasks, self._pace = tasks, pace
        self._lock = threading.Lock()
        self._begun = 0
        self._results: list[Result | None] = [None] * len(tasks)

    def next(self) -> tuple[int, Task] | None:
        """The next task and its index; None when there is none or it is time to stop."""
        with self._lock:
            if self._begun == len(self._tasks) or self._pace.over(self._begun):
                return None
            self._begun += 1
            return self._begun - 1, self._tasks[self._begun - 1]

    def done(self, index: int, result: Result) -> None:
        """Note a result."""
        self._results[index] = result

    def results(self) -> Results:
        """Everything that was begun, once every thread is back."""
        return Results([result for result in self._results[: self._begun] if result is not None])


class PerMessage:
    """Calls a plain function once per message, in the one thread of the process.

    Args:
        call: does one message.
        close: called at the end.
    """

    def __init__(self, call: Callable[[Task], Any], close: Callable[[], None]) -> None:
        self._call = call
        self.close = close

    def handle(self, tasks: Sequence[Task], pace: Pace) -> Results:
        """See workers.handler.Handler."""
        results: list[Result] = []
        for task in tasks:
            if pace.over(len(results)):
                break
            results.append(self._one(task, pace, 0))
        return Results(results)

    def _one(self, task: Task, pace: Pace, thread: int) -> Result:
        pace.pulse.begin(thread)
        try:
            return result_of(self._call(task))
        except BaseException as error:  # noqa: BLE001 - a handler may raise anything, SystemExit too
            return Failed(error)
        finally:
            pace.pulse.end(thread)


class Threaded(PerMessage):
    """Calls a plain function once per message, in several threads."""

    def __init__(self, call: Callable[[Task], Any], close: Callable[[], None], threads: int) -> None:
        super().__init__(call, close)
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads)

    def handle(self, tasks: Sequence[Task], pace: Pace) -> Results:
        """See workers.handler.Handler."""
        turns = Turns(tasks, pace)
        working = [self._pool.submit(self._work, turns, pace, n) for n in range(min(self._threads, len(tasks)))]
        for thread in working:
            thread.result()
        return turns.results()

    def _work(self, turns: Turns, pace: Pace, thread: int) -> None:
        while (turn := turns.next()) is not None:
            index, task = turn
            turns.done(index, self._one(task, pace, thread))


class Awaited:
    """Awaits a coroutine function once per message, up to `threads` of them at a time."""

    def __init__(
        self, call: Callable[[Task], Any], close: Callable[[], None], threads: int, runner: asyncio.Runner
    ) -> None:
        self._call = call
        self.close = close
        self._threads = threads
        self._runner = runner

    def handle(self, tasks: Sequence[Task], pace: Pace) -> Results:
        """See workers.handler.Handler."""
        turns = Turns(tasks, pace)
        self._runner.run(self._work_all(turns, pace, min(self._threads, len(tasks))))
        return turns.results()

    async def _work_all(self, turns: Turns, pace: Pace, at_once: int) -> None:
        await asyncio.gather(*(self._work(turns, pace, n) for n in range(at_once)))

    async def _work(self, turns: Turns, pace: Pace, thread: int) -> None:
        while (turn := turns.next()) is not None:
            index, task = turn
            pace.pulse.begin(thread)
            try:
                result = result_of(await self._call(task))
            except BaseException as error:  # noqa: BLE001 - a handler may raise anything, SystemExit too
                result = Failed(error)
            pace.pulse.end(thread)
            turns.done(index, result)


class PerBatch:
    """Calls a function with many messages at once, as a list of dicts or as a DataFrame."""

    def __init__(
        self,
        call: Callable[[Any], Any],
        close: Callable[[], None],
        form: Literal["list", "dataframe"],
        aggregate: bool,
    ) -> None:
        self._call = call
        self.close = close
        self._form = form
        self._aggregate = aggregate

    def handle(self, tasks: Sequence[Task], pace: Pace) -> Results:
        """See workers.handler.Handler. A batch that fails is split; a single message that fails has failed."""
        if pace.over(0):
            return Results([])
        pace.pulse.begin(0)
        try:
            returned = self._call(self._input(tasks))
            return results_of_batch(returned, len(tasks), aggregate=self._aggregate)
        except BaseException as error:  # noqa: BLE001 - a handler may raise anything, SystemExit too
            return Results([Failed(error)]) if len(tasks) == 1 else Results([], split=error)
        finally:
            pace.pulse.end(0)

    def _input(self, tasks: Sequence[Task]) -> Any:
        messages = [task.message for task in tasks]
        if self._form == "list":
            return messages
        import pandas  # only for those who ask for it

        return pandas.DataFrame(messages)
