"""Jobs of one's own: a function of an installed module, `module:function`. Which modules, the flow file says."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any, Final

from scheduler.jobs.kind import BadJob
from scheduler.record import Outcome

log = logging.getLogger("dataflow.scheduler")

SHOWN: Final = 500
_NAME: Final = re.compile(r"(?P<module>[^\W\d]\w*(?:\.[^\W\d]\w*)*):(?P<function>[^\W\d_]\w*)")


class FunctionJob:
    """A function, called in the scheduler's process with `task_kwargs` as keyword arguments.

    It should take seconds at most, and cannot be ended from outside: long work belongs into a worker.

    Args:
        name: module:function.
        modules: gives the modules that the flow allows.
    """

    elsewhere = False

    def __init__(self, name: str, modules: Callable[[], Sequence[str]]) -> None:
        self._name = name
        self._modules = modules

    def check(self, kwargs: Mapping[str, Any]) -> None:
        """The function must be there."""
        function_of(self._name, self._modules())

    def run(self, kwargs: Mapping[str, Any], tick: int, hint: str) -> Outcome:
        """Call it. Whatever it raises is the run's error."""
        function = function_of(self._name, self._modules())
        try:
            result = function(**kwargs)
        except Exception as error:
            log.exception("job %s has failed", self._name)
            return Outcome("error", f"{type(error).__name__}: {error}"[:SHOWN])
        return Outcome("ok", facts={} if result is None else {"result": str(result)[:SHOWN]})


def is_function(name: str) -> bool:
    """Whether a text has the form module:function."""
    return _NAME.fullmatch(name) is not None


def function_of(name: str, modules: Sequence[str]) -> Callable[..., Any]:
    """The function of that name, defined in one of these modules. Imports the module. Raises BadJob."""
    parts = _NAME.fullmatch(name)
    if parts is None:
        raise BadJob(f"{name!r} is not of the form module:function")
    if parts["module"] not in modules:
        known = ", ".join(modules) or "none"
        raise BadJob(
            f"functions of module {parts['module']!r} may not be jobs; `scheduler: {{modules: [...]}}` of the flow "
            f"file allows: {known}"
        )
    try:
        found = getattr(import_module(parts["module"]), parts["function"], None)
    except Exception as error:
        raise BadJob(f"module {parts['module']!r} cannot be imported: {type(error).__name__}: {error}") from error
    if not callable(found) or getattr(found, "__module__", None) != parts["module"]:
        raise BadJob(f"module {parts['module']!r} defines no function {parts['function']!r}")
    function: Callable[..., Any] = found
    return function
