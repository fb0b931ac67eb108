"""The sink of `s2ch` edges: one INSERT per batch, and each row once.

How a batch that was applied before is recognised (`mode`):

| mode | where | how |
|---|---|---|
| token | the table remembers blocks (22.2 and later) | the server drops a block whose token it knows |
| readback | a MergeTree with a `_mid` column | before a batch is sent again, its ids are looked up; the rest is sent |
| none | any other table, if the edge says `delivery: at_least_once` | not at all |

A MergeTree notes a token just before it puts the rows in place: one that was killed in between drops a block that it
does not have. So what was sent again by its token is looked up afterwards, and what is missing is inserted without one.
A batch in doubt for ten minutes is looked up before, too: the table forgets blocks. So are messages that are older than
the last start of the source's server: it may have forgotten that it sent them. Both need a `_mid`.
A batch is one INSERT, and as such all or nothing (per partition). Only where messages lack fields whose columns have
a DEFAULT is it several, each with a token of its own; after an interruption the rest follows with the next attempt.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Collection, Sequence
from typing import NoReturn

from dataflow.errors import BatchConflict, OutcomeUnknown, RowsRefused, TargetRefused
from dataflow.flow.spec import Edge, Schema
from sync.sink import Batch, Marker, Mode, Prepared, Row, Verdict
from sync.sinks.clickhouse import ddl
from sync.sinks.clickhouse.backend import Backend, Insert, InsertFailed
from sync.sinks.clickhouse.plan import Plan, make_plan
from sync.sinks.clickhouse.table import Table, TableName, read_table
from sync.sinks.clickhouse.typing import Block, Typed, type_rows

_log = logging.getLogger(__name__)

TRUST_TOKEN_MS = 600_000
"""For how long a table is taken to remember the token of a batch in doubt."""

LEARN_EVERY_MS = 5000
"""How old the description of a table may be when a batch is written. New columns are found this fast."""

_DATABASE = "SELECT name FROM system.databases WHERE name = {database:String}"

_BEFORE_ANY_WRITE = frozenset({6, 16, 27, 53, 60, 62, 70, 72, 81, 115, 117, 164, 242, 252, 349, 469, 497})
"""What a table without views raises before it writes: parse, type, null, name, access, constraint, partitions."""

_FOR_A_ROW = frozenset({6, 27, 38, 41, 69, 72, 131, 153, 349, 395, 469, 691})
"""What it raises before it writes because of a value: parse, range, size, division, null, throwIf, constraint, enum.

Values were typed before; what is left are constraints, and expressions of the table's own columns."""


class ClickHouseSink:
    """Writes the batches of one edge into one table. See `sync.sink.Sink`.

    Args:
        edge: kind s2ch.
        schema: of the edge's source stream, for `create_table`.
        backend: opened and closed by the sink.
        now_ms: the clock that frozen batches are stamped with.
    """

    def __init__(
        self,
        edge: Edge,
        schema: Schema | None,
        backend: Backend,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        if edge.table is None:
            raise ValueError(f"edge {edge.name!r} is no s2ch edge: it names no table")
        self._edge = edge
        self._schema = schema
        self._backend = backend
        self._now_ms = now_ms
        self._name = TableName.read(edge.table, backend.database)
        self._table: Table | None = None
        self._plan: Plan | None = None
        self._learned_ms = 0
        self._last_sent = ""

    @property
    def mode(self) -> Mode:
        """How duplicates are recognised."""
        return self._opened()[0].mode

    def open(self) -> None:
        """Connect, make the table if the edge says so, learn its columns. Raises ServerAway, TargetRefused."""
        self._backend.open()
        if self._edge.create_table:
            self._create()
        self._learn()
        if self._edge.create_table:
            self._report_differences()

    def handshake(self, lineage: str, epoch: int) -> Marker | None:
        """Fence older runners. A table keeps no marker: always None. Raises Fenced, ServerAway."""
        self._backend.fence(lineage, epoch)
        return None

    def prepare(self, rows: Sequence[Row], verdict: Verdict | None) -> Prepared:
        """Type rows against the table, or repeat that from a verdict, whatever the table is like by now."""
        if verdict is None:
            plan = self._opened()[1]
            typed = type_rows(rows, plan)
            extra = {**plan.to_json(), "window": self._opened()[0].window}
            return Prepared(Verdict(refused=typed.refused, extra=extra), typed)
        typed = type_rows(rows, Plan.from_json(verdict.extra), verdict.skip | verdict.refused.keys())
        if typed.refused:
            raise TargetRefused(
                f"edge {self._edge.name!r}: the open batch was typed by another version of dataflow, which took rows "
                "that this one refuses: settle it with that version"
            )
        return Prepared(verdict, typed)

    def write(self, batch: Batch, prepared: Prepared) -> int:
        """Insert a batch and return how many rows it has in the table.

        Raises:
            ServerAway, TargetRefused: nothing was written.
            Fenced: an older runner; nothing was written.
            BatchConflict: the table was altered since the batch was frozen; carries the entries that are in it.
            OutcomeUnknown: send the same batch again.
        """
        typed: Typed = prepared.payload
        again = batch.resent or batch.in_doubt or batch.token == self._last_sent
        table = self._learn() if again else self._recent_table()
        with self._backend.turn(self._name, batch.lineage, batch.epoch, batch.nonce):
            self._last_sent = batch.token
            try:
                self._send(batch, typed, table, again, prepared.verdict.extra.get("window"))
            except InsertFailed as error:
                self._account_for(error, batch, prepared, again)
        return typed.size

    def close(self) -> None:
        """Let go of the back end. Safe to call twice."""
        self._backend.close()

    def _create(self) -> None:
        """Make what is not there: a user who may not make tables can use one that is."""
        if read_table(self._backend, self._name) is None:
            version = self._backend.version()
            if not self._backend.rows(_DATABASE, {"database": self._name.database}):
                self._backend.execute(ddl.create_database(self._name))
            self._backend.execute(ddl.create_table(self._name, self._schema, version, self._edge.columns))
            for loss in ddl.losses(self._schema, version, self._edge.columns):
                _log.warning(
                    "the server is too old for a type that the stream's schema needs",
                    extra={"edge": self._edge.name, "table": str(self._name), "loss": loss},
                )

    def _send(self, batch: Batch, typed: Typed, table: Table, again: bool, window: int | None) -> None:
        blocks: Sequence[Block] = typed.blocks
        tokens = _tokens(batch.token, blocks)
        by_token = table.mode == "token"
        look = again and self._can_look(batch, table, blocks)
        if look and self._must_look(batch, table, window):
            blocks, tokens = self._missing(blocks, tokens)
        self._insert(blocks, tokens, by_token)
        if look and by_token and table.is_plain:
            self._insert_dropped(batch, blocks, tokens)

    def _insert(self, blocks: Sequence[Block], tokens: Sequence[str], by_token: bool) -> None:
        for block, token in zip(blocks, tokens, strict=True):
            if block.rows:
                self._backend.insert(Insert(self._name, block.columns, block.values, token, by_token))

    def _insert_dropped(self, batch: Batch, blocks: Sequence[Block], tokens: Sequence[str]) -> None:
        """Insert what the server dropped by its token and does not have: it was killed before it had the rows."""
        blocks, tokens = self._missing(blocks, tokens)
        dropped = sum(len(block.rows) for block in blocks)
        if dropped:
            _log.warning(
                "the table knew a batch by its token, but not all of its rows were there: they are inserted",
                extra={"edge": self._edge.name, "table": str(self._name), "batch": batch.token, "rows": dropped},
            )
        self._insert(blocks, tokens, by_token=False)

    def _missing(self, blocks: Sequence[Block], tokens: Sequence[str]) -> tuple[list[Block], list[str]]:
        """What the table lacks of blocks, under names of its own."""
        there = self._present(blocks)
        rest = [block.without(there) for block in blocks]
        return rest, [_token_of_rest(token, block) for token, block in zip(tokens, rest, strict=True)]

    def _can_look(self, batch: Batch, table: Table, blocks: Sequence[Block]) -> bool:
        """Whether the rows of a batch can be found in the table. If not, all that it is known by is its token."""
        if table.mode == "none":
            return False
        if all(block.mids for block in blocks):
            return True
        _log.warning(
            "a batch in doubt is sent by its token alone: the table has no `_mid` to look it up by",
            extra={"edge": self._edge.name, "table": str(self._name), "batch": batch.token},
        )
        return False

    def _must_look(self, batch: Batch, table: Table, window: int | None) -> bool:
        """Whether a batch is to be looked up before it is sent again: the table may have forgotten its token.

        Args:
            window: how many blocks the table remembered when the batch was frozen; None if that is not known.
        """
        age_ms = abs(self._now_ms() - batch.frozen_ms)  # of a clock that was set back since nothing is known
        return table.mode != "token" or age_ms >= TRUST_TOKEN_MS or window != table.window or batch.in_doubt

    def _present(self, blocks: Sequence[Block]) -> set[bytes]:
        return self._backend.present(self._name, {mid for block in blocks for mid in block.mids})

    def _account_for(self, error: InsertFailed, batch: Batch, prepared: Prepared, again: bool) -> None:
        """An INSERT failed: find out what that means for the batch. Returns if all of it is in the table."""
        table = read_table(self._backend, self._name)
        if table is None:
            raise TargetRefused(f"edge {self._edge.name!r}: table {self._name} is gone ({error})") from error
        if not Plan.from_json(prepared.verdict.extra).fits(table):
            return self._reconcile(error, batch, prepared.payload, again)
        if error.code in _BEFORE_ANY_WRITE | _FOR_A_ROW and not table.feeds:
            self._refuse(error, batch, prepared.payload, table)
        raise OutcomeUnknown(f"edge {self._edge.name!r}: the INSERT into {self._name} failed: {error}") from error

    def _refuse(self, error: InsertFailed, batch: Batch, typed: Typed, table: Table) -> NoReturn:
        """The table takes nothing; or it does not take some row, and the batch may be tried in parts.

        What a part of it finds there already was sent under the identity of the whole, so that is looked up first.
        """
        text = f"edge {self._edge.name!r}: table {self._name} refuses the batch: {error}"
        if error.code not in _FOR_A_ROW or not (table.mode == "none" or all(block.mids for block in typed.blocks)):
            raise TargetRefused(text) from error
        raise RowsRefused(text, [] if table.mode == "none" else self._applied(batch, typed)) from error

    def _reconcile(self, error: InsertFailed, batch: Batch, typed: Typed, again: bool) -> None:
        """The table was altered under a frozen batch: settle what is in it, let the rest be frozen anew."""
        table = self._learn()
        if again and not (table.has_mid and all(block.mids for block in typed.blocks)):
            raise OutcomeUnknown(
                f"edge {self._edge.name!r}: table {self._name} was altered while a batch was in doubt, and has no "
                f"`_mid` to look it up by: undo the change until the batch is settled ({error})"
            ) from error
        applied = self._applied(batch, typed) if again else []
        if len(applied) < typed.size:
            raise BatchConflict(
                f"edge {self._edge.name!r}: table {self._name} was altered since the batch was frozen",
                applied,
                batch.seq,
            ) from error

    def _applied(self, batch: Batch, typed: Typed) -> list[bytes]:
        """The entries of a batch whose rows are in the table."""
        there = self._present(typed.blocks)
        pairs = [pair for block in typed.blocks for pair in zip(block.rows, block.mids, strict=False)]
        return [batch.ids[row] for row, mid in pairs if mid in there]

    def _learn(self) -> Table:
        table = read_table(self._backend, self._name)
        if table is None:
            raise TargetRefused(
                f"edge {self._edge.name!r}: there is no table {self._name}: set `create_table: true`, or make it "
                f"(`dataflow ddl {self._edge.name}` prints the statements)"
            )
        self._check_mode(table)
        self._table, self._plan = table, make_plan(table, self._edge.columns)
        self._learned_ms = self._now_ms()
        return table

    def _recent_table(self) -> Table:
        table, _ = self._opened()
        return self._learn() if abs(self._now_ms() - self._learned_ms) >= LEARN_EVERY_MS else table

    def _check_mode(self, table: Table) -> None:
        if table.mode == "none" and self._edge.delivery != "at_least_once":
            raise TargetRefused(
                f"edge {self._edge.name!r}: table {self._name} ({table.engine}) cannot recognise a batch that is sent "
                f"again; {_remedy(table)}, or set `delivery: at_least_once`"
            )

    def _report_differences(self) -> None:
        table, _ = self._opened()
        for difference in ddl.differences(table, self._schema, self._edge.columns):
            _log.warning(
                "the table is not as the stream's schema would make it",
                extra={"edge": self._edge.name, "table": str(self._name), "difference": difference},
            )

    def _opened(self) -> tuple[Table, Plan]:
        if self._table is None or self._plan is None:
            raise RuntimeError("the sink is not open: call open()")
        return self._table, self._plan


def _tokens(token: str, blocks: Collection[Block]) -> list[str]:
    return [token] if len(blocks) == 1 else [f"{token}.{n}" for n in range(len(blocks))]


def _token_of_rest(token: str, block: Block) -> str:
    """Part of a block is another block: under the whole one's token the server might drop it."""
    rest = hashlib.blake2b(b"\0".join(block.mids), digest_size=8).hexdigest()
    return f"{token}-rest-{rest}"


def _remedy(table: Table) -> str:
    if not table.keeps_rows:
        return "use a table of the MergeTree family"
    return f"run {ddl.recognise(table.name, table.version)}"
