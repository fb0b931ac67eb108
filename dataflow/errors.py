"""The error tree. A class says what happened to the data; its message names the thing, the value and the way out.

    DataflowError
    |-- UserError              something the caller can mend; nothing was stored
    |   |-- FlowError          the flow file is wrong; carries every problem with file:line:column and code
    |   |-- InvalidMessage     messages that do not fit; carries every fault (index, field, code, text)
    |   |-- UnknownName        a stream, worker, edge or message that the flow does not have
    |   `-- FormatTooNew       Redis holds the state of a newer program
    |-- ServerAway             a server could not be reached; nothing was changed
    |-- OutcomeUnknown         the connection broke after sending: the step may or may not have happened
    |-- StreamFull             no room; nothing was written, try again later
    |-- ServerFull             the server is at its memory limit; nothing was written
    |-- Fenced                 someone else owns this work now; nothing was written
    |-- NotDeclared            the flow was not applied to this Redis (or its state was deleted)
    |-- StillOnItsWay          an edge cannot be led elsewhere yet; nothing was changed
    |-- HalfApplied            a flow was applied on some of its servers only
    |-- BatchConflict          the target already has another batch under this sequence number
    |-- TargetBehind           the target has lost batches that the source has settled
    `-- TargetRefused          the target answered with an error before anything was written

`exit_code` is what the command line returns for an error of that class (see docs/CLI.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class DataflowError(Exception):
    """Something went wrong in the dataflow."""

    exit_code = 1

    def __init__(self, message: str = "") -> None:
        super().__init__(message or (type(self).__doc__ or "").splitlines()[0])


class UserError(DataflowError):
    """The request cannot be carried out as it stands; nothing was stored."""

    exit_code = 2


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong with one message: its position in the request, the field, a stable code and a sentence."""

    index: int
    field: str
    code: str
    text: str


class InvalidMessage(UserError):
    """Messages do not fit; none of them was stored."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = list(faults)
        first = self.faults[0]
        more = f" (and {len(self.faults) - 1} more)" if len(self.faults) > 1 else ""
        super().__init__(f"message {first.index}, field {first.field!r}: {first.text}{more}")


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem of a flow file: where it is (1-based), a stable code, what is wrong and what to do."""

    file: str
    line: int
    column: int
    code: str
    text: str
    fix: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}: {self.code} {self.text} - {self.fix}"


class FlowError(UserError):
    """The flow file has problems; nothing was changed."""

    exit_code = 1

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = list(problems)
        super().__init__("\n".join(str(p) for p in self.problems))


class UnknownName(UserError):
    """The flow has nothing of that name."""


class FormatTooNew(UserError):
    """This Redis holds the state of a newer version of the program; upgrade before touching it."""


class ServerAway(DataflowError):
    """A server could not be reached; nothing was changed."""

    exit_code = 3


class OutcomeUnknown(DataflowError):
    """The connection broke after the request was sent: it may or may not have been carried out."""

    exit_code = 4


class StreamFull(DataflowError):
    """The stream has no room; nothing was written."""

    exit_code = 5

    def __init__(self, stream: str, depth: int, max_len: int) -> None:
        self.stream, self.depth, self.max_len = stream, depth, max_len
        super().__init__(f"stream {stream!r} is full: {depth} of {max_len} messages; nothing was written")


class ServerFull(DataflowError):
    """Redis is at its memory limit (maxmemory); nothing was written."""

    exit_code = 5


class Fenced(DataflowError):
    """Another runner has taken this work over; nothing was written.

    `epoch` is the epoch that the target has seen, 0 where none was told.
    """

    exit_code = 6

    def __init__(self, message: str = "", epoch: int = 0) -> None:
        self.epoch = epoch
        super().__init__(message)


class NotDeclared(DataflowError):
    """The flow is not applied to this Redis; run `dataflow apply`."""

    exit_code = 7


class StillOnItsWay(DataflowError):
    """An edge cannot be led elsewhere or replaced yet: its target may have what is on its way, nobody else can tell.

    Nothing was changed.
    """

    exit_code = 9

    def __init__(self, edge: str, former: str, wish: str, messages: int) -> None:
        self.edge, self.messages = edge, messages
        super().__init__(
            f"{edge!r} led to {former}, and {wish}; but {messages} messages are still on their way to the former: "
            f"nothing was changed. Run the flow with {edge!r} as it was until they have arrived (some seconds, if "
            f"nothing is wrong: see `dataflow status`), then apply again"
        )


class HalfApplied(DataflowError):
    """A flow was applied on some of its servers when another refused. Nothing is lost; to apply it again goes on.

    done: the connections where readers have been handed over. refused: where not.
    """

    exit_code = 9

    def __init__(self, done: Sequence[str], refused: str, why: Exception) -> None:
        self.done, self.refused, there = list(done), refused, ", ".join(done)
        if isinstance(why, StillOnItsWay):
            why_not = f"{why.messages} messages of {why.edge!r} were on their way again"
        else:
            why_not = str(why)
        super().__init__(
            f"readers were handed over on {there}, but not on {refused}: {why_not}. Nothing is lost; what has a new "
            f"name on {there} stands still until the same flow file is applied again: do it now"
        )


class BatchConflict(DataflowError):
    """The target has another batch under this sequence number; the source must reconcile by ids.

    `applied_ids` are the source entry ids that the target remembers, `last_seq` and `last_digest` its last batch.
    """

    exit_code = 8

    def __init__(self, message: str, applied_ids: Sequence[bytes], last_seq: int, last_digest: str = "") -> None:
        self.applied_ids = list(applied_ids)
        self.last_seq = last_seq
        self.last_digest = last_digest
        super().__init__(message)


class TargetBehind(DataflowError):
    """The target has lost batches that the source settled."""

    exit_code = 8


class TargetRefused(DataflowError):
    """The target refused the batch before anything was written."""

    exit_code = 8


class RowsRefused(TargetRefused):
    """The target refused a batch because of some row, and does not say which.

    Nothing was written of it but what `applied_ids` names, the source entries whose rows are there.
    """

    def __init__(self, message: str, applied_ids: Sequence[bytes]) -> None:
        self.applied_ids = list(applied_ids)
        super().__init__(message)
