"""Messages to stream entries: which stream takes which message, or everything that is wrong with all of them. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from dataflow.errors import Fault, InvalidMessage, UnknownName
from dataflow.faults import kind, show
from dataflow.flow.spec import Flow, Stream
from dataflow.message import MID, PATH, Codec
from dataflow.store.door import Outgoing
from message_hub.refusal import Refusal

ROUTE_FIELDS = ("rec_id", "task_for", "function_type")
"""What every message at the routed door must hold."""

_ROUTES_SHOWN = 20
_FREE = Codec(None)

_Encode = Callable[[Mapping[str, Any]], list[bytes]]


class Stamp(NamedTuple):
    """What all messages of one request get: ids `<request_id>-<index>` and the first hop of their path."""

    request_id: str
    path: str

    def entry(self, stream: str, index: int, fields: list[bytes]) -> Outgoing:
        """A stream entry: our fields first, then the user's."""
        return Outgoing(stream, [MID, b"%b-%d" % (self.request_id.encode(), index), PATH, self.path.encode(), *fields])


@dataclass(frozen=True, slots=True)
class Target:
    """A stream that takes messages, with its codec."""

    stream: Stream
    codec: Codec

    def take(self, messages: Sequence[Any], stamp: Stamp) -> list[Outgoing]:
        """Entries for all messages, in order. Raises InvalidMessage with the faults of all of them."""
        name, encode = self.stream.name, self.codec.encode
        try:
            return [stamp.entry(name, index, encode(message)) for index, message in enumerate(messages)]
        except InvalidMessage:
            raise InvalidMessage(
                [fault for index, message in enumerate(messages) for fault in self.codec.faults(message, index)]
            ) from None


class Router:
    """The routes of one flow: (task_for, function_type) -> stream, and `in` streams by name."""

    def __init__(self, flow: Flow) -> None:
        self._streams = flow.streams
        self._targets = {
            stream.name: Target(stream, Codec(stream.schema))
            for stream in flow.streams.values()
            if stream.direction == "in"
        }
        self._routes = {
            target.stream.accepts: target for target in self._targets.values() if target.stream.accepts is not None
        }
        self._encoders: dict[Any, tuple[str, _Encode]] = {
            route: (target.stream.name, target.codec.encode) for route, target in self._routes.items()
        }

    def target(self, name: str) -> Target:
        """The `in` stream of that name. Raises UnknownName."""
        target = self._targets.get(name)
        if target is not None:
            return target
        if name in self._streams:
            raise UnknownName(f"stream {show(name)!r} is an out stream; only workers and edges write to it")
        raise UnknownName(f"no stream is called {show(name)!r}; there are: {_some(list(self._targets))}")

    def route(self, messages: Sequence[Any], stamp: Stamp) -> list[Outgoing]:
        """Entries for all messages, in order, each for the stream that accepts it.

        Raises:
            Refusal: 404 when nothing is wrong but that no stream accepts some message.
            InvalidMessage: with every fault of every message.
        """
        encoders = self._encoders
        entries: list[Outgoing] = []
        try:
            for index, message in enumerate(messages):
                stream, encode = encoders[message["task_for"], message["function_type"]]
                if message["rec_id"] is None:
                    raise KeyError
                entries.append(stamp.entry(stream, index, encode(message)))
        except (LookupError, TypeError, InvalidMessage):
            raise self._refusal(messages) from None
        return entries

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
        return _some([f"{task_for}/{function_type}" for task_for, function_type in self._encoders])


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
