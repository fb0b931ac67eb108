"""A small model of an edge: two runners, a network that delays, servers that forget. Searched through completely.

The world is a source (its stream, the lane), a target (the marker, what was placed), two runners and the packets that
are under way. Whatever can happen next is a step; `search` goes through every order of steps, breadth first, up to the
bounds of a `Setting`, and returns the shortest way to a world where a message is doubled or silently lost.

Time does not exist here: a lease may run out at any moment, a runner may die or be forgotten at any moment, a packet
may arrive at any later moment or never. That covers every timing.

What the model takes as one step is one script in the program: `lease`, `freeze`, `settle`, `handshake`, `place`,
`confirm`. That a target keeps what it has had for some seconds is the one thing known of time: what is in all former
states that a cut may bring back is safe.
`Rules` are the protocol's; turning one off shows what it is for.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

Ids = tuple[int, ...]


@dataclass(frozen=True)
class Rules:
    """What the protocol demands. All on: the program as it is.

    frozen: a batch is written down at the source before it is sent, and repeated as it was written down.
    numbered: the target keeps the number of the last batch and knows one that comes again.
    digested: the identity of a batch holds a digest of its content, not its number alone.
    reconciled: after a conflict the source skips what the target remembers.
    far: it does so for everything that the target remembers, not only for the batch in hand.
    fenced: the target refuses a runner when a newer one has shaken hands.
    epoch_free: the epoch of the lease is no part of the identity.
    chained: a batch names the digest of the one before it, and the target takes it after that one only.
    confirmed: what was settled is kept at the source until the target can no longer lose it.
    """

    frozen: bool = True
    numbered: bool = True
    digested: bool = True
    reconciled: bool = True
    far: bool = True
    fenced: bool = True
    epoch_free: bool = True
    chained: bool = True
    confirmed: bool = True


@dataclass(frozen=True)
class Setting:
    """How far the search goes.

    target: `marker` is a stream with its marker, which applies a batch in one step. `readback` is a table that keeps no
    marker: a batch that may be there is looked up and the rest inserted, in two steps.
    noticed_is_not_enough: a message that is lost is a fault even where the next batch would be refused.
    """

    messages: int = 3
    batch: int = 2
    leases: int = 3
    late: int = 1
    source_cuts: int = 0
    target_cuts: int = 0
    forgets: int = 4
    target: Literal["marker", "readback"] = "marker"
    noticed_is_not_enough: bool = False


Identity = tuple[object, ...]


class Batch(NamedTuple):
    """A batch as it is written down. `prev` is the identity of the one before it."""

    seq: int
    ids: Ids
    skip: Ids = ()
    prev: Identity = ()

    @property
    def sent(self) -> Ids:
        """What is placed."""
        return tuple(id_ for id_ in self.ids if id_ not in self.skip)


class Done(NamedTuple):
    """A batch that is settled: its number and identity, and the position after it."""

    seq: int = 0
    identity: Identity = ()
    pos: int = 0


class Source(NamedTuple):
    """The stream and the lane. `last` is the newest message it ever held; `tail` what was settled last. `sure` is the
    batch up to which all is confirmed and deleted, `held` what was settled after it."""

    entries: Ids
    last: int = 0
    epoch: int = 0
    owner: int = -1
    seq: int = 0
    pos: int = 0
    open: Batch | None = None
    tail: Identity = ()
    sure: Done = Done()
    held: tuple[Done, ...] = ()


class Target(NamedTuple):
    """What was placed, in order, and what is remembered of the lineage."""

    placed: Ids = ()
    epoch: int = 0
    seq: int = 0
    last: Identity = ()
    known: frozenset[int] = frozenset()


class Packet(NamedTuple):
    """A request to the target that is under way."""

    epoch: int
    batch: Batch


State = Literal["idle", "leased", "ready", "asked", "read", "frozen", "looked", "placed", "conflict"]


class Runner(NamedTuple):
    """What a runner has in its memory. `fresh`: its batch was never sent by anyone."""

    state: State = "idle"
    owner: int = -1
    epoch: int = 0
    lease: Source = Source(())
    batch: Batch | None = None
    fresh: bool = False
    known: frozenset[int] = frozenset()
    last_seq: int = 0
    last: Identity = ()
    safe: int = 0


class World(NamedTuple):
    """Everything. `past` are former states of a server that a cut may bring back; `undone` are messages that came after
    the one that the source went back to, and are not missed."""

    source: Source
    target: Target
    runners: tuple[Runner, Runner]
    packets: frozenset[Packet] = frozenset()
    source_past: tuple[Source, ...] = ()
    target_past: tuple[Target, ...] = ()
    undone: frozenset[int] = frozenset()
    next_id: int = 1
    leases: int = 0
    source_cuts: int = 0
    target_cuts: int = 0


Step = tuple[str, World]
Answer = tuple[str, int, frozenset[int]]


class Model:
    """The steps of a protocol in a setting."""

    def __init__(self, rules: Rules, setting: Setting) -> None:
        self.rules = rules
        self.setting = setting

    def start(self) -> World:
        """Nothing has happened."""
        return World(Source(()), Target(), (Runner(), Runner()))

    def fault(self, world: World) -> str | None:
        """What is wrong with a world, None if nothing is."""
        placed = world.target.placed
        if len(set(placed)) < len(placed):
            return "doubled"
        there = {*placed, *world.source.entries, *world.undone}
        lost = [id_ for id_ in range(1, world.next_id) if id_ not in there]
        if lost and (self.setting.noticed_is_not_enough or not self._is_noticed(world)):
            return "lost"
        return None

    def _is_noticed(self, world: World) -> bool:
        """Whether the next batch would be refused: the source is ahead, or the target's last batch is another."""
        source, target = world.source, world.target
        if source.seq > target.seq:
            return True
        return self.rules.chained and source.seq == target.seq and source.tail != target.last

    def steps(self, world: World) -> Iterator[Step]:
        """Everything that can happen next."""
        if world.next_id <= self.setting.messages:
            source = world.source._replace(entries=(*world.source.entries, world.next_id), last=world.next_id)
            yield f"append {world.next_id}", self._write_source(world, source)._replace(next_id=world.next_id + 1)
        for at in (0, 1):
            yield from self._runner_steps(world, at)
        for packet in world.packets:
            target, answer = self._place(world.target, packet)
            arrived = self._write_target(world, target)._replace(packets=world.packets - {packet})
            yield f"late packet {packet}: {answer[0]}", arrived
        yield from self._cuts(world)

    # what the servers do

    def _write_source(self, world: World, source: Source) -> World:
        past = ()
        if self.setting.source_cuts > world.source_cuts:
            past = (world.source, *world.source_past)[: self.setting.forgets]
        return world._replace(source=source, source_past=past)

    def _write_target(self, world: World, target: Target) -> World:
        past = ()
        if self.setting.target_cuts > world.target_cuts:
            past = (world.target, *world.target_past)[: self.setting.forgets]
        return world._replace(target=target, target_past=past)

    def _cuts(self, world: World) -> Iterator[Step]:
        for ago, source in enumerate(world.source_past, 1):
            undone = world.undone | set(range(source.last + 1, world.next_id))
            gone = world._replace(source=source, source_past=(), undone=undone, source_cuts=world.source_cuts + 1)
            yield f"the source forgets {ago} writes", gone
        for ago, target in enumerate(world.target_past, 1):
            gone = world._replace(target=target, target_past=(), target_cuts=world.target_cuts + 1)
            yield f"the target forgets {ago} writes", gone

    def _identity(self, packet: Packet) -> Identity:
        batch = packet.batch
        content = (batch.ids, batch.skip) if self.rules.digested else ()
        return (batch.seq, content) if self.rules.epoch_free else (packet.epoch, batch.seq, content)

    def _place(self, target: Target, packet: Packet) -> tuple[Target, Answer]:
        """place.lua, or an INSERT."""
        if self.rules.fenced and packet.epoch < target.epoch:
            return target, ("fenced", target.epoch, frozenset())
        batch = packet.batch
        if self.setting.target == "readback" or not self.rules.numbered:
            return target._replace(placed=(*target.placed, *batch.sent)), ("ok", 0, frozenset())
        if self._identity(packet) == target.last:
            return target, ("applied", target.seq, frozenset())
        renewed = not self.rules.epoch_free and packet.epoch > target.epoch
        if batch.seq <= target.seq and not renewed:
            return target, ("conflict", target.seq, target.known)
        if batch.seq > target.seq + 1 or (self.rules.chained and batch.prev != target.last):
            return target, ("gap", target.seq, frozenset())
        placed = (*target.placed, *batch.sent)
        known = target.known | set(batch.ids)
        epoch = max(target.epoch, packet.epoch)
        return Target(placed, epoch, batch.seq, self._identity(packet), known), ("ok", batch.seq, frozenset())

    # what a runner does; at any moment it may also die, or be forgotten by its caller

    def _runner_steps(self, world: World, at: int) -> Iterator[Step]:
        runner = world.runners[at]
        if runner.state != "idle":
            yield f"runner {at} dies", _with(world, at, Runner())
        act = getattr(self, f"_when_{runner.state}")
        for label, changed in act(world, at, runner):
            yield f"runner {at} {label}", changed

    def _acquire(self, world: World, at: int, least: int) -> Iterator[Step]:
        if world.leases >= self.setting.leases:
            return
        owner = world.leases
        source = world.source._replace(epoch=max(world.source.epoch + 1, least), owner=owner)
        taken = self._write_source(world, source)._replace(leases=owner + 1)
        yield f"takes lease {source.epoch}", _with(taken, at, Runner("leased", owner, source.epoch, source))

    def _when_idle(self, world: World, at: int, runner: Runner) -> Iterator[Step]:
        return self._acquire(world, at, 0)

    def _when_leased(self, world: World, at: int, runner: Runner) -> Iterator[Step]:
        if self.rules.fenced and runner.epoch < world.target.epoch:
            yield from self._acquire(world, at, world.target.epoch + 1)
            return
        target = world.target
        if self.rules.epoch_free:
            target = target._replace(epoch=max(target.epoch, runner.epoch))
        batch = runner.lease.open
        if batch is not None and not self.rules.frozen:
            batch = self._read_again(world, batch)
        state: State = "ready" if batch is None else "frozen"
        ready = runner._replace(state=state, batch=batch)
        yield "shakes hands", _with(self._write_target(world, target), at, ready)

    def _read_again(self, world: World, batch: Batch) -> Batch:
        """What one does who has noted a number only: reads what is there now."""
        rest = [id_ for id_ in world.source.entries if id_ > world.source.pos]
        return batch._replace(ids=tuple(rest[: self.setting.batch]))

    def _when_ready(self, world: World, at: int, runner: Runner) -> Iterator[Step]:
        rest = [id_ for id_ in world.source.entries if id_ > runner.lease.pos]
        for size in range(1, min(self.setting.batch, len(rest)) + 1):
            batch = Batch(runner.lease.seq + 1, tuple(rest[:size]), prev=self._prev(runner.lease.tail))
            yield f"reads {batch.ids}", _with(world, at, runner._replace(state="read", batch=batch))
        if self._holds and runner.lease.held:
            yield self._look(world, at, runner)

    @property
    def _holds(self) -> bool:
        return self.rules.confirmed and self.setting.target == "marker"

    def _prev(self, tail: Identity) -> Identity:
        return tail if self.rules.chained and self.setting.target == "marker" else ()

    def _look(self, world: World, at: int, runner: Runner) -> Step:
        """Asks the target what it has, and what of that it will keep whatever happens."""
        target = world.target
        if runner.epoch < target.epoch:
            return "is refused a look", _with(world, at, Runner())
        safe = min([target.seq, *(past.seq for past in world.target_past)])
        seen = runner._replace(state="asked", last_seq=target.seq, last=target.last, safe=safe)
        fenced = self._write_target(world, target._replace(epoch=runner.epoch))
        return "looks", _with(fenced if fenced.target != target else world, at, seen)

    def _when_asked(self, world: World, at: int, runner: Runner) -> Iterator[Step]:
        """confirm.lua"""
        source = world.source
        if not self._owns(world, runner):
            yield "is refused to confirm", _with(world, at, Runner())
            return
        label, changed = _confirmed(source, runner)
        after = self._write_source(world, changed) if changed != source else world
        # nothing of what it has seen is believed any longer
        following = Runner() if changed.open else Runner("ready", runner.owner, runner.epoch, changed)
        yield label, _with(after, at, following)

    def _owns(self, world: World, runner: Runner) -> bool:
        return (world.source.epoch, world.source.owner) == (runner.epoch, runner.owner)

    def _when_read(self, world: World, at: int, runner: Runner) -> Iterator[Step]:
        source = world.source
        if not self._owns(world, runner) or source.open is not None or source.pos != runner.lease.pos:
            yield "is refused to freeze", _with(world, at, Runner())
            return
        frozen = self._write_source(world, source._replace(open=runner.batch))
        yield f"freezes {runner.batch}", _with(frozen, at, runner._replace(state="frozen", fresh=True))

    def _when_frozen(self, world: World, at: int, runner: Runner) -> Iterator[Step]:
        assert runner.batch is not None
        if self.setting.target == "readback" and not runner.fresh:
            there = tuple(id_ for id_ in runner.batch.ids if id_ in world.target.placed)
            looked = runner._replace(state="looked", batch=runner.batch._replace(skip=there))
            yield f"looks up: {there} are there", _with(world, at, looked)
        else:
            yield from self._send(world, at, runner)

    def _when_looked(self, world: World, at: int, runner: Runner) -> Iterator[Step]:
        return self._send(world, at, runner)

    def _send(self, world: World, at: int, runner: Runner) -> Iterator[Step]:
        assert runner.batch is not None
        packet = Packet(runner.epoch, runner.batch)
        if len(world.packets) < self.setting.late and packet not in world.packets:
            under_way = world._replace(packets=world.packets | {packet})
            yield f"sends {packet.batch}, which is late, and gives up", _with(under_way, at, Runner())
        target, (kind, seq, known) = self._place(world.target, packet)
        placed = self._write_target(world, target) if target != world.target else world
        label = f"sends {packet.batch}: {kind}"
        if kind in ("ok", "applied"):
            yield f"{label}, reply lost", _with(placed, at, Runner())
            yield label, _with(placed, at, runner._replace(state="placed", fresh=False))
        elif kind == "conflict":
            state = runner._replace(state="conflict", known=known, last_seq=seq, last=world.target.last)
            yield label, _with(placed, at, state)
        elif kind == "gap" and self._holds and world.source.held:
            yield label, _with(placed, at, Runner())
            yield self._look(world, at, runner)
        else:
            yield label, _with(placed, at, Runner())

    def _when_conflict(self, world: World, at: int, runner: Runner) -> Iterator[Step]:
        source, batch = world.source, runner.batch
        assert batch is not None
        if not self._owns(world, runner) or source.open is None or source.open.seq != batch.seq:
            yield "is refused to freeze anew", _with(world, at, Runner())
            return
        known = runner.known if self.rules.reconciled else frozenset()
        last = max(batch.ids, default=0)
        if self.rules.far:
            last = max({last, *known})
        ids = tuple(id_ for id_ in source.entries if source.pos < id_ <= last)
        skip = tuple(id_ for id_ in ids if id_ in known)
        anew = Batch(runner.last_seq + 1, ids, skip, self._prev(runner.last))
        frozen = self._write_source(world, source._replace(open=anew))
        yield f"freezes anew {anew}", _with(frozen, at, runner._replace(state="frozen", batch=anew, fresh=True))

    def _when_placed(self, world: World, at: int, runner: Runner) -> Iterator[Step]:
        source, batch = world.source, runner.batch
        assert batch is not None
        mine = source.open is not None and source.open.seq == batch.seq
        if self.rules.frozen and self.setting.target == "marker":
            mine = source.open == batch
        if not self._owns(world, runner) or not mine:
            yield "is refused to settle", _with(world, at, Runner())
            return
        last = max(batch.ids, default=source.pos)
        tail = self._identity(Packet(runner.epoch, batch))
        done = Done(batch.seq, tail, last)
        settled = source._replace(seq=batch.seq, pos=last, open=None, tail=tail, held=(*source.held, done))
        if not self._holds:
            settled = _deleted(settled, done)
        after = runner._replace(state="ready", batch=None, lease=settled, fresh=False)
        yield f"settles {batch.ids}", _with(self._write_source(world, settled), at, after)


def _deleted(source: Source, sure: Done) -> Source:
    """What is confirmed is deleted."""
    rest = tuple(id_ for id_ in source.entries if id_ > sure.pos)
    return source._replace(entries=rest, sure=sure, held=tuple(done for done in source.held if done.seq > sure.seq))


def _confirmed(source: Source, seen: Runner) -> tuple[str, Source]:
    """What a source makes of what its target has: it deletes what is safe, or goes back to what is there."""
    marker = (seen.last_seq, seen.last)
    has_all = marker == (source.seq, source.tail) or seen.last_seq > source.seq
    if has_all:
        safe = [done for done in source.held if done.seq <= seen.safe]
        return "confirms", _deleted(source, safe[-1]) if safe else source
    for at, done in enumerate((source.sure, *source.held)):
        if marker == (done.seq, done.identity):
            back = source._replace(seq=done.seq, pos=done.pos, tail=done.identity, open=None, held=source.held[:at])
            return f"goes back to {done.pos}", back
    if seen.last_seq <= source.sure.seq:
        return "pauses", source
    # another batch is there: the next one will be refused, and what the target knows will be skipped
    back = source._replace(seq=seen.last_seq - 1, pos=source.sure.pos, tail=(), open=None, held=())
    return "goes back to what is sure", back


def _with(world: World, at: int, runner: Runner) -> World:
    other = world.runners[1 - at]
    return world._replace(runners=(runner, other) if at == 0 else (other, runner))


@dataclass(frozen=True)
class Found:
    """How a search ended: worlds looked at, and the shortest way to a fault, if there is one."""

    worlds: int
    fault: str | None
    way: tuple[str, ...]


def search(rules: Rules, setting: Setting, most_worlds: int = 5_000_000) -> Found:
    """Go through every order of steps. Raises OverflowError when there are more worlds than `most_worlds`."""
    model = Model(rules, setting)
    start = model.start()
    came_from: dict[World, tuple[World, str] | None] = {start: None}
    todo = deque([start])
    while todo:
        world = todo.popleft()
        for label, following in model.steps(world):
            if following in came_from:
                continue
            came_from[following] = world, label
            fault = model.fault(following)
            if fault:
                return Found(len(came_from), fault, _way(came_from, following))
            if len(came_from) > most_worlds:
                raise OverflowError(f"more than {most_worlds} worlds")
            todo.append(following)
    return Found(len(came_from), None, ())


def _way(came_from: dict[World, tuple[World, str] | None], world: World) -> tuple[str, ...]:
    labels = []
    step = came_from[world]
    while step is not None:
        labels.append(step[1])
        step = came_from[step[0]]
    return tuple(reversed(labels))
