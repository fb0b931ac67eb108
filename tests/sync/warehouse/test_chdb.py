"""The embedded engine: what may be asked, what it costs at most, opening and closing."""

from __future__ import annotations

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Thread

import pytest

from dataflow.errors import DataflowError, ServerAway, UserError
from sync.warehouse.chdb import ChdbWarehouse, Limits
from sync.warehouse.errors import EngineError

pytestmark = pytest.mark.integration

ENDLESS = "SELECT count() FROM numbers(1000000000000) WHERE NOT ignore(rand())"


def count(warehouse: ChdbWarehouse, table: str) -> int:
    return int(warehouse.ask(f"SELECT count() FROM {table}", format="TSV"))


class TestAsking:
    @pytest.fixture(autouse=True)
    def made(self, warehouse: ChdbWarehouse) -> None:
        warehouse.execute("CREATE OR REPLACE TABLE kept (n UInt8) ENGINE = MergeTree ORDER BY n")
        warehouse.execute("INSERT INTO kept VALUES (1), (2)")

    @pytest.mark.parametrize(
        "question",
        [
            "SELECT * FROM kept",
            "WITH 1 AS x SELECT x",
            "SHOW TABLES",
            "DESCRIBE kept",
            "EXPLAIN SELECT 1",
            "(SELECT 1)",
            "EXISTS kept",
            "SELECT 1;",
            "SELECT ';'",
        ],
    )
    def test_questions_are_answered(self, question: str, warehouse: ChdbWarehouse) -> None:
        assert warehouse.ask(question)

    @pytest.mark.parametrize(
        "statement",
        [
            "INSERT INTO kept VALUES (3)",
            "DROP TABLE kept",
            "TRUNCATE TABLE kept",
            "ALTER TABLE kept DELETE WHERE 1",
            "CREATE TABLE other (n UInt8) ENGINE = Memory",
            "CREATE TEMPORARY TABLE other (n UInt8)",
            "OPTIMIZE TABLE kept FINAL",
            "KILL QUERY WHERE 1",
            "SYSTEM FLUSH LOGS",
            "SET max_execution_time = 0",
            "USE system",
            "SELECT 1 SETTINGS readonly = 0",
            "SELECT 1 SETTINGS max_execution_time = 0",
            "SELECT 1 INTO OUTFILE '%'",
            "INSERT INTO FUNCTION file('%', 'CSV', 'a UInt8') SELECT 1",
            "SELECT * FROM file('/etc/passwd', 'LineAsString')",
            "SELECT * FROM url('http://127.0.0.1:9/', 'LineAsString')",
            "SELECT * FROM executable('ls', 'CSV', 'a String')",
            "BACKUP TABLE kept TO File('%')",
        ],
    )
    def test_nothing_else_is_done(self, statement: str, warehouse: ChdbWarehouse, tmp_path: Path) -> None:
        with pytest.raises(UserError, match="only statements that read"):
            warehouse.ask(statement.replace("%", str(tmp_path / "out")))
        assert list(tmp_path.iterdir()) == []
        assert count(warehouse, "kept") == 2

    @pytest.mark.parametrize(
        ("question", "why"), [("SELECT 1; SELECT 2", "one statement"), ("", "no statement"), (" \n", "no statement")]
    )
    def test_it_must_be_one_statement(self, question: str, why: str, warehouse: ChdbWarehouse) -> None:
        with pytest.raises(UserError, match=why):
            warehouse.ask(question)

    def test_an_error_is_the_engines(self, warehouse: ChdbWarehouse) -> None:
        with pytest.raises(EngineError, match=r"Unknown expression identifier `z`.*\(UNKNOWN_IDENTIFIER\)$"):
            warehouse.ask("SELECT z FROM kept")

    def test_a_failed_question_leaves_nothing_behind(self, warehouse: ChdbWarehouse) -> None:
        with pytest.raises(UserError, match="larger"):
            warehouse.ask("SELECT number FROM numbers(1000000)", limits=Limits(result_bytes=1 << 20))
        assert warehouse.ask("SELECT 1 AS x") == b'"x"\n1\n'

    @pytest.mark.parametrize(
        "question",
        [
            "SELECT repeat('x', 100) FROM numbers(100000)",
            "SELECT toUInt8(1) AS much_shorter_in_memory FROM numbers(90000)",
        ],
    )
    def test_a_result_has_a_largest_size(self, question: str, warehouse: ChdbWarehouse) -> None:
        with pytest.raises(UserError, match=r"larger than 1 MiB.*add LIMIT"):
            warehouse.ask(question, format="JSONEachRow", limits=Limits(result_bytes=1 << 20))

    def test_memory_has_a_limit(self, warehouse: ChdbWarehouse) -> None:
        with pytest.raises(UserError, match="more than 64 MiB of memory"):
            warehouse.ask(
                "SELECT length(groupArray(number)) FROM numbers(100000000)", limits=Limits(memory_bytes=64 << 20)
            )

    def test_time_has_a_limit(self, warehouse: ChdbWarehouse) -> None:
        begun = time.monotonic()
        with pytest.raises(UserError, match=r"no answer within 0\.3 s"):
            warehouse.ask(ENDLESS, limits=Limits(timeout_s=0.3))
        assert time.monotonic() - begun < 10

    def test_threads_ask_and_write_together(self, warehouse: ChdbWarehouse) -> None:
        warehouse.execute("CREATE TABLE busy (n UInt64) ENGINE = MergeTree ORDER BY n")

        def work(n: int) -> int:
            warehouse.execute(f"INSERT INTO busy SELECT {n}")
            return count(warehouse, "busy")

        with ThreadPoolExecutor(8) as pool:
            assert max(pool.map(work, range(80))) <= 80
        assert count(warehouse, "busy") == 80


class TestInserting:
    @pytest.mark.parametrize("rows", [1, 50_000])
    def test_a_block_of_any_size_is_one_part(self, rows: int, warehouse: ChdbWarehouse) -> None:
        """50 000 rows are longer than the longest statement."""
        warehouse.execute("CREATE OR REPLACE TABLE parts (s String) ENGINE = MergeTree ORDER BY s")
        block = b"\x01" + _varint(rows) + b"\x01s\x06String" + b"".join(b"\x05%05d" % n for n in range(rows))
        warehouse.insert("parts (s)", "async_insert = 0", block)
        assert (
            warehouse.ask("SELECT count(), sum(rows) FROM system.parts WHERE table = 'parts' AND active", format="TSV")
            == b"1\t%d\n" % rows
        )

    def test_a_broken_block_is_an_error_and_writes_nothing(self, warehouse: ChdbWarehouse) -> None:
        warehouse.execute("CREATE OR REPLACE TABLE parts (s String) ENGINE = MergeTree ORDER BY s")
        with pytest.raises(EngineError):
            warehouse.insert("parts (s)", "async_insert = 0", b"\x01\x02\x01s\x06String\x05abcde")
        assert count(warehouse, "parts") == 0

    def test_no_file_stays_open(self, warehouse: ChdbWarehouse) -> None:
        warehouse.execute("CREATE OR REPLACE TABLE parts (s String) ENGINE = MergeTree ORDER BY s")

        def open_memory_files() -> int:
            return sum("memfd" in str(path.readlink()) for path in Path("/proc/self/fd").iterdir() if path.is_symlink())

        before = open_memory_files()
        for _ in range(20):
            warehouse.insert("parts (s)", "async_insert = 0", b"\x01\x01\x01s\x06String\x01a")
        assert open_memory_files() == before


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])


HEAD = """
import sys
from pathlib import Path
from sync.warehouse.chdb import ChdbWarehouse
warehouse = ChdbWarehouse(Path(sys.argv[1]))
"""


class TestOpeningAndClosing:
    """In processes of their own: one process holds one folder."""

    @staticmethod
    def run(script: str, folder: Path) -> str:
        """Run a script that may use `warehouse`, closed; its output."""
        done = subprocess.run(
            [sys.executable, "-c", HEAD + script, str(folder)], capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def test_the_engine_is_not_loaded_before_it_is_used(self, tmp_path: Path) -> None:
        assert self.run(
            "print('chdb' in sys.modules); warehouse.open(); print('chdb' in sys.modules)", tmp_path
        ).split() == ["False", "True"]

    def test_data_stay_after_closing_and_opening_again(self, tmp_path: Path) -> None:
        script = """
warehouse.open(); warehouse.open()
warehouse.execute("CREATE TABLE t (n UInt8) ENGINE = MergeTree ORDER BY n")
warehouse.execute("INSERT INTO t VALUES (7)")
warehouse.close(); warehouse.close()
warehouse.open(); print(warehouse.ask("SELECT n FROM t", format="TSV").decode())
"""
        assert self.run(script, tmp_path / "new" / "folder").strip() == "7"

    def test_another_process_is_told_who_is_in_the_way(self, tmp_path: Path) -> None:
        script = f"""
import subprocess
warehouse.open()
code = '''
from pathlib import Path
from dataflow.errors import ServerAway
from sync.warehouse.chdb import ChdbWarehouse
try: ChdbWarehouse(Path({str(tmp_path)!r})).open()
except ServerAway as error: print(error)
'''
print(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout)
"""
        assert "does another process have it open?" in self.run(script, tmp_path)

    def test_a_forked_child_is_stopped_before_it_hangs(self, tmp_path: Path) -> None:
        script = """
import os
warehouse.open()
if os.fork() == 0:
    try: warehouse.ask("SELECT 1")
    except Exception as error: print(error, flush=True)
    os._exit(0)
os.wait()
"""
        assert "does not work in a forked process" in self.run(script, tmp_path)

    def test_without_the_package_the_way_out_is_told(self, tmp_path: Path) -> None:
        script = """
sys.modules["chdb"] = None
try: warehouse.open()
except Exception as error: print(type(error).__name__, error)
"""
        said = self.run(script, tmp_path)
        assert said.startswith("ServerAway")
        assert "pip install 'dataflow-streams[embedded]'" in said

    def test_signals_are_the_applications_own(self, tmp_path: Path) -> None:
        script = """
import os, signal
warehouse.open()
signal.signal(signal.SIGTERM, lambda *_: print("TERM", flush=True))
signal.signal(signal.SIGINT, lambda *_: print("INT", flush=True))
for signum in (signal.SIGTERM, signal.SIGINT): os.kill(os.getpid(), signum)
print(warehouse.ask("SELECT 1 AS x", format="TSV").decode())
"""
        assert self.run(script, tmp_path).split() == ["TERM", "INT", "1"]


def test_a_closed_warehouse_says_so(tmp_path: Path) -> None:
    with pytest.raises(ServerAway, match="is closed"):
        ChdbWarehouse(tmp_path / "never").ask("SELECT 1")


def test_a_folder_that_the_engine_would_misread_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ServerAway, match="move the project"):
        ChdbWarehouse(tmp_path / "what?").open()
    assert list(tmp_path.iterdir()) == []


def test_closing_ends_questions_that_run(warehouse: ChdbWarehouse) -> None:
    said: list[DataflowError] = []

    def ask() -> None:
        try:
            warehouse.ask(ENDLESS)
        except DataflowError as error:
            said.append(error)

    asking = Thread(target=ask)
    asking.start()
    deadline = time.monotonic() + 10
    while b"numbers(" not in warehouse.ask("SELECT query FROM system.processes WHERE query NOT LIKE '%processes%'"):
        assert time.monotonic() < deadline
    warehouse.close(grace_s=0.2)
    asking.join(10)
    assert "cancelled" in str(said)
    warehouse.open()
    assert warehouse.ask("SELECT 1 AS x")
