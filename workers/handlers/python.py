"""Handlers that are Python: a function, an `async def`, or a class with `setup`, `handle`, `close`."""

from __future__ import annotations

import asyncio
import functools
import importlib.util
import inspect
import logging
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dataflow.flow.spec import Worker
from dataflow.handler import Context
from workers.handler import Handler, HandlerUnusable
from workers.handlers.calls import Awaited, PerBatch, PerMessage, Threaded
from workers.task import Task

log = logging.getLogger("dataflow.worker")

OURS = ("dataflow", "message_hub", "workers", "sync")
"""Names that a user's module cannot have: they would be taken for our packages, or ours for them."""


def load(worker: Worker, folder: Path) -> Handler:
    """Import the handler and set it up: once per process, before anything is read.

    Args:
        folder: of the flow file; modules in it can be imported. It is searched last, so that a folder of the user's
            called like one of our packages does no harm.

    Raises:
        HandlerUnusable: it cannot be imported, or its signature does not fit.
        Exception: whatever its `setup` raises.
    """
    target = find(worker.handler, folder.resolve())
    context = Context(worker.name, worker.source, logging.getLogger(f"handler.{worker.name}"))
    user = _of_class(target, worker) if inspect.isclass(target) else _of_function(target, worker)
    runner = asyncio.Runner() if user.is_async else None
    _run(runner, user.setup, context)
    close = functools.partial(_close, runner, user.close)
    if worker.batch_handler != "no":
        whole = _with_context(user.handle, context)
        call = whole if runner is None else _awaiting(runner, whole)
        return PerBatch(call, close, worker.batch_handler, worker.aggregate)
    one = _for_task(user.handle, context)
    if runner is not None and inspect.iscoroutinefunction(user.handle):
        return Awaited(one, close, worker.threads, runner)
    return Threaded(one, close, worker.threads) if worker.threads > 1 else PerMessage(one, close)


@dataclass(frozen=True, slots=True)
class UserCode:
    """The user's functions, their signatures checked; params are bound. `setup` takes the context."""

    handle: Callable[..., Any]
    setup: Callable[[Context], Any]
    close: Callable[[], Any]

    @property
    def is_async(self) -> bool:
        """Whether any of them must be awaited."""
        return any(inspect.iscoroutinefunction(function) for function in (self.handle, self.setup, self.close))


def find(handler: str, folder: Path) -> Any:
    """Import "module:attribute". Raises HandlerUnusable, which says what to do."""
    module_name, _, path = handler.partition(":")
    first = module_name.partition(".")[0]
    shadowed = _shadowed(first, folder)
    if shadowed and first in OURS:
        raise HandlerUnusable(f"handler {handler!r}: {shadowed}")
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
    try:
        module = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:
        reason = shadowed or _import_failed(module_name, folder, error)
        raise HandlerUnusable(f"handler {handler!r}: {reason}") from error
    target: Any = module
    for name in path.split("."):
        if not hasattr(target, name):
            reason = shadowed or f"{module_name!r} has no {path!r}; it has {_public(target)}"
            raise HandlerUnusable(f"handler {handler!r}: {reason}")
        target = getattr(target, name)
    if shadowed:
        log.warning("handler %r: %s", handler, shadowed)
    return target


def _import_failed(module_name: str, folder: Path, error: BaseException) -> str:
    parts = module_name.split(".")
    packages = [".".join(parts[: n + 1]) for n in range(len(parts))]
    if isinstance(error, ModuleNotFoundError) and error.name in packages:
        return f"there is no module {module_name!r}; put {'/'.join(parts)}.py into {folder}"
    return f"importing {module_name!r} failed: {type(error).__name__}: {error}"


def _shadowed(first: str, folder: Path) -> str:
    """What to do when the user's file has the name of a module that comes before it; "" when it has not."""
    own = [file for file in (folder / f"{first}.py", folder / first / "__init__.py") if file.is_file()]
    if not own:
        return ""
    try:
        spec = importlib.util.find_spec(first)  # the folder is not on the path yet
    except ValueError:  # a module that some program put together by hand
        return ""
    if spec is None or spec.origin is None or Path(spec.origin).resolve() in own:
        return ""
    return f"the name {first!r} already belongs to {spec.origin}; rename {own[0]}"


def _public(target: object) -> str:
    names = [name for name, value in vars(target).items() if callable(value) and not name.startswith("_")]
    return ", ".join(names[:10]) or "nothing to call"


def _of_function(target: Any, worker: Worker) -> UserCode:
    if not callable(target):
        raise HandlerUnusable(f"handler {worker.handler!r} is a {type(target).__name__}, not a function or class")
    function = target if inspect.isroutine(target) or isinstance(target, functools.partial) else target.__call__
    if worker.params:
        _check_params(worker, function)
        function = functools.partial(function, **worker.params)
    _check_signature(worker, function)
    return UserCode(function, _nothing, _nothing)


def _of_class(target: Any, worker: Worker) -> UserCode:
    if not callable(getattr(target, "handle", None)):
        raise HandlerUnusable(f"handler {worker.handler!r}: the class has no method `handle`")
    if _misfit(target, (), {}):
        raise HandlerUnusable(
            f"handler {worker.handler!r}: the class must take no arguments; use `setup(self, context, **params)`"
        )
    instance = target()
    _check_signature(worker, instance.handle)
    return UserCode(instance.handle, _setup_of(instance, worker), getattr(instance, "close", _nothing))


def _setup_of(instance: Any, worker: Worker) -> Callable[[Context], Any]:
    setup = getattr(instance, "setup", None)
    if setup is None and worker.params:
        raise HandlerUnusable(f"handler {worker.handler!r} has params in the flow file but no `setup` to take them")
    if setup is None:
        return _nothing
    if error := _misfit(setup, (None,), worker.params):
        raise HandlerUnusable(
            f"handler {worker.handler!r}: setup(self, context, ...) does not take the flow file's params "
            f"{dict(worker.params)}: {error}"
        )
    return functools.partial(setup, **worker.params)


def _check_params(worker: Worker, function: Callable[..., Any]) -> None:
    if error := _misfit(function, (None,), worker.params, partial=True):
        raise HandlerUnusable(
            f"handler {worker.handler!r} does not take the flow file's params {dict(worker.params)}: {error}"
        )


def _check_signature(worker: Worker, function: Callable[..., Any]) -> None:
    if inspect.isasyncgenfunction(function):
        raise HandlerUnusable(f"handler {worker.handler!r} is an async generator; return a list instead of yielding")
    name = _context_name(function)
    error = _misfit(function, (None,), {} if name is None else {name: None})
    if error:
        what = "messages" if worker.batch_handler != "no" else "message"
        raise HandlerUnusable(
            f"handler {worker.handler!r} must take ({what}) or ({what}, context), beside what `params` gives it: "
            f"{error}"
        )


def _misfit(
    function: Callable[..., Any], args: tuple[object, ...], named: Mapping[str, object], *, partial: bool = False
) -> str:
    """Why a call with such arguments would be refused; "" when it would not be, or nobody can tell."""
    try:
        signature = inspect.signature(function)
    except ValueError:  # compiled functions may have none
        return ""
    try:
        (signature.bind_partial if partial else signature.bind)(*args, **named)
    except TypeError as error:
        return str(error)
    return ""


def _context_name(function: Callable[..., Any]) -> str | None:
    """The argument through which a handler asks for its context: one called so, or a second one without a default."""
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except ValueError:
        return None
    for place, parameter in enumerate(parameters):
        by_name = parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
        second = place == 1 and parameter.kind is parameter.POSITIONAL_OR_KEYWORD
        if place > 0 and by_name and parameter.name == "context":
            return parameter.name
        if second and parameter.default is parameter.empty:
            return parameter.name
    return None


def _for_task(function: Callable[..., Any], context: Context) -> Callable[[Task], Any]:
    name = _context_name(function)
    if name is None:
        return lambda task: function(task.message)
    worker, stream, logger = context.worker, context.stream, context.logger

    def call(task: Task) -> Any:
        return function(task.message, **{name: Context(worker, stream, logger, task.mid, task.attempt)})

    return call


def _with_context(function: Callable[..., Any], context: Context) -> Callable[[Any], Any]:
    name = _context_name(function)
    return function if name is None else functools.partial(function, **{name: context})


def _awaiting(runner: asyncio.Runner, function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda messages: _run(runner, function, messages)


def _run(runner: asyncio.Runner | None, function: Callable[..., Any], *args: Any) -> Any:
    """Call a function, awaiting it if it is a coroutine function."""
    returned = function(*args)
    return runner.run(returned) if runner is not None and inspect.iscoroutine(returned) else returned


def _close(runner: asyncio.Runner | None, function: Callable[[], Any]) -> None:
    _run(runner, function)
    if runner is not None:
        runner.close()


def _nothing(*_: object) -> None:
    pass
