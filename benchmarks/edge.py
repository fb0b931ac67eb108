"""Runs an edge of a flow until nothing is left, as `dataflow sync` would, and times it.

    python -m benchmarks.edge FLOW NAME [CHDB_FOLDER]

Prints JSON: {"seconds", "cpu_seconds", "written", "state", "rss_peak", "rows"}; `rows` is what `benchmarks.tables`
asks of an embedded table.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from benchmarks.tables import CHECK
from dataflow.connections import Resolved
from dataflow.flow.load import load
from dataflow.flow.spec import EMBEDDED, Flow
from dataflow.process import collect_seldom
from dataflow.run_file import WarehouseAddress
from dataflow.warehouse import ROWS_FORMAT, read_rows
from sync.edges import run_edge
from sync.servers import Servers
from sync.warehouse.chdb import ChdbWarehouse


def main(path: str, name: str, folder: str = "") -> None:
    """Run the edge."""
    flow = load(Path(path))
    warehouse = ChdbWarehouse(Path(folder)) if folder else None
    if warehouse is not None:
        warehouse.open()
    servers = Servers(_addresses(flow), warehouse)
    collect_seldom()
    begun, cpu_begun = time.perf_counter(), time.process_time()
    run = run_edge(flow, name, servers)
    seconds, cpu_seconds = time.perf_counter() - begun, time.process_time() - cpu_begun
    if run.state != "empty":
        raise SystemExit(f"the edge stopped: {run.state}: {run.error}")
    found = {
        "seconds": seconds, "cpu_seconds": cpu_seconds, "written": run.written, "state": run.state,
        "rss_peak": peak_bytes(),
    }  # fmt: skip
    if warehouse is not None:
        table = f"default.{flow.edges[name].table}"
        found["rows"] = read_rows(warehouse.execute(CHECK.format(table=table), format=ROWS_FORMAT))[0]
        warehouse.close()
    print(json.dumps(found))


def _addresses(flow: Flow) -> Resolved:
    """Where its servers are; an embedded warehouse is in this process."""
    urls = {name: connection.url for name, connection in flow.connections.items()}
    here = WarehouseAddress("127.0.0.1", 0, "")
    warehouse = {name: here if url == EMBEDDED else url for name, url in urls.items()}
    return Resolved(redis=urls, warehouse=warehouse, hub_url="")


def peak_bytes() -> int:
    """The most resident memory that this process ever had. (getrusage would count its parent's too.)"""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


if __name__ == "__main__":
    main(*sys.argv[1:])
