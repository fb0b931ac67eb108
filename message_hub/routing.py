"""Messages to stream entries: which stream takes which message, or everything that is wrong with all of them. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from operator import itemgetter
from typing import Any

from dataflow.errors import Fault, InvalidMessage, UnknownName
from dataflow.faults import kind, show
from dataflow.flow.spec import Flow, Stream
from dataflow.message import Codec
from dataflow.store.door import Alike, Outgoing, Outgoings
from message_hub.refusal import Refusal

ROUTE_FIELDS = ("rec_id", "task_for", "function_type")
"""What every message at the routed door must hold."""

_ROUTES_SHOWN = 20
_FREE = Codec(None)

_route_of = itemgetter("task_for", "function_type")
_rec_id_of = itemgetter("rec_id")


@dataclass(frozen=True, slots=True)
class Target:
    """A stream that takes messages, with its codec."""

    stream: Stream
    codec: Codec

    def take(self, messages: Sequence[Any]) -> Outgoings:
        """Entries for all messages, in order, but for id and path. Raises InvalidMessage with the faults of all."""
        alike = self.codec.encode_alike(messages)
        return self.entries(messages) if alike is None else Alike(self.stream.name, *alike)

    def entries(self, messages: Sequence[Any]) -> list[Outgoing]:
        """The same, entry by entry."""
        return list(map(Outgoing, repeat(self.stream.name), self.codec.encode_all(messages)))


class Router:
    """The routes of one flow: (task_for, function_type) -> stream, and `in` streams by name."""

    def __init__(self, flow: Flow) -> None:
        self._streams = flow.streams
        self._targets = {
            stream.name: Target(stream, Codec(stream.schema))
            for stream in flow.streams.values()
            if stream.direction == "in"
        }
        self._routes: dict[Any, Target] = {
            target.stream.accepts: target for target in self._targets.values() if target.stream.accepts is not None
        }

    def target(self, name: str) -> Target:
        """The `in` stream of that name. Raises UnknownName."""
        target = self._targets.get(name)
        if target is not None:
            return target
        if name in self._streams:
            raise UnknownName(f"stream {show(name)!r} is an out stream; only workers and edges write to it")
        raise UnknownName(f"no stream is called {show(name)!r}; there are: {_some(list(self._targets))}")

    def route(self, messages: Sequence[Any]) -> Outgoings:
        """Entries for all messages, in order, but for id and path, each for the stream that accepts it.

        Raises:
            Refusal: 404 when nothing is wrong but that no stream accepts some message.
            InvalidMessage: with every fault of every message.
        """
        try:
            if None in map(_rec_id_of, messages):
                raise KeyError("a rec_id that is null")
            routes = list(map(_route_of, messages))
            if len(set(routes)) == 1:
                return self._routes[routes[0]].take(messages)
            return self._spread(messages, routes)
        except (LookupError, TypeError, InvalidMessage):
            raise self._refusal(messages) from None

    def _spread(self, messages: Sequence[Any], routes: Sequence[Any]) -> list[Outgoing]:
        entries: dict[int, Outgoing] = {}
        for route in dict.fromkeys(routes):
            places = [index for index, found in enumerate(routes) if found == route]
            found = self._routes[route].entries([messages[index] for index in places])
            entries.update(zip(places, found, strict=True))
        return [entries[index] for index in range(len(messages))]

    def _refusal(self, messages: Sequence[Any]) -> Exception:
        faults = [fault for index, message in enumerate(messages) for fault in self._faults(message, index)]
        if any(fault.code != "no_stream" for fault in faults):
            return InvalidMessage(faults)
        return Refusal(404, f"nothing was stored: {faults[0].text}; accepted are: {self._accepted()}", faults)

    def _faults(self, message: Any, index: int) -> Iterator[Fault]:
        if not isinstance(message, dict):
            yield from _FREE.faults(message, index)
            return
        found = list(_route_faults(message, index))
        yield from found
        target = None if found else self._routes.get((message["task_for"], message["function_type"]))
        if target is None and not found:
            text = f"no stream accepts task_for={show(message['task_for'])!r}"
            text += f", function_type={show(message['function_type'])!r}"
            yield Fault(index, "task_for", "no_stream", text)
        named = {fault.field for fault in found}
        codec = target.codec if target else _FREE
        yield from (fault for fault in codec.faults(message, index) if fault.field not in named)

    def _accepted(self) -> str:
        return _some([f"{task_for}/{function_type}" for task_for, function_type in self._routes])


def _route_faults(message: Mapping[str, Any], index: int) -> Iterator[Fault]:
    for name in ROUTE_FIELDS:
        value = message.get(name)
        if name not in message:
            yield Fault(index, name, "missing", "every message at this door must have this field")
        elif value is None:
            yield Fault(index, name, "null", "this field must have a value")
        elif isinstance(value, list | dict):
            yield Fault(index, name, "nested", f"{kind(value)} inside a message")
        elif name != "rec_id" and not isinstance(value, str):
            yield Fault(index, name, "wrong_type", f"{show(value)} is {kind(value)}; this field is text")


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_ROUTES_SHOWN]) or "none"
    return shown + (f" and {len(names) - _ROUTES_SHOWN} more" if len(names) > _ROUTES_SHOWN else "")
