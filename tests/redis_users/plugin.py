"""Gives the suite's servers and processes their users; see the package. Used by tests/conftest.py."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from dataflow.testing.servers import RedisServer

from .login import FLOW, FOLDER_VARIABLE, REFUSED, Users, install
from .roles import ROOT

NEW_USERS = ROOT / "deploy" / "redis" / "new-users"
ANYBODY = "user default on nopass ~* &* +@all"


class Suite:
    """The users of this pytest process, in a folder of their own until `close`."""

    def __init__(self) -> None:
        self._temporary = tempfile.TemporaryDirectory(prefix="dataflow-users-")
        self.folder = Path(self._temporary.name) / "users"
        subprocess.run([NEW_USERS, FLOW, self.folder], check=True, capture_output=True)
        self.acl_file = self.folder / "users.acl"
        self.acl_file.write_text(of_every_flow(self.acl_file.read_text()))
        self._seen = 0

    def start(self) -> None:
        """Let servers, this process and its children have the users."""
        RedisServer.acl_file = self.acl_file
        install(Users(self.folder))
        subprocess.Popen.__init__ = _with_users(self.folder, subprocess.Popen.__init__)  # type: ignore[method-assign]

    def refusals(self) -> list[str]:
        """What Redis has refused since this was asked last."""
        noted = self.folder / REFUSED
        lines = noted.read_text().splitlines() if noted.exists() else []
        new, self._seen = lines[self._seen :], len(lines)
        return [f"{entry['role']}: {entry['error']}" for entry in map(json.loads, new)]

    def close(self) -> None:
        """Forget passwords and refusals."""
        RedisServer.acl_file = None
        self._temporary.cleanup()


def of_every_flow(acl: str) -> str:
    """The users of one flow as users of any: tests have flows of many names."""
    lines = ["user default off", *(line for line in acl.splitlines() if line != "user default off")]
    every = [line.replace(f"{{{FLOW}}}", "{*}").replace(f"dataflow.{FLOW}", "dataflow.*") for line in lines[1:]]
    return "\n".join([ANYBODY, *every]) + "\n"


def _with_users(folder: Path, start: Callable[..., None]) -> Callable[..., None]:
    def begin(process: Any, *args: Any, env: Mapping[str, str] | None = None, **options: Any) -> None:
        given = dict(os.environ if env is None else env)
        ours = str(Path(__file__).parent)
        path = [ours, *filter(None, [given.get("PYTHONPATH")])]
        added = {FOLDER_VARIABLE: str(folder), "PYTHONPATH": os.pathsep.join(path)}
        start(process, *args, env={**given, **added}, **options)

    return begin
