"""Loads the Lua scripts. Each is `lib.lua` followed by its own file; the file's head documents keys and arguments."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from redis.exceptions import NoScriptError

from dataflow.store.redis import NOTHING, Client, Tail, call, send


class Script:
    """One atomic step. Either everything it says happens, or nothing."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.text = _source("lib") + _source(name)
        self.sha = hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()

    def run(self, client: Client, keys: Sequence[str], args: Sequence[Any], tail: Tail = NOTHING) -> Any:
        """Run the script once; see `dataflow.store.redis.call` for errors. A forgotten script is sent again whole."""
        return self.send(client, keys, args, tail)()

    def send(self, client: Client, keys: Sequence[str], args: Sequence[Any], tail: Tail = NOTHING) -> Callable[[], Any]:
        """Begin to run the script and return what waits for its reply; see `dataflow.store.redis.send`."""
        reply = send(client, "EVALSHA", self.sha, len(keys), *keys, *args, tail=tail)

        def answer() -> Any:
            try:
                return reply()
            except NoScriptError:
                return call(client, "EVAL", self.text, len(keys), *keys, *args, tail=tail)

        return answer


@cache
def script(name: str) -> Script:
    """The script of that name."""
    return Script(name)


def _source(name: str) -> str:
    return (files("dataflow.store.scripts") / f"{name}.lua").read_text("utf-8")
