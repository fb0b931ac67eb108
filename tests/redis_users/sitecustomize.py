"""Python runs it at the start of each process that a test has started: once redis-py is imported, `login` is in it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType


class _AfterRedis(MetaPathFinder):
    """Finds redis-py where it is, and lets `login` follow it."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != "redis":
            return None
        sys.meta_path.remove(self)
        spec = PathFinder.find_spec(fullname, path)
        if spec is not None and spec.loader is not None:
            load = spec.loader.exec_module

            def load_both(module: ModuleType) -> None:
                load(module)
                _login().install_in_child()

            spec.loader.exec_module = load_both  # type: ignore[method-assign]
        return spec


def _login() -> ModuleType:
    """tests.redis_users.login, without the tests on the path."""
    from importlib import import_module

    folder = Path(__file__).parent
    spec = spec_from_file_location(
        "suite_redis_users", folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    assert spec is not None and spec.loader is not None
    package = sys.modules["suite_redis_users"] = module_from_spec(spec)
    spec.loader.exec_module(package)
    return import_module("suite_redis_users.login")


sys.meta_path.insert(0, _AfterRedis())
