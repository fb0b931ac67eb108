"""Bring a flow's declaration into Redis: its streams, their room, their readers. Safe to repeat at any time."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, TypeVar

from dataflow.errors import DataflowError, Fenced, FormatTooNew, HalfApplied, NotDeclared
from dataflow.flow.spec import Edge, Flow
from dataflow.store.alarms import alarms, clear_alarm, raise_alarm
from dataflow.store.handover import OVERTAKEN, WAIT_S, Handover, wait_until_quiet
from dataflow.store.keys import FORMAT, Keys, StreamKeys
from dataflow.store.leads import Reader, leads_on, read_leads
from dataflow.store.memory import check_settings
from dataflow.store.redis import Client, call
from dataflow.store.script import script

GROUP_LOST = "group-lost"
"""Kind of the alarm of a reader whose consumer group was gone."""
RETRY_MAX_LEN = 2**53
"""Retry streams only hold messages that were accepted before, so they are never full."""
DEAD_MAX_LEN = 100_000
"""Dead letters of one group; when they are full the group stops and says so."""
_NO_CYCLE = ("", "", 0)
_Connection = TypeVar("_Connection", str, str | None)


@dataclass(frozen=True, slots=True)
class Held:
    """A reader that the flow no longer declares but for which messages still wait in Redis."""

    stream: str
    group: str
    waiting: int


@dataclass(frozen=True, slots=True)
class Applied:
    """What `apply` did: the new revision, groups it had to mend as (stream, group), readers it could not let go.

    `renamed`: readers that go on where another stood, new name -> former name. `warnings` are sentences about the
    server's settings.
    """

    revision: int
    mended: list[tuple[str, str]]
    held: list[Held]
    dropped: list[str]
    renamed: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


def apply(flow: Flow, redis: Client, connection: str | None = None, *, wait_s: float = WAIT_S) -> Applied:
    """The same as `apply_all` on one server. With `connection`, the streams of that connection alone: the server is the
    one that it names.
    """
    return apply_all(flow, {connection: redis}, wait_s=wait_s)[connection]


def apply_all(
    flow: Flow, clients: Mapping[_Connection, Client], *, wait_s: float = WAIT_S
) -> dict[_Connection, Applied]:
    """Declare every stream and reader of the flow and let go of readers that it no longer has. On all servers or none.

    A reader that the flow dropped is kept, and named in the answer, as long as messages wait for it: only `release`
    drops messages. One that takes the place of a former one goes on where that stood (`dataflow.store.succession`).
    What an edge that is dropped or led elsewhere has on its way is waited for, up to `wait_s`. Running processes notice
    the new revision and follow.

    Args:
        clients: connection name -> its server, in the order in which they are to follow: the flow's home last.

    Raises FormatTooNew, EvictingServer, UserError, StillOnItsWay, NotDeclared (a name has another reader's messages),
    Fenced: nothing was changed. HalfApplied, Fenced (another flow of this name was applied meanwhile, and stands),
    NotDeclared (a key of ours holds something else), ServerAway, OutcomeUnknown: run it again.
    """
    keys = Keys(flow.name)
    parts = {name: _streams_on(flow, name) for name in clients}
    warnings = {}
    for name, client in clients.items():
        check_format(client, keys)
        warnings[name] = check_settings(client)
    with ExitStack() as turns:
        handovers = {
            name: turns.enter_context(Handover(client, keys, leads_on(flow, parts[name])))
            for name, client in clients.items()
        }
        wait_until_quiet(list(handovers.values()), wait_s)
        for one in handovers.values():
            one.check()
        _carry_out(handovers)
        return {
            name: _declared(flow, client, parts[name], handovers[name], warnings[name])
            for name, client in clients.items()
        }


def _declared(flow: Flow, redis: Client, names: Sequence[str], handover: Handover, warnings: list[str]) -> Applied:
    """What is left to do on a server when its readers were handed over."""
    keys, turn = Keys(flow.name), handover.turn
    mended = [found for name in names for found in declare(flow, redis, name, create=True, turn=turn)]
    held, dropped = _let_go(flow, redis, keys, names, turn)
    kept = {Reader(reader.stream, reader.group) for reader in held}
    gone = read_leads(redis, keys).keys() - leads_on(flow, names).keys() - kept
    args = [FORMAT, flow.digest, int(time.time() * 1000), turn, *map(str, gone)]
    answer = script("applied").run(redis, [keys.applied, keys.leads, keys.applying], args)
    _refuse_overtaken(answer)
    return Applied(int(answer[1]), mended, held, dropped, handover.renamed, warnings)


def _carry_out(handovers: Mapping[_Connection, Handover]) -> None:
    """Hand readers over on all servers, those first where it can still be refused."""
    done: list[_Connection] = []
    for name, one in sorted(handovers.items(), key=lambda item: not item[1].can_be_refused):
        try:
            one.carry_out()
        except DataflowError as error:
            if not done:
                raise
            raise HalfApplied([str(of) for of in done], str(name), error) from error
        done.append(name)


def _refuse_overtaken(answer: Sequence[Any]) -> None:
    if answer[0] == b"FENCED":
        raise Fenced(f"{OVERTAKEN}, and that flow stands")


def _streams_on(flow: Flow, connection: str | None) -> list[str]:
    return [stream.name for stream in flow.streams.values() if connection in (None, stream.on)]


def declare(flow: Flow, redis: Client, stream: str, *, create: bool, turn: str = "") -> list[tuple[str, str]]:
    """Declare one stream with its readers; with create=False only make lost groups again.

    Raises Fenced when it is not the turn of who applies the flow (`turn`, "" for one who does not).

    Returns (stream, group) for every group that had been lost; each raises an alarm, which goes when the flow is
    applied again and nothing is lost.
    """
    keys = Keys(flow.name)
    mended = []
    for at, max_len, groups in _streams_of(flow, keys, stream):
        args = [arg for group in groups for arg in (group, _join(flow, group))]
        main = at == keys.stream(stream)
        around = _cycle(flow, keys, stream) if main else _NO_CYCLE
        names = [at.stream, at.groups, at.counts, at.cycle, keys.applying, *([keys.joins(stream)] if main else [])]
        answer = script("declare").run(redis, names, [max_len, int(create), *around, turn, *args])
        _refuse_overtaken(answer)
        if answer[0] != b"OK":
            raise NotDeclared(f"the key {at.stream!r} holds something that is not a stream; rename or delete it first")
        mended += [(stream, name.decode()) for name in answer[1:]]
    mended = list(dict.fromkeys(mended))
    for _, group in mended:
        text = "its consumer group was gone from Redis and was made again where it stood"
        raise_alarm(redis, keys, GROUP_LOST, f"{stream}/{group}", text)
    if create and not mended:
        for group in flow.readers(stream):
            clear_alarm(redis, keys, GROUP_LOST, f"{stream}/{group}")
    return mended


def check_format(redis: Client, keys: Keys) -> None:
    """Refuse to touch state that a newer program has written. Raises FormatTooNew."""
    found = call(redis, "HGET", keys.applied, "format")
    if found is not None and int(found) > FORMAT:
        raise FormatTooNew(
            f"flow {keys.flow!r} in this Redis has format {int(found)}, this program knows up to {FORMAT}: upgrade it"
        )


def revision(redis: Client, keys: Keys) -> int:
    """The revision of the applied flow, 0 if none was applied."""
    return int(call(redis, "HGET", keys.applied, "revision") or 0)


def applied_digest(redis: Client, keys: Keys) -> str:
    """The digest of the applied flow; empty if none was applied."""
    return (call(redis, "HGET", keys.applied, "digest") or b"").decode()


def _streams_of(flow: Flow, keys: Keys, stream: str) -> Iterator[tuple[StreamKeys, int, tuple[str, ...]]]:
    """A stream and what belongs to it: per reader its retry stream and its dead letters; dead letters of intakes."""
    readers = flow.readers(stream)
    yield keys.stream(stream), flow.streams[stream].max_len, readers
    for group in readers:
        yield keys.retry(stream, group), RETRY_MAX_LEN, (group,)
        yield keys.dead(stream, group), DEAD_MAX_LEN, ()
    for edge in flow.intakes(stream):
        yield keys.dead(stream, edge), DEAD_MAX_LEN, ()


def _cycle(flow: Flow, keys: Keys, stream: str) -> tuple[str, str, int]:
    """The cycle that a stream lies on: its streams, who writes inside it, whether it is closed here."""
    cycle = flow.cycle(stream)
    if cycle is None:
        return _NO_CYCLE
    streams = " ".join(keys.stream(name).stream for name in cycle.streams)
    return streams, f" {' '.join(sorted(cycle.steps))} ", int(stream in cycle.closing)


def _join(flow: Flow, group: str) -> str:
    reader = flow.edges.get(group)
    return reader.join if isinstance(reader, Edge) else "start"


def _let_go(flow: Flow, redis: Client, keys: Keys, names: Sequence[str], turn: str) -> tuple[list[Held], list[str]]:
    held, dropped = [], []
    for stream in declared_streams(redis, keys):
        wanted = flow.readers(stream) if stream in names else ()
        for group in _groups(redis, keys.stream(stream)):
            if group not in wanted:
                waiting = undeclare(redis, keys, stream, group, turn=turn)
                if waiting:
                    held.append(Held(stream, group, waiting))
                else:
                    dropped.append(f"{stream}/{group}")
                    _forget_alarms(redis, keys, stream, group)
    return held, dropped


def _forget_alarms(redis: Client, keys: Keys, stream: str, group: str) -> None:
    """Nobody takes down what is said of a reader that is gone."""
    about = (group, f"{group}/main", f"{group}/retry", f"{stream}/{group}")
    for alarm in alarms(redis, keys):
        if alarm.subject in about:
            clear_alarm(redis, keys, alarm.kind, alarm.subject)


def undeclare(redis: Client, keys: Keys, stream: str, group: str, *, release: bool = False, turn: str = "") -> int:
    """Forget a reader. Returns how many messages wait for it: if any, nothing was changed unless `release` is set.

    Raises Fenced when it is not the turn of who applies the flow (`turn`, "" for one who does not).
    """
    at, retry = keys.stream(stream), keys.retry(stream, group)
    names = [
        at.stream, at.groups, at.counts, retry.stream, keys.parked(stream, group), retry.groups, retry.counts,
        keys.attempts(stream, group), keys.edge(group), keys.edge(group, retry=True),
        keys.settled(group), keys.settled(group, retry=True), keys.joins(stream), keys.applying,
    ]  # fmt: skip
    answer = script("undeclare").run(redis, names, [group, int(release), stream, turn])
    _refuse_overtaken(answer)
    return 0 if answer[0] == b"OK" else int(answer[1])


def declared_streams(redis: Client, keys: Keys) -> list[str]:
    """Every stream that has readers in Redis, by this flow file or a former one. Goes through all keys there."""
    prefix, suffix = f"{{{keys.flow}}}:", ":groups"
    cursor, found = b"0", set()
    while True:
        cursor, names = call(redis, "SCAN", cursor, "MATCH", f"{prefix}*{suffix}", "COUNT", 1000)
        for name in names:
            stream = name.decode()[len(prefix) : -len(suffix)]
            if ":" not in stream:
                found.add(stream)
        if cursor == b"0":
            return sorted(found)


def _groups(redis: Client, at: StreamKeys) -> list[str]:
    return [name.decode() for name in call(redis, "HKEYS", at.groups)]
