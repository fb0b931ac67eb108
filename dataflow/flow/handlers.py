"""Whether the code that a flow names is there. Nothing is imported: importing is the worker's business.

A module is looked for where a worker will: among the installed ones, then beside the flow file.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator, Mapping
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import TypeGuard

from dataflow.flow.findings import Finding, Where, shown
from dataflow.flow.spec import Flow


def handler_faults(flow: Flow) -> Iterator[Finding]:
    """F501: workers whose module cannot be found; F502: or is not the one meant. Reads directories only."""
    folder = flow.path.parent
    for worker in flow.workers.values():
        module = worker.handler.partition(":")[0]
        if module:
            about = {"name": shown(worker.name), "handler": shown(worker.handler), "module": shown(module)}
            yield from _faults(module, folder, ("workers", worker.name, "handler"), about)


def _faults(module: str, folder: Path, path: Where, about: Mapping[str, str]) -> Iterator[Finding]:
    top, *inner = module.split(".")
    installed, own = _installed(top), _beside(top, folder)
    if not any(_leads_to(spec, top, inner) for spec in (installed, own)):
        yield Finding("F501", path, {**about, "file": module.replace(".", "/") + ".py"})
    elif _is_code(installed) and _is_code(own) and _file(installed) != _file(own):
        yield Finding("F502", path, {**about, "other": shown(str(installed.origin), limit=200)})


def _is_code(spec: ModuleSpec | None) -> TypeGuard[ModuleSpec]:
    """Whether it is a module or a package, and not just a folder."""
    return spec is not None and spec.loader is not None


def _file(spec: ModuleSpec) -> str:
    return os.path.realpath(str(spec.origin))


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
    return _is_code(spec)
