"""Loads the Lua scripts. Each is what it needs of `lib.lua` followed by its own file, whose head documents keys and
arguments. Redis makes the functions of a script anew each time it runs, so those that are not called are left out.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from redis.exceptions import NoScriptError

from dataflow.store.redis import Client, call, send


class Script:
    """One atomic step. Either everything it says happens, or nothing."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.text = joined(_source("lib"), _source(name))
        self.sha = hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()

    def run(self, client: Client, keys: Sequence[str], args: Sequence[Any]) -> Any:
        """Run the script once; see `dataflow.store.redis.call` for errors. A forgotten script is sent again whole."""
        try:
            return self.send(client, keys, args)()
        except NoScriptError:
            return self.run_whole(client, keys, args)

    def send(
        self, client: Client, keys: Sequence[str], args: Sequence[Any], connects: int | None = None
    ) -> Callable[[], Any]:
        """Begin to run the script and return what waits for its reply; see `dataflow.store.redis.send`.

        NoScriptError: the server does not know it; see `run_whole`.
        """
        return send(client, "EVALSHA", self.sha, len(keys), *keys, *args, connects=connects)

    def run_whole(self, client: Client, keys: Sequence[str], args: Sequence[Any]) -> Any:
        """Run the script once on a server that may not know it."""
        return call(client, "EVAL", self.text, len(keys), *keys, *args)


@cache
def script(name: str) -> Script:
    """The script of that name."""
    return Script(name)


def joined(lib: str, text: str) -> str:
    """What a script's text names of the library, and what that names in turn, followed by the text. Pure.

    The library consists of `local function <name>` and `local <NAME> = ...`, each beginning a line.
    """
    parts = {_NAME.match(part)[1]: part for part in _PART.split(lib) if part.startswith("local ")}  # type: ignore[index]
    needed: set[str] = set()
    found = _names(text)
    while found:
        new = {name for name in found if name in parts} - needed
        needed |= new
        found = set().union(*(_names(parts[name]) for name in new))
    return "".join([part for name, part in parts.items() if name in needed]) + text


_PART = re.compile(r"^(?=local )", re.MULTILINE)
_NAME = re.compile(r"local (?:function )?(\w+)")


def _names(text: str) -> set[str]:
    return set(re.findall(r"\w+", re.sub(r"--.*", "", text)))


def _source(name: str) -> str:
    return (files("dataflow.store.scripts") / f"{name}.lua").read_text("utf-8")
