"""Handlers that are Python: a function, an `async def`, or a class with `setup`, `handle`, `close`."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import logging
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from dataflow.errors import UserError
from dataflow.flow.spec import Worker
from dataflow.handler import Context
from workers.handler import Handler, Pace
from workers.outputs import result_of, results_of_batch
from workers.task import Failed, Result, Results, Task


class HandlerUnusable(UserError):
    """The handler cannot be loaded as the flow file names it; nothing was read."""


def load(worker: Worker, folder: Path) -> Handler:
    """Import the handler and set it up: once per process, before anything is read.

    Args:
        folder: of the flow file; modules in it can be imported. It is searched last, so that a folder of the user's
            called like one of our packages does no harm.

    Raises:
        HandlerUnusable: it cannot be imported, or its signature does not fit.
        Exception: whatever its `setup` raises.
    """
    context = Context(worker.name, worker.source, logging.getLogger(f"handler.{worker.name}"))
    target = _import(worker.handler, folder)
    function, close = _bind(target, worker, context)
    if inspect.iscoroutinefunction(function):
        runner = asyncio.Runner()
        if worker.batch_handler != "no":
            return BatchHandler(lambda *args: runner.run(function(*args)), worker, context, _all(close, runner.close))
        return AsyncHandler(function, worker, context, _all(close, runner.close), runner)
    if worker.batch_handler != "no":
        return BatchHandler(function, worker, context, close)
    return MessageHandler(function, worker, context, close)


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


class MessageHandler:
    """Calls a plain function once per message, in one or several threads."""

    def __init__(
        self, function: Callable[..., Any], worker: Worker, context: Context, close: Callable[[], None]
    ) -> None:
        self._call = _with_context(function, context)
        self.close = close
        self._threads = worker.threads
        self._pool = ThreadPoolExecutor(worker.threads) if worker.threads > 1 else None

    def handle(self, tasks: Sequence[Task], pace: Pace) -> Results:
        """See workers.handler.Handler."""
        turns = Turns(tasks, pace)
        if self._pool is None:
            self._work(turns, pace, 0)
        else:
            threads = [self._pool.submit(self._work, turns, pace, n) for n in range(min(self._threads, len(tasks)))]
            for thread in threads:
                thread.result()
        return turns.results()

    def _work(self, turns: Turns, pace: Pace, thread: int) -> None:
        while (turn := turns.next()) is not None:
            index, task = turn
            pace.pulse.begin(thread)
            try:
                result = result_of(self._call(task))
            except BaseException as error:  # noqa: BLE001 - a handler may raise anything, SystemExit too
                result = Failed(error)
            pace.pulse.end(thread)
            turns.done(index, result)


class AsyncHandler:
    """Awaits a coroutine function once per message, up to `threads` of them at a time."""

    def __init__(
        self,
        function: Callable[..., Any],
        worker: Worker,
        context: Context,
        close: Callable[[], None],
        runner: asyncio.Runner,
    ) -> None:
        self._call = _with_context(function, context)
        self.close = close
        self._threads = worker.threads
        self._runner = runner

    def handle(self, tasks: Sequence[Task], pace: Pace) -> Results:
        """See workers.handler.Handler."""
        turns = Turns(tasks, pace)
        self._runner.run(self._work_all(turns, pace))
        return turns.results()

    async def _work_all(self, turns: Turns, pace: Pace) -> None:
        await asyncio.gather(*(self._work(turns, pace, n) for n in range(self._threads)))

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


class BatchHandler:
    """Calls a function with many messages at once, as a list of dicts or as a DataFrame."""

    def __init__(
        self, function: Callable[..., Any], worker: Worker, context: Context, close: Callable[[], None]
    ) -> None:
        self._function = function
        self._extra = (context,) if _wants_context(function) else ()
        self._worker = worker
        self.close = close

    def handle(self, tasks: Sequence[Task], pace: Pace) -> Results:
        """See workers.handler.Handler. A batch that fails is split; a single message that fails has failed."""
        if pace.over(0):
            return Results([])
        pace.pulse.begin(0)
        try:
            returned = self._function(self._input(tasks), *self._extra)
            return results_of_batch(returned, len(tasks), aggregate=self._worker.aggregate)
        except BaseException as error:  # noqa: BLE001 - a handler may raise anything, SystemExit too
            return Results([Failed(error)]) if len(tasks) == 1 else Results([], split=error)
        finally:
            pace.pulse.end(0)

    def _input(self, tasks: Sequence[Task]) -> Any:
        messages = [task.message for task in tasks]
        if self._worker.batch_handler == "list":
            return messages
        import pandas  # only for those who ask for it

        return pandas.DataFrame(messages)


def _import(handler: str, folder: Path) -> Any:
    module_name, _, path = handler.partition(":")
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
    try:
        target = importlib.import_module(module_name)
    except Exception as error:
        raise HandlerUnusable(f"handler {handler!r}: importing {module_name!r} failed: {error!r}") from error
    first = module_name.partition(".")[0]
    found = getattr(sys.modules[first], "__file__", None) or ""
    if ((folder / f"{first}.py").exists() or (folder / first).is_dir()) and not found.startswith(str(folder)):
        raise HandlerUnusable(
            f"handler {handler!r}: the name {first!r} also belongs to {found or 'another package'}; "
            f"rename {first!r} in {folder}"
        )
    for name in path.split("."):
        if not hasattr(target, name):
            raise HandlerUnusable(f"handler {handler!r}: {module_name!r} has no {path!r}")
        target = getattr(target, name)
    return target


def _bind(target: Any, worker: Worker, context: Context) -> tuple[Callable[..., Any], Callable[[], None]]:
    """The function to call and what to call at the end; sets a class up."""
    if inspect.isclass(target):
        return _set_up(target, worker, context)
    if not callable(target):
        raise HandlerUnusable(f"handler {worker.handler!r} is a {type(target).__name__}, not a function or class")
    function = _with_params(target, worker.params) if worker.params else target
    _check_signature(worker, function)
    return function, _nothing


def _set_up(target: Any, worker: Worker, context: Context) -> tuple[Callable[..., Any], Callable[[], None]]:
    instance = target()
    if not callable(getattr(instance, "handle", None)):
        raise HandlerUnusable(f"handler {worker.handler!r}: the class has no method `handle`")
    _check_signature(worker, instance.handle)
    setup = getattr(instance, "setup", None)
    if setup is None:
        if worker.params:
            raise HandlerUnusable(f"handler {worker.handler!r} has params in the flow file but no `setup` to take them")
    else:
        try:
            inspect.signature(setup).bind(context, **worker.params)
        except TypeError as error:
            raise HandlerUnusable(
                f"handler {worker.handler!r}: setup(context, **params) does not take the flow file's params: {error}"
            ) from error
        setup(context, **worker.params)
    return instance.handle, getattr(instance, "close", _nothing)


def _with_params(function: Callable[..., Any], params: Mapping[str, Any]) -> Callable[..., Any]:
    names = set(inspect.signature(function).parameters)
    unknown = sorted(set(params) - names)
    if unknown:
        raise HandlerUnusable(f"the flow file gives params that {function.__name__}() does not take: {unknown}")
    if inspect.iscoroutinefunction(function):

        async def call_async(*args: Any) -> Any:
            return await function(*args, **params)

        call_async.__signature__ = _without(function, params)  # type: ignore[attr-defined]
        return call_async

    def call(*args: Any) -> Any:
        return function(*args, **params)

    call.__signature__ = _without(function, params)  # type: ignore[attr-defined]
    return call


def _without(function: Callable[..., Any], params: Mapping[str, Any]) -> inspect.Signature:
    signature = inspect.signature(function)
    return signature.replace(parameters=[p for name, p in signature.parameters.items() if name not in params])


def _check_signature(worker: Worker, function: Callable[..., Any]) -> None:
    arguments: tuple[object, ...] = ({}, None) if _wants_context(function) else ({},)
    try:
        inspect.signature(function).bind(*arguments)
    except TypeError as error:
        raise HandlerUnusable(
            f"handler {worker.handler!r} must take (message) or (message, context), and nothing else without a "
            f"default: {error}"
        ) from error


def _wants_context(function: Callable[..., Any]) -> bool:
    """Whether a handler asks for a second argument: one without a default, or one that is called context."""
    positional = [
        parameter
        for parameter in inspect.signature(function).parameters.values()
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
    ]
    return len(positional) > 1 and (positional[1].default is positional[1].empty or positional[1].name == "context")


def _with_context(function: Callable[..., Any], context: Context) -> Callable[[Task], Any]:
    if not _wants_context(function):
        return lambda task: function(task.message)
    return lambda task: function(task.message, replace(context, mid=task.mid, attempt=task.attempt))


def _all(*calls: Callable[[], object]) -> Callable[[], None]:
    def run() -> None:
        for call in calls:
            call()

    return run


def _nothing() -> None:
    pass
