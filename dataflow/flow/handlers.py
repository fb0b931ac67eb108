"""Whether the code that a flow names is there. Nothing is imported: importing is the worker's business.

A module is looked for where a worker will: among the installed ones and beside the flow file.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path

from dataflow.flow.findings import Finding, shown
from dataflow.flow.spec import Flow


def missing_handlers(flow: Flow) -> Iterator[Finding]:
    """F501: workers whose module cannot be found. Reads directories only."""
    folder = flow.path.parent
    for worker in flow.workers.values():
        module = worker.handler.partition(":")[0]
        if module and not is_there(module, folder):
            values = {
                "name": shown(worker.name),
                "handler": shown(worker.handler),
                "module": shown(module),
                "file": module.replace(".", "/") + ".py",
            }
            yield Finding("F501", ("workers", worker.name, "handler"), values)


def is_there(module: str, folder: Path) -> bool:
    """Whether a module is installed or lies in the folder. Imports nothing, not even its packages."""
    top, *inner = module.split(".")
    return any(_leads_to(spec, top, inner) for spec in (_installed(top), _beside(top, folder)))


def _installed(top: str) -> ModuleSpec | None:
    try:
        return importlib.util.find_spec(top)
    except ValueError:  # a module that some program put together by hand, __main__ for instance
        return None


def _beside(top: str, folder: Path) -> ModuleSpec | None:
    PathFinder.invalidate_caches()
    return PathFinder.find_spec(top, [str(folder)])


def _leads_to(spec: ModuleSpec | None, name: str, inner: list[str]) -> bool:
    for part in inner:
        name = f"{name}.{part}"
        folders = spec.submodule_search_locations if spec else None
        spec = PathFinder.find_spec(name, list(folders)) if folders is not None else None
    return spec is not None and spec.loader is not None
