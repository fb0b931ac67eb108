"""Whether messages from a file fit the flow, before any is sent; and what the texts of CSV stand for. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from dataflow.errors import UnknownName
from dataflow.faults import find_faults, show
from dataflow.flow.spec import Field, Flow, Schema, Stream
from dataflow.scalars import read_int

LEAST_INT, LARGEST_INT = -(2**63), 2**64 - 1
"""What the hub's client can write."""

_BOOLS = {"true": True, "1": True, "false": False, "0": False}
_NEEDED = ("rec_id", "task_for", "function_type")


class Judge:
    """Knows where messages go and what they must look like there.

    Args:
        stream: the stream to which all go; None: each goes to the stream that accepts its task_for and function_type.
        constants: fields that are added to every message, as texts.
        typed: whether the values of messages are texts that stand for what the schema says (CSV).

    Raises UnknownName: a stream that the flow has not, or to which no one may send.
    """

    def __init__(self, flow: Flow, stream: str | None, constants: Mapping[str, str], *, typed: bool) -> None:
        self._flow = flow
        self._stream = None if stream is None else _open_to_all(flow, stream)
        self._routes = {s.accepts: s for s in flow.streams.values() if s.accepts is not None}
        self._constants = constants
        self._typed = typed

    def complete(self, message: Mapping[str, Any]) -> dict[str, Any]:
        """The message as it is sent: constant fields added, texts read by the schema of its stream."""
        whole = {**message, **self._constants}
        schema = self._schema(whole)
        texts = whole if self._typed else self._constants
        return {**whole, **{name: read(text, schema.get(name)) for name, text in texts.items()}}

    def faults(self, message: Mapping[str, Any]) -> Iterator[str]:
        """Everything that is wrong with a message that is about to be sent."""
        if self._stream is None:
            missing = [name for name in _NEEDED if message.get(name) is None]
            for name in missing:
                yield f"{name}: every message needs it; add it to all with --set {name}=..."
            if not missing and self._target(message) is None:
                yield self._unroutable(message)
        for fault in find_faults(message, 0, self._schema(message)):
            yield f"{fault.field}: {fault.text}" if fault.field else fault.text
        for name, value in message.items():
            if isinstance(value, float) and not math.isfinite(value):
                yield f"{name}: {value} cannot be sent: JSON has no such number"
            if isinstance(value, int) and not LEAST_INT <= value <= LARGEST_INT:
                yield f"{name}: {show(value)} cannot be sent: it has more than 64 bits"

    def _schema(self, message: Mapping[str, Any]) -> Schema:
        target = self._target(message)
        return (target.schema if target else None) or {}

    def _target(self, message: Mapping[str, Any]) -> Stream | None:
        if self._stream is not None:
            return self._stream
        task_for, function_type = message.get("task_for"), message.get("function_type")
        if isinstance(task_for, str) and isinstance(function_type, str):
            return self._routes.get((task_for, function_type))
        return None

    def _unroutable(self, message: Mapping[str, Any]) -> str:
        accepted = ", ".join("/".join(route) for route in self._routes) or "nothing"
        return f"no stream accepts {message['task_for']}/{message['function_type']}; accepted are: {accepted}"


def read(text: Any, field: Field | None) -> Any:
    """What a text stands for in a field. One that does not fit stays as it is, to be refused with its fault."""
    if not isinstance(text, str) or field is None:
        return text
    if text == "" and field.nullable:
        return None
    try:
        if field.type == "int":
            return read_int(text.strip().encode())
        if field.type == "float":
            return float(text)
        if field.type == "bool":
            return _BOOLS[text.strip().lower()]
    except (ValueError, KeyError):
        return text
    return text


def _open_to_all(flow: Flow, name: str) -> Stream:
    stream = flow.streams.get(name)
    doors = [stream.name for stream in flow.streams.values() if stream.direction == "in"]
    if stream is None or stream.direction != "in":
        what = "no stream" if stream is None else "no `in` stream"
        raise UnknownName(f"the flow has {what} {name!r}; messages can be sent to {', '.join(doors) or 'none'}")
    return stream
