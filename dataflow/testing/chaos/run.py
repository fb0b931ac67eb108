"""One run of chaos: start, kill for a while, let be, wait until everything has arrived, count."""

from __future__ import annotations

import heapq
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from dataflow import status, warehouse, whereabouts
from dataflow.connections import resolve
from dataflow.errors import DataflowError
from dataflow.flow.load import load
from dataflow.process import ProcessId
from dataflow.store.deadletters import DeadLetters
from dataflow.store.keys import Keys
from dataflow.store.redis import Client, connect
from dataflow.testing.chaos.acts import Act, acts
from dataflow.testing.chaos.content import made
from dataflow.testing.chaos.load import Journal, Sender
from dataflow.testing.chaos.project import TABLES, UPSTREAM, Project
from dataflow.testing.chaos.tally import Id, Tally
from dataflow.testing.servers import ClickHouseServer, clickhouse_binary
from dataflow.warehouse import Warehouse

CLIENTS = 2
START_S = 120.0
CALM_S = 240.0
"""How long, after the last blow, the flow may take until every message has arrived."""
WINDOW = 20_000
"""Messages that are compared at a time."""

Tell = Callable[[str], None]


class NotDrained(Exception):
    """The flow did not come to rest; the text says what is left where."""


@dataclass(slots=True)
class Outcome:
    """What a run came to. `problems`: sentences for people; none if all is well."""

    kills: int
    tally: Tally
    problems: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        """Whether nothing was lost, doubled, changed, refused or left, and the audit agrees."""
        return self.tally.clean and not self.problems


def run(folder: Path, seed: int, duration_s: float, tell: Tell) -> Outcome:
    """Do everything. Blocks for `duration_s` and some minutes at most; main thread only; leaves nothing running.

    Args:
        folder: empty; everything stays in it, for whoever wants to see what happened.
        tell: told what is done, a line each.

    Raises RuntimeError if the flow cannot even be started.
    """
    with ExitStack() as stack:
        server = stack.enter_context(ClickHouseServer()) if clickhouse_binary() else None
        project = Project(folder, server)
        stack.callback(project.down)
        journal = Journal(folder / "accepted.jsonl")
        stack.callback(journal.close)
        project.keep_up()
        _await(lambda: project.ready, START_S, project.keep_up, f"the flow did not start, see {folder}")
        senders = [Sender(client, lambda: project.hub_url, journal) for client in range(CLIENTS)]
        stack.callback(_dismiss, senders)
        for sender in senders:
            sender.start()
        havoc = _Havoc(project, tell)
        havoc.rage(acts(seed, duration_s), duration_s)
        return _verdict(project, senders, journal, havoc.blows["kill"], tell)


class _Havoc:
    """Carries out acts, and undoes what must be undone: thaws, and starts what nobody else starts again."""

    def __init__(self, project: Project, tell: Tell) -> None:
        self._project, self._tell = project, tell
        self._begun = time.monotonic()
        self._due: list[tuple[float, int, Callable[[], object]]] = []
        self._order = 0
        self.blows: Counter[str] = Counter()

    def rage(self, planned: Iterable[Act], duration_s: float) -> None:
        """Carry out acts in time; return when all is undone."""
        for act in planned:
            self._pass_time(act.at_s)
            self._carry_out(act)
        self._pass_time(duration_s)
        while self._due:
            self._pass_time(self._due[0][0])

    def _pass_time(self, until_s: float) -> None:
        """Let time pass until then, undoing what is due."""
        while True:
            now_s = time.monotonic() - self._begun
            while self._due and self._due[0][0] <= now_s:
                heapq.heappop(self._due)[2]()
            if now_s >= until_s:
                return
            self._project.keep_up()
            time.sleep(min(0.1, until_s - now_s))

    def _carry_out(self, act: Act) -> None:
        if act.victim == "clickhouse" and self._project.clickhouse is not None:
            self._strike_server(act, self._project.clickhouse)
            return
        victim = self._project.victim(act.victim, act.pick)
        if victim is None:
            self._tell(f"{act.at_s:6.1f} s  {act.victim} does not run just now")
        elif act.what == "kill" and victim.send(signal.SIGKILL):
            self._note(act, victim.pid)
        elif act.what == "freeze" and victim.send(signal.SIGSTOP):
            self._note(act, victim.pid)
            self._later(act.for_s, lambda: victim.send(signal.SIGCONT))

    def _strike_server(self, act: Act, server: ClickHouseServer) -> None:
        if not server.running:
            self._tell(f"{act.at_s:6.1f} s  {act.victim} does not run just now")
        elif act.what == "kill":
            self._note(act, server.pid)
            server.kill()
            self._later(act.for_s, server.start)
        else:
            self._note(act, server.pid)
            frozen = ProcessId.of(server.pid)
            server.freeze()
            self._later(act.for_s, lambda: frozen is not None and frozen.send(signal.SIGCONT))

    def _note(self, act: Act, pid: int) -> None:
        self.blows[act.what] += 1
        much = f" for {act.for_s:.1f} s" if act.what == "freeze" else ""
        self._tell(f"{act.at_s:6.1f} s  {act.what} {act.victim} (pid {pid}){much}")

    def _later(self, pause_s: float, undo: Callable[[], object]) -> None:
        self._order += 1
        heapq.heappush(self._due, (time.monotonic() - self._begun + pause_s, self._order, undo))


def _verdict(project: Project, senders: Sequence[Sender], journal: Journal, kills: int, tell: Tell) -> Outcome:
    problems: list[str] = []
    tell("no more blows; waiting until everything has arrived")
    deadline = time.monotonic() + CALM_S
    for sender in senders:
        sender.leave()
    try:
        _await(lambda: project.ready, CALM_S, project.keep_up, "the processes did not all come back")
        for sender in senders:
            sender.join(max(0.0, deadline - time.monotonic()))
        problems += [f"client {one.client} was refused: {one.refusal}" for one in senders if one.refusal]
        problems += [f"client {one.client} got no answer in {CALM_S:g} s" for one in senders if one.is_alive()]
        _await_rest(project, deadline)
    except NotDrained as error:
        problems.append(str(error))
    with _Books(project) as books:
        tally = books.count(senders)
        problems += books.explain(tally, journal)
    audit = project.audit()
    if audit.returncode:
        problems.append(f"audit, exit code {audit.returncode}:\n{audit.stdout}{audit.stderr}")
    tell(audit.stdout.strip())
    return Outcome(kills, tally, problems)


def _await_rest(project: Project, deadline: float) -> None:
    """Wait until no stream holds a message. Raises NotDrained."""
    with _Books(project) as books:
        left = books.left()
        while left and time.monotonic() < deadline:
            time.sleep(0.5)
            left = books.left()
    if left:
        raise NotDrained(f"the flow did not drain in {CALM_S:g} s: {left}")


class _Books:
    """What Redis and the tables of a running flow say, as a context manager."""

    def __init__(self, project: Project) -> None:
        self._flow = load(project.flow_path)
        resolved = resolve(self._flow)
        self._clients: dict[str, Client] = {
            name: connect(resolved.redis[name]) for name in self._flow.redis_connections
        }
        self._warehouse: Warehouse = warehouse.connect(resolved.warehouse["warehouse"])

    def __enter__(self) -> _Books:
        return self

    def __exit__(self, *_: object) -> None:
        for client in self._clients.values():
            client.close()

    def left(self) -> str:
        """What has not arrived, in words; "" if all has."""
        try:
            seen = status.gather(self._flow, self._clients)
        except DataflowError as error:
            return str(error)
        waits = [f"{one.name} holds {one.depth} for {', '.join(one.held_by)}" for one in seen.streams if one.depth]
        waits += [
            f"{reader.name}: {reader.in_work} in work, {reader.coming_back} coming back, {reader.parked} parked"
            for one in seen.streams
            for reader in one.readers
            if reader.in_work or reader.coming_back or reader.parked
        ]
        if not waits:
            return ""
        return "; ".join([*waits, *(f"alarm {alarm.kind}: {alarm.text}" for alarm in seen.alarms)])

    def count(self, senders: Sequence[Sender]) -> Tally:
        """Every accepted message against the rows and the dead letters. Reads `WINDOW` messages at a time."""
        tally = Tally()
        dead = self._dead(tally)
        for sender in senders:
            for first in range(0, sender.accepted, WINDOW):
                numbers = range(first, min(first + WINDOW, sender.accepted))
                rows = self._rows(tally, sender.client, numbers.start, numbers.stop)
                tally.add(sender.client, numbers, rows, dead, UPSTREAM)
            tally.add_rest(sender.client, self._rows(tally, sender.client, sender.accepted, 1 << 62), sender.undecided)
        return tally

    def explain(self, tally: Tally, journal: Journal) -> list[str]:
        """A sentence for each message that is not where it should be, with where it is."""
        told = [f"lost: {id_} {why}; {self._where(id_, journal)}" for id_, why in tally.lost]
        told += [f"double: {id_} {why}; {self._where(id_, journal)}" for id_, why in tally.doubled]
        told += [f"foreign: {id_} {why}" for id_, why in tally.foreign]
        return [*told, *(f"changed: {id_} {why}" for id_, why in tally.changed)]

    def _dead(self, tally: Tally) -> dict[Id, set[str]]:
        """Message -> the readers that it died at; what it holds there is compared."""
        found: dict[Id, set[str]] = {}
        keys = Keys(self._flow.name)
        for stream in self._flow.streams.values():
            for reader in self._flow.readers(stream.name):
                for letter in DeadLetters(self._clients[stream.on], keys, stream.name, reader):
                    id_ = int(letter.fields["client"]), int(letter.fields["n"])
                    found.setdefault(id_, set()).add(reader)
                    tally.compare(id_, f"dead letters of {reader}", letter.fields, made(stream.name, *id_))
        return found

    def _rows(self, tally: Tally, client: int, first: int, end: int) -> Mapping[str, Mapping[int, int]]:
        """Table -> message -> number of its rows; what they hold is compared."""
        return {table: self._rows_in(table, stream, tally, client, first, end) for table, (stream, _) in TABLES.items()}

    def _rows_in(self, table: str, stream: str, tally: Tally, client: int, first: int, end: int) -> Counter[int]:
        columns = ", ".join(made(stream, client, first))
        sql = (
            f"SELECT {columns}, count() AS rows FROM {table} WHERE client = {{client:Int64}} AND n >= {{first:Int64}} "
            f"AND n < {{end:Int64}} GROUP BY {columns} LIMIT 1000000"
        )
        counts: Counter[int] = Counter()
        for row in self._warehouse.rows(sql, {"client": client, "first": first, "end": end}):
            n, count = int(row["n"]), int(row.pop("rows"))
            counts[n] += count
            tally.compare((client, n), table, row, made(stream, client, n), count)
        return counts

    def _where(self, id_: Id, journal: Journal) -> str:
        mid = journal.find(*id_)
        if mid is None:
            return "its request was not accepted"
        try:
            found = whereabouts.find(self._flow, self._clients, {"warehouse": self._warehouse}, mid)
        except DataflowError as error:
            return f"_mid {mid}, and nobody can say where it is: {error}"
        return f"_mid {mid} is {found.state}: {[f'{p.where} {p.reader} {p.mid} {p.detail}' for p in found.places]}"


def _dismiss(senders: Sequence[Sender]) -> None:
    for sender in senders:
        sender.leave()
        sender.give_up()
    for sender in senders:
        if sender.ident is not None:
            sender.join()


def _await(holds: Callable[[], bool], timeout_s: float, meanwhile: Callable[[], None], complaint: str) -> None:
    deadline = time.monotonic() + timeout_s
    while not holds():
        if time.monotonic() > deadline:
            raise NotDrained(f"{complaint} in {timeout_s:g} s")
        meanwhile()
        time.sleep(0.2)


def to_stderr(line: str) -> None:
    """Tell on stderr, at once."""
    print(line, file=sys.stderr, flush=True)
