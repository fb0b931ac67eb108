"""A process that writes batch after batch until it is killed: `python -m ... <folder> <first seq> <epoch> <window>`.

Says `<seq>` on stdout just before it sends batch `seq`. The first batch counts as sent before.
"""

from __future__ import annotations

import sys
from itertools import count
from pathlib import Path

from sync.sinks.clickhouse import ddl
from sync.sinks.clickhouse.embedded import EmbeddedBackend
from sync.sinks.clickhouse.sink import ClickHouseSink
from sync.sinks.clickhouse.table import TableName
from sync.warehouse.chdb import ChdbWarehouse
from tests.sync.sink_contract import NOW_MS, SCHEMA, batch, rows
from tests.sync.sinks.edges import edge

ROWS = 2000


def main(folder: str, first: str, epoch: str, window: str) -> None:
    """Write for ever."""
    warehouse = ChdbWarehouse(Path(folder))
    warehouse.open()
    statement = ddl.create_table(TableName.read("t"), SCHEMA)
    warehouse.execute(statement.replace(f"window = {ddl.WINDOW}", f"window = {window}"))
    sink = ClickHouseSink(edge("t"), SCHEMA, EmbeddedBackend(warehouse), now_ms=lambda: NOW_MS)
    sink.open()
    sink.handshake("a1", int(epoch))
    for seq in count(int(first)):
        content = rows(ROWS, f"s{seq}-")
        prepared = sink.prepare(content, None)
        print(seq, flush=True)
        sink.write(batch(content, seq=seq, epoch=int(epoch), resent=seq == int(first)), prepared)


if __name__ == "__main__":
    main(*sys.argv[1:])
