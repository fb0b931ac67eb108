"""The ClickHouse sink on a real chDB: tables that are not as expected, alterations, failures, doubt."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any

import pytest

from dataflow.errors import BatchConflict, OutcomeUnknown, TargetRefused
from dataflow.flow.spec import Field
from sync.sink import Refusal, Row, Verdict
from sync.sinks.clickhouse.backend import Insert
from sync.sinks.clickhouse.embedded import EmbeddedBackend
from sync.sinks.clickhouse.sink import LEARN_EVERY_MS, TRUST_TOKEN_MS, ClickHouseSink
from sync.warehouse.chdb import ChdbWarehouse
from tests.sync.sink_contract import NOW_MS, SCHEMA, batch, rows, thawed, write
from tests.sync.sinks.edges import edge

pytestmark = pytest.mark.integration

WINDOW = "SETTINGS non_replicated_deduplication_window = 100"
Execute = Callable[[str], None]
Open = Callable[..., ClickHouseSink]


@pytest.fixture
def execute(warehouse: ChdbWarehouse, table: str) -> Execute:
    """Run statements in which `%` stands for the test's table."""

    def execute(statement: str) -> None:
        warehouse.execute(statement.replace("%", table))

    return execute


@pytest.fixture
def opened(warehouse: ChdbWarehouse, table: str) -> Open:
    """Open a sink into the test's table; its clock is `later_ms` after the batches were frozen."""

    def opened(later_ms: int = 1000, schema: Any = None, **options: Any) -> ClickHouseSink:
        sink = ClickHouseSink(
            edge(table, **options), schema, EmbeddedBackend(warehouse), now_ms=lambda: NOW_MS + later_ms
        )
        sink.open()
        sink.handshake("a1", 1)
        return sink

    return opened


@pytest.fixture
def stored(warehouse: ChdbWarehouse, table: str) -> Callable[[], list[dict[str, Any]]]:
    """All rows of the test's table, by id."""
    return lambda: EmbeddedBackend(warehouse).rows(f"SELECT * FROM {table} ORDER BY _mid", {})


def row(mid: str, **fields: str) -> Row:
    flat = [b"_mid", mid.encode(), b"_path", b"hub@1"]
    return flat + [part.encode() for pair in fields.items() for part in pair]


class TestTables:
    def test_a_missing_table_is_told_with_the_way_out(self, opened: Open, table: str) -> None:
        with pytest.raises(TargetRefused) as refused:
            opened(schema={"flow": Field("float")})
        assert f"edge 'archive': there is no table default.{table}" in str(refused.value)
        assert "create_table: true" in str(refused.value)
        assert "`dataflow ddl archive`" in str(refused.value) and "\n" not in str(refused.value)

    def test_create_table_makes_it_once(self, opened: Open, stored: Any) -> None:
        for seq in (1, 2):
            sink = opened(schema=SCHEMA, create_table=True)
            assert sink.mode == "token"
            write(sink, rows(3, f"s{seq}-"), seq=seq)
        assert len(stored()) == 6

    def test_create_table_makes_its_database(self, warehouse: ChdbWarehouse, opened: Open) -> None:
        sink = opened(schema=None, create_table=True, table="lake `x.scores")
        assert write(sink, [row("m", a="1")]) == 1
        found = EmbeddedBackend(warehouse).rows("SELECT * FROM `lake \\`x`.scores", {})
        assert found == [{"_mid": "m", "_extra": '{"a":"1"}'}]
        warehouse.execute("DROP DATABASE `lake \\`x` SYNC")

    def test_another_table_of_that_name_is_reported_and_left_as_it_is(
        self, execute: Execute, opened: Open, stored: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        execute(
            f"CREATE TABLE % (_mid String, n UInt8, own String DEFAULT 'mine') ENGINE = MergeTree ORDER BY n {WINDOW}"
        )
        with caplog.at_level(logging.WARNING):
            sink = opened(schema={"n": Field("int")}, create_table=True)
        assert [record.difference for record in caplog.records] == [  # type: ignore[attr-defined]
            "column n: UInt8, not Int64",
            "column _extra: missing, not String",
        ]
        assert write(sink, [row("m", n="5")]) == 1
        assert stored() == [{"_mid": "m", "n": 5, "own": "mine"}]

    def test_a_type_that_cannot_be_written_is_refused_at_once(self, execute: Execute, opened: Open) -> None:
        execute(f"CREATE TABLE % (_mid String, tags Array(String)) ENGINE = MergeTree ORDER BY _mid {WINDOW}")
        with pytest.raises(TargetRefused, match=r"tags Array\(String\)"):
            opened()

    @pytest.mark.parametrize(
        ("definition", "remedy"),
        [
            ("(n UInt8) ENGINE = MergeTree ORDER BY n", "MODIFY SETTING non_replicated_deduplication_window = 10000"),
            ("(_mid String, n UInt8) ENGINE = Log", "MergeTree family"),
        ],
    )
    def test_a_table_that_cannot_recognise_batches_needs_consent(
        self, definition: str, remedy: str, execute: Execute, opened: Open
    ) -> None:
        execute(f"CREATE TABLE % {definition}")
        with pytest.raises(TargetRefused) as refused:
            opened()
        assert remedy in str(refused.value)
        assert "delivery: at_least_once" in str(refused.value)
        sink = opened(delivery="at_least_once")
        assert sink.mode == "none"
        assert write(sink, [row("m", n="1")], resent=True) == 1

    def test_the_remedy_works(self, execute: Execute, opened: Open, table: str) -> None:
        execute("CREATE TABLE % (n UInt8) ENGINE = MergeTree ORDER BY n")
        with pytest.raises(TargetRefused) as refused:
            opened()
        execute(str(refused.value).split("run ")[1].split(", or")[0])
        sink = opened(columns=("n",))
        assert sink.mode == "token"
        assert write(sink, [row("m", n="1")]) == write(sink, [row("m", n="1")], resent=True) == 1

    def test_the_servers_default_window_counts(self, execute: Execute, opened: Open) -> None:
        execute("CREATE TABLE % (_mid String) ENGINE = MergeTree ORDER BY _mid SETTINGS index_granularity = 1024")
        assert opened().mode == "readback"


class TestColumns:
    def test_rows_are_refused_by_the_tables_types(self, execute: Execute, opened: Open, stored: Any) -> None:
        execute(
            f"CREATE TABLE % (_mid String, n UInt8, kind Enum8('a' = 1), day Nullable(Date)) "
            f"ENGINE = MergeTree ORDER BY n {WINDOW}"
        )
        sink = opened()
        content = [
            row("good", n="255", kind="a", day="2026-01-31"),
            row("large", n="300", kind="a", day="2026-01-31"),
            row("kind", n="1", kind="b", day="2026-01-31"),
            row("day", n="1", kind="a", day="1969-01-01"),
            row("gap", n="1", day="2026-01-31"),
            row("more", n="1", kind="a", day="2026-01-31", z="1"),
            row("null", n="1", kind="a"),
        ]
        prepared = sink.prepare(content, None)
        assert prepared.verdict.refused == {
            1: Refusal("n", "UInt8", "'300' is out of range: 0 ... 255"),
            2: Refusal("kind", "Enum8('a' = 1)", "'b' is none of 'a'"),
            3: Refusal("day", "Nullable(Date)", "'1969-01-01' is out of range: 1970-01-01 ... 2149-06-06"),
            4: Refusal("kind", "Enum8('a' = 1)", "the field is missing, and the column has no DEFAULT"),
            5: Refusal("z", "", "the table has no column of that name that can be written"),
        }
        assert sink.write(batch(content), prepared) == 2
        assert stored() == [
            {"_mid": "good", "n": 255, "kind": "a", "day": "2026-01-31"},
            {"_mid": "null", "n": 1, "kind": "a", "day": None},
        ]

    def test_defaults_of_the_table_stand_in_for_missing_fields(
        self, execute: Execute, opened: Open, stored: Any
    ) -> None:
        execute(
            "CREATE TABLE % (_mid String, a UInt8 DEFAULT 7, b UInt16 DEFAULT a + 1, c UInt32 MATERIALIZED a * 2) "
            f"ENGINE = MergeTree ORDER BY _mid {WINDOW}"
        )
        sink = opened()
        content = [row("m0", a="1", b="2"), row("m1", a="3"), row("m2"), row("m3", b="9"), row("m4", a="5", b="6")]
        assert write(sink, content) == 5
        assert write(sink, content, resent=True) == 5
        assert [(found["_mid"], found["a"], found["b"]) for found in stored()] == [
            ("m0", 1, 2), ("m1", 3, 4), ("m2", 7, 8), ("m3", 7, 9), ("m4", 5, 6),
        ]  # fmt: skip

    def test_columns_of_the_edge_are_all_that_is_written(self, execute: Execute, opened: Open, stored: Any) -> None:
        execute(f"CREATE TABLE % (_mid String, a UInt8, b UInt8, _extra String) ENGINE = MergeTree ORDER BY a {WINDOW}")
        assert write(opened(columns=("a",)), [row("m", a="1", b="x", z="3")]) == 1
        assert stored() == [{"_mid": "m", "a": 1, "b": 0, "_extra": ""}]

    def test_odd_names_are_quoted(self, execute: Execute, opened: Open, stored: Any) -> None:
        execute(f"CREATE TABLE % (_mid String, `a\\`b) x` UInt8, `ü` UInt8) ENGINE = MergeTree ORDER BY _mid {WINDOW}")
        assert write(opened(), [row("m", **{"a`b) x": "1", "ü": "2"})]) == 1
        assert stored() == [{"_mid": "m", "a`b) x": 1, "ü": 2}]

    def test_our_own_fields_go_to_columns_of_their_name(self, execute: Execute, opened: Open, stored: Any) -> None:
        execute(f"CREATE TABLE % (_mid String, _path String) ENGINE = MergeTree ORDER BY _mid {WINDOW}")
        write(opened(), [row("m")])
        assert stored() == [{"_mid": "m", "_path": "hub@1"}]


class TestAlterations:
    @pytest.fixture
    def sink(self, execute: Execute, opened: Open) -> ClickHouseSink:
        execute(f"CREATE TABLE % (_mid String, n UInt8) ENGINE = MergeTree ORDER BY _mid {WINDOW}")
        return opened()

    def test_a_new_column_changes_nothing_for_a_frozen_batch(
        self, sink: ClickHouseSink, execute: Execute, stored: Any
    ) -> None:
        content = [row("m", n="1")]
        prepared = sink.prepare(content, None)
        execute("ALTER TABLE % ADD COLUMN more String DEFAULT 'x'")
        assert sink.write(batch(content), prepared) == 1
        assert stored() == [{"_mid": "m", "n": 1, "more": "x"}]

    def test_a_changed_type_hands_a_fresh_batch_back(self, sink: ClickHouseSink, execute: Execute, stored: Any) -> None:
        content = [row("m0", n="1"), row("m1", n="2")]
        prepared = sink.prepare(content, None)
        execute("ALTER TABLE % MODIFY COLUMN n Int64")
        with pytest.raises(BatchConflict) as conflict:
            sink.write(batch(content, seq=5), prepared)
        assert conflict.value.applied_ids == []
        assert conflict.value.last_seq == 5
        assert stored() == []
        assert write(sink, content, seq=6) == 2
        assert [found["n"] for found in stored()] == [1, 2]

    def test_a_batch_that_had_arrived_before_the_change_is_settled(
        self, sink: ClickHouseSink, execute: Execute, opened: Open, stored: Any
    ) -> None:
        content = [row("m0", n="1"), row("m1", n="2")]
        prepared = sink.prepare(content, None)
        sink.write(batch(content), prepared)
        execute("ALTER TABLE % MODIFY COLUMN n Int64")
        other = opened()
        assert other.write(batch(content, resent=True), thawed(other, content, prepared)) == 2
        assert len(stored()) == 2

    def test_a_batch_in_doubt_is_handed_back_with_what_had_arrived(
        self, sink: ClickHouseSink, execute: Execute, opened: Open, warehouse: ChdbWarehouse, table: str
    ) -> None:
        content = [row("m0", n="1"), row("m1", n="2"), row("m2", n="3")]
        prepared = sink.prepare(content, None)
        execute("INSERT INTO % VALUES ('m1', 2)")
        execute("ALTER TABLE % MODIFY COLUMN n Int64")
        other = opened()
        with pytest.raises(BatchConflict) as conflict:
            other.write(batch(content, resent=True), thawed(other, content, prepared))
        assert conflict.value.applied_ids == [batch(content).ids[1]]

    def test_without_ids_a_batch_in_doubt_waits_for_a_person(self, execute: Execute, opened: Open) -> None:
        execute(f"CREATE OR REPLACE TABLE % (n UInt8) ENGINE = MergeTree ORDER BY n {WINDOW}")
        sink = opened(columns=("n",))
        content = [row("m0", n="1")]
        prepared = sink.prepare(content, None)
        execute("ALTER TABLE % ADD COLUMN m Int8")
        execute("CREATE OR REPLACE TABLE % (n Int64) ENGINE = MergeTree ORDER BY n " + WINDOW)
        with pytest.raises(OutcomeUnknown, match="was altered while a batch was in doubt"):
            sink.write(batch(content, resent=True), prepared)

    def test_a_dropped_table_is_told(self, sink: ClickHouseSink, execute: Execute) -> None:
        prepared = sink.prepare([row("m", n="1")], None)
        execute("DROP TABLE % SYNC")
        with pytest.raises(TargetRefused, match="is gone"):
            sink.write(batch([row("m", n="1")]), prepared)

    def test_types_are_never_converted_behind_our_back(
        self, sink: ClickHouseSink, execute: Execute, stored: Any
    ) -> None:
        """A number that fitted the old column must not wrap in the new one."""
        content = [row("m", n="200")]
        prepared = sink.prepare(content, None)
        execute("ALTER TABLE % MODIFY COLUMN n Int8")
        with pytest.raises(BatchConflict):
            sink.write(batch(content), prepared)
        assert stored() == []
        assert sink.prepare(content, None).verdict.refused[0].type == "Int8"

    def test_new_columns_are_found_while_the_edge_runs(
        self, execute: Execute, warehouse: ChdbWarehouse, table: str, stored: Any
    ) -> None:
        execute(f"CREATE TABLE % (_mid String, _extra String) ENGINE = MergeTree ORDER BY _mid {WINDOW}")
        clock = [NOW_MS]
        sink = ClickHouseSink(edge(table), None, EmbeddedBackend(warehouse), now_ms=lambda: clock[0])
        sink.open()
        execute("ALTER TABLE % ADD COLUMN n UInt8 DEFAULT 9")
        write(sink, [row("m0", n="1")], seq=1)
        clock[0] += LEARN_EVERY_MS
        write(sink, [row("m1", n="2")], seq=2)
        write(sink, [row("m2", n="3")], seq=3)
        assert [(found["_mid"], found["n"], found["_extra"]) for found in stored()] == [
            ("m0", 9, '{"n":"1"}'), ("m1", 9, '{"n":"2"}'), ("m2", 3, "{}"),
        ]  # fmt: skip


class TestFailures:
    def test_a_constraint_refuses_the_batch_before_anything_is_written(
        self, execute: Execute, opened: Open, stored: Any
    ) -> None:
        execute(
            "CREATE TABLE % (_mid String, n UInt8, CONSTRAINT low CHECK n < 100) "
            f"ENGINE = MergeTree ORDER BY n {WINDOW}"
        )
        sink = opened()
        with pytest.raises(TargetRefused, match="Constraint `low`"):
            write(sink, [row("m0", n="1"), row("m1", n="200")])
        assert stored() == []

    def test_too_many_partitions_refuse_the_batch(self, execute: Execute, opened: Open, stored: Any) -> None:
        execute(f"CREATE TABLE % (_mid String, n UInt8) ENGINE = MergeTree PARTITION BY n ORDER BY n {WINDOW}")
        with pytest.raises(TargetRefused, match="Too many partitions"):
            write(opened(), [row(f"m{n}", n=str(n)) for n in range(200)])
        assert stored() == []

    @pytest.mark.parametrize(
        ("select", "target", "error"),
        [
            ("throwIf(n = 7)::UInt8 AS x", "(x UInt8)", "throwIf"),
            ("n AS x", "(x UInt8, CONSTRAINT low CHECK x != 7)", "Constraint `low`"),
        ],
    )
    def test_a_failing_view_leaves_the_outcome_unknown_and_the_rows_single(
        self, select: str, target: str, error: str, execute: Execute, opened: Open, stored: Any
    ) -> None:
        execute(f"CREATE TABLE % (_mid String, n UInt8) ENGINE = MergeTree ORDER BY n {WINDOW}")
        execute(f"CREATE TABLE %_to {target} ENGINE = MergeTree ORDER BY x")
        execute(f"CREATE MATERIALIZED VIEW %_mv TO %_to AS SELECT {select} FROM %")
        sink = opened()
        content = [row("m0", n="7"), row("m1", n="8")]
        for resent in (False, True, True):
            with pytest.raises(OutcomeUnknown, match=error):
                write(sink, content, resent=resent)
        execute("DROP TABLE %_mv SYNC")
        execute("DROP TABLE %_to SYNC")
        assert write(sink, content, resent=True) == 2
        assert [found["_mid"] for found in stored()] == ["m0", "m1"]

    @pytest.mark.parametrize(("window", "in_view"), [(100, 2), (0, 0)], ids=["token", "readback"])
    def test_a_view_that_is_mended_gets_its_rows_where_the_table_remembers_blocks(
        self, window: int, in_view: int, execute: Execute, opened: Open, warehouse: ChdbWarehouse, table: str
    ) -> None:
        remember = f"SETTINGS non_replicated_deduplication_window = {window}"
        execute(f"CREATE TABLE % (_mid String, n UInt8) ENGINE = MergeTree ORDER BY n {remember}")
        execute("CREATE TABLE %_to (x UInt8, CONSTRAINT low CHECK x != 7) ENGINE = MergeTree ORDER BY x")
        execute("CREATE MATERIALIZED VIEW %_mv TO %_to AS SELECT n AS x FROM %")
        content = [row("m0", n="7"), row("m1", n="8")]
        sink = opened()
        with pytest.raises(OutcomeUnknown, match="Constraint `low`"):
            write(sink, content)
        execute("ALTER TABLE %_to DROP CONSTRAINT low")
        assert write(sink, content, resent=True) == 2
        assert warehouse.ask(f"SELECT count() FROM {table}", format="TSV") == b"2\n"
        assert warehouse.ask(f"SELECT count() FROM {table}_to", format="TSV") == b"%d\n" % in_view
        execute("DROP TABLE %_mv SYNC")
        execute("DROP TABLE %_to SYNC")

    def test_a_verdict_that_other_rules_made_is_refused(self, execute: Execute, opened: Open) -> None:
        execute(f"CREATE TABLE % (_mid String, n UInt8) ENGINE = MergeTree ORDER BY n {WINDOW}")
        sink = opened()
        content = [row("m0", n="300")]
        taken_once = Verdict(extra=sink.prepare(content, None).verdict.extra)
        with pytest.raises(TargetRefused, match="another version"):
            sink.prepare(content, taken_once)

    def test_using_it_before_open_is_a_mistake(self, warehouse: ChdbWarehouse) -> None:
        with pytest.raises(RuntimeError, match="call open"):
            _ = ClickHouseSink(edge("t"), None, EmbeddedBackend(warehouse)).mode
        with pytest.raises(ValueError, match="names no table"):
            ClickHouseSink(edge("t", table=None), None, EmbeddedBackend(warehouse))


class TestDoubt:
    """A batch that may have arrived, in part or whole, or may be forgotten by the table."""

    @pytest.fixture
    def content(self) -> list[Row]:
        return [row(f"m{n}", n=str(n)) for n in range(10)]

    @pytest.fixture(autouse=True)
    def made(self, execute: Execute) -> None:
        execute(
            "CREATE TABLE % (_mid String, n UInt8) ENGINE = MergeTree ORDER BY n "
            "SETTINGS non_replicated_deduplication_window = 2"
        )

    def forgotten(self, sink: ClickHouseSink) -> None:
        """Push every earlier token out of the table's memory."""
        for seq in range(100, 105):
            write(sink, [row(f"later{seq}", n="1")], seq=seq, lineage="z9")

    def test_for_ten_minutes_the_token_is_trusted(self, opened: Open, content: list[Row], stored: Any) -> None:
        write(opened(), content)
        write(opened(later_ms=TRUST_TOKEN_MS - 1), content, resent=True)
        assert len(stored()) == 10

    @pytest.mark.parametrize(
        "later_ms", [TRUST_TOKEN_MS, -TRUST_TOKEN_MS], ids=["later", "after the clock was set back"]
    )
    def test_after_ten_minutes_the_table_is_asked(
        self, opened: Open, content: list[Row], stored: Any, later_ms: int
    ) -> None:
        sink = opened()
        write(sink, content)
        self.forgotten(sink)
        write(opened(later_ms=later_ms), content, resent=True)
        assert len(stored()) == 15

    def test_rows_that_the_source_has_forgotten_are_found_under_another_identity(
        self, opened: Open, content: list[Row], stored: Any
    ) -> None:
        write(opened(), content)
        assert write(opened(), content[3:7], seq=2, in_doubt=True) == 4
        assert len(stored()) == 10

    def test_the_missing_rows_are_sent_though_the_token_of_the_whole_is_known(
        self, execute: Execute, opened: Open, content: list[Row], stored: Any
    ) -> None:
        write(opened(), content)
        execute("DELETE FROM % WHERE n % 2 = 0".replace("n %", "n MOD"))
        late = opened(later_ms=TRUST_TOKEN_MS)
        assert write(late, content, resent=True) == 10
        assert write(late, content, resent=True) == 10
        assert [found["_mid"] for found in stored()] == [f"m{n}" for n in range(10)]

    @pytest.mark.parametrize("partitions", ["", "PARTITION BY n MOD 2"])
    def test_a_token_that_was_noted_without_its_rows_is_not_believed(
        self,
        partitions: str,
        execute: Execute,
        opened: Open,
        content: list[Row],
        stored: Any,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        """Some of the rows are gone, and the tokens of their parts are not: so it is after a kill between the two."""
        execute(f"CREATE OR REPLACE TABLE % (_mid String, n UInt8) ENGINE = MergeTree {partitions} ORDER BY n {WINDOW}")
        write(opened(), content)
        execute("ALTER TABLE % DELETE WHERE n MOD 2 = 0 SETTINGS mutations_sync = 2")
        with caplog.at_level(logging.WARNING):
            assert write(opened(), content, resent=True) == 10
        assert [record.rows for record in caplog.records] == [5]  # type: ignore[attr-defined]
        assert "not all of its rows were there" in caplog.text
        assert write(opened(), content, resent=True) == 10
        assert [found["_mid"] for found in stored()] == [f"m{n}" for n in range(10)]

    def test_rows_that_a_table_has_merged_into_others_are_not_taken_for_lost(
        self, execute: Execute, opened: Open, stored: Any
    ) -> None:
        execute(f"CREATE OR REPLACE TABLE % (_mid String, n UInt8) ENGINE = ReplacingMergeTree ORDER BY n {WINDOW}")
        content = [row("old", n="1"), row("new", n="1")]
        for resent in (False, True):
            assert write(opened(), content, resent=resent) == 2
        execute("OPTIMIZE TABLE % FINAL")
        assert stored() == [{"_mid": "new", "n": 1}]

    def test_without_ids_the_token_is_all_there_is(
        self,
        execute: Execute,
        opened: Open,
        content: list[Row],
        warehouse: ChdbWarehouse,
        table: str,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        execute(f"CREATE OR REPLACE TABLE % (n UInt8) ENGINE = MergeTree ORDER BY n {WINDOW}")
        sink = opened(columns=("n",))
        write(sink, content)
        with caplog.at_level(logging.WARNING):
            write(sink, content, resent=True)
        assert "by its token alone" in caplog.text
        assert EmbeddedBackend(warehouse).rows(f"SELECT count() AS n FROM {table}", {}) == [{"n": 10}]

    def test_an_honest_repeat_is_no_duplicate(
        self, execute: Execute, opened: Open, warehouse: ChdbWarehouse, table: str
    ) -> None:
        """Equal rows without ids are told apart by the identities of their batches alone."""
        execute(f"CREATE OR REPLACE TABLE % (n UInt8) ENGINE = MergeTree ORDER BY n {WINDOW}")
        sink = opened(columns=("n",))
        for seq in (1, 1, 2, 2):
            write(sink, [row("m", n="1")], seq=seq)
        assert warehouse.ask(f"SELECT count() FROM {table}", format="TSV") == b"2\n"

    @pytest.mark.parametrize("there", [[], [3], [0, 9], list(range(10))])
    def test_reading_back_sends_exactly_what_is_missing(
        self, there: list[int], execute: Execute, opened: Open, content: list[Row], stored: Any
    ) -> None:
        execute("ALTER TABLE % MODIFY SETTING non_replicated_deduplication_window = 0")
        for n in there:
            execute(f"INSERT INTO % VALUES ('m{n}', {n})")
        sink = opened()
        assert sink.mode == "readback"
        assert write(sink, content, resent=True) == 10
        assert [found["_mid"] for found in stored()] == [f"m{n}" for n in range(10)]

    def test_ids_of_any_bytes_are_found_again(self, warehouse: ChdbWarehouse, table: str) -> None:
        backend = EmbeddedBackend(warehouse)
        mids = [b"a,b", b"'", b"\\", b"\xff\0\n\t", "ü".encode(), b""] + [b"%d" % n for n in range(12_000)]
        name = ClickHouseSink(edge(table), None, backend)._name
        backend.insert(Insert(name, [("_mid", "String"), ("n", "UInt8")], [mids, [0] * len(mids)], "id", False))
        assert backend.present(name, [*mids, b"x", b"a", b"b"]) == set(mids)


def test_a_verdict_is_small_and_plain(opened: Open, execute: Execute) -> None:
    execute(f"CREATE TABLE % (_mid String, n UInt8 DEFAULT 3) ENGINE = MergeTree ORDER BY n {WINDOW}")
    verdict = opened().prepare([row("m", n="1")], None).verdict
    assert json.loads(verdict.to_json())["extra"] == {
        "columns": [["_mid", "String", 0], ["n", "UInt8", 1]],
        "rest": "refuse",
        "window": 100,
    }
