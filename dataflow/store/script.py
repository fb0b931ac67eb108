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

WIDEST = 64
"""Names of a message for which a loop is unrolled; Lua passes 250 arguments at most."""


class Script:
    """One atomic step. Either everything it says happens, or nothing.

    Args:
        width: most messages that it appends have so many names: it is made for them. 0: it is made for any.
    """

    def __init__(self, name: str, width: int = 0) -> None:
        self.name = name
        lib = _source("lib")
        self.text = joined(_UNROLLED.sub(unrolled(width), lib) if width else lib, _source(name))
        self.sha = hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()

    def run(self, client: Client, keys: Sequence[str], args: Sequence[Any]) -> Any:
        """Run the script once; see `dataflow.store.redis.call` for errors. A forgotten script is sent again whole."""
        try:
            return self.send(client, keys, args)()
        except NoScriptError:
            return self.run_whole(client, keys, args)

    def send(self, client: Client, keys: Sequence[str], args: Sequence[Any]) -> Callable[[], Any]:
        """Begin to run the script and return what waits for its reply; see `dataflow.store.redis.send`.

        NoScriptError: the server does not know it; see `run_whole`.
        """
        return send(client, "EVALSHA", self.sha, len(keys), *keys, *args)

    def run_whole(self, client: Client, keys: Sequence[str], args: Sequence[Any]) -> Any:
        """Run the script once on a server that may not know it."""
        return call(client, "EVAL", self.text, len(keys), *keys, *args)


def script(name: str, width: int = 0) -> Script:
    """The script of that name; see Script. Redis keeps each that it was given, so it is made for few widths."""
    return _script(name, width if width <= WIDEST else 0)


@cache
def _script(name: str, width: int) -> Script:
    return Script(name, width)


def unrolled(width: int) -> str:
    """The function `add_unrolled` of lib.lua for messages of so many names. Pure.

    What Lua calls, `unpack` here, costs it as much as twenty lines of its own, and so does filling a table for it: a
    loop that names each part is a fifteenth of what Redis does for a message.
    """
    values = [f"list[at + {place}]" for place in range(width)]

    def loop(values: Sequence[str], gap: int = 0, before: str = "") -> str:
        names = ["parts[1]", *(f"parts[{2 * place + 1 + gap}]" for place in range(1, width))]
        fields = [f"{name}, {value}" for name, value in zip(names, values, strict=True)]
        if gap:
            fields.insert(1, "parts[3], parts[4]")
        add = f"call('XADD', stream, '*', {', '.join(fields)})"
        return f"for at = first, first + (run.n - 1) * {width}, {width} do {before}{add} end"

    going_on = loop([values[0], "path", *values[2:]], before=_GO_ON) if width > 1 else "return false"
    return f"""local function add_unrolled(stream, run, hop)
  if run.shape.n ~= {width} then return false end
  local call, list, parts, first = redis.call, run.list, run.shape.parts, run.first
  if hop then
    local former, path
    {going_on}
  elseif run.shape.gap == 0 then
    {loop(values)}
  else
    {loop(values, gap=2)}
  end
  return true
end

"""


_GO_ON = (
    "local was = list[at + 1] if was ~= former then former, path = was, (was == '' and hop or was .. '>' .. hop) end "
)
"""Mostly the messages of a batch have one path: it is put together once for those in a row."""
_UNROLLED = re.compile(r"^local function add_unrolled.*?^end\n\n", re.MULTILINE | re.DOTALL)


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
