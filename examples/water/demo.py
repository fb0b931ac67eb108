"""Runs the whole flow on real readings and shows what came of it: `make demo`.

Starts the flow beside this file, posts the 1,268 hourly readings of a real pipe over HTTP, waits until all of them
are in the warehouse, prints the strongest anomalies, draws the series, and checks that each reading arrived once.
If the flow is running already (`make up`), it is used and left running.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from rich.console import Console
from rich.progress import track
from rich.table import Table

from dataflow import warehouse
from dataflow.client import Hub
from dataflow.connections import NotRunning, resolve
from dataflow.flow.load import load
from dataflow.store.deadletters import DeadLetters
from dataflow.store.keys import Keys
from dataflow.store.redis import connect

HERE = Path(__file__).resolve().parent
FLOW = HERE / "flow.yml"
PICTURE = HERE / "anomalies.png"
ARRIVAL_DEADLINE_S = 60.0

say = Console(highlight=False)


def main() -> int:
    """Returns 0 only if every reading that was sent is in the warehouse exactly once."""
    started = start_flow()
    try:
        run = uuid4().hex[:8]
        sent = send(run)
        table, dead = wait_for(run, sent)
        show(table, run)
        return verdict(table, run, sent, dead)
    finally:
        if started:
            command("down", str(FLOW))


def start_flow() -> bool:
    """Bring the flow up unless it runs already. Returns whether we did."""
    try:
        resolve(load(FLOW)).redis["main"]
    except NotRunning:
        say.print("[bold]1. starting the flow[/] (hub, model worker, edges, Redis, warehouse)")
        command("up", "-d", "--hub-port", "0", str(FLOW))
        return True
    say.print("[bold]1. the flow is running already[/]")
    return False


def send(run: str) -> int:
    """Post every reading to the hub. The run's name is part of each rec_id, so runs can be told apart."""
    readings = list(water_readings())
    say.print(f"[bold]2. posting {len(readings)} hourly readings of a water pipe[/] to {resolve(load(FLOW)).hub_url}")
    messages = [
        {"rec_id": f"{run}-{n:04d}", "task_for": "anomaly", "function_type": "score", "ts": ts, "flow": flow}
        for n, (ts, flow) in enumerate(readings)
    ]
    with Hub(resolve(load(FLOW)).hub_url) as hub:
        for first in track(range(0, len(messages), 100), description="   sending", console=say, transient=True):
            hub.send(messages[first : first + 100])
    return len(messages)


def water_readings() -> Iterator[tuple[str, float]]:
    """(time as ISO 8601 with offset, litres per second), oldest first, from the data set inside the river package."""
    from river.datasets import WaterFlow

    for features, flow in WaterFlow():
        yield features["Time"].isoformat(), float(flow)


def wait_for(run: str, sent: int) -> tuple[warehouse.Warehouse, int]:
    """Wait until every reading is in the warehouse or dead. Returns the warehouse and the number of dead."""
    flow = load(FLOW)
    addresses = resolve(flow)
    table = warehouse.connect(addresses.warehouse["warehouse"])
    redis, keys = connect(addresses.redis["main"]), Keys(flow.name)
    graves = [DeadLetters(redis, keys, name, reader) for name in flow.streams for reader in flow.readers(name)]
    deadline = time.monotonic() + ARRIVAL_DEADLINE_S
    with say.status("3. model at work, scores on their way to the warehouse"):
        while True:
            dead = sum(letter.fields.get("rec_id", "").startswith(run) for grave in graves for letter in grave)
            if arrived(table, run)[1] + dead >= sent or time.monotonic() > deadline:
                return table, dead
            time.sleep(0.2)


def arrived(table: warehouse.Warehouse, run: str) -> tuple[int, int]:
    """(rows, different readings) of this run in the warehouse; (0, 0) while the table is not there yet."""
    if not table.rows("SELECT 1 AS there FROM system.tables WHERE database = currentDatabase() AND name = 'scores'"):
        return 0, 0
    row = table.rows(
        f"SELECT count() AS n, uniqExact(rec_id) AS different FROM scores WHERE startsWith(rec_id, '{run}')"
    )
    return int(row[0]["n"]), int(row[0]["different"])


def show(table: warehouse.Warehouse, run: str) -> None:
    """Print the strongest anomalies and draw the series."""
    rows = table.rows(
        "SELECT toString(ts) AS time, flow, expected, score, anomaly FROM scores "
        f"WHERE startsWith(rec_id, '{run}') ORDER BY ts"
    )
    strongest = sorted((row for row in rows if row["anomaly"]), key=lambda row: -row["score"])[:12]
    page = Table(title="hours in which the pipe carried an unusual amount of water")
    for column in ("time (UTC)", "flow l/s", "usual l/s", "score"):
        page.add_column(column, justify="right")
    for row in strongest:
        page.add_row(row["time"][:16], f"{row['flow']:.1f}", f"{row['expected']:.1f}", f"{row['score']:.3f}")
    say.print(page)
    draw(rows)
    say.print(f"picture: {PICTURE}")


def draw(rows: list[dict[str, Any]]) -> None:
    """Write the series with its anomalies marked to PICTURE."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    times = [datetime.fromisoformat(row["time"]) for row in rows]
    figure, axes = pyplot.subplots(figsize=(12, 4.5), layout="constrained")
    axes.plot(times, [row["flow"] for row in rows], color="#4477aa", linewidth=0.8, label="flow")
    marked = [(at, row["flow"]) for at, row in zip(times, rows, strict=True) if row["anomaly"]]
    if marked:
        axes.scatter(*zip(*marked, strict=True), color="#cc3311", s=14, zorder=3, label="anomaly")
    axes.set_title("water flow of a pipe, hour by hour")
    axes.set_ylabel("litres per second")
    axes.legend(loc="lower left")
    figure.savefig(PICTURE, dpi=110)
    pyplot.close(figure)


def verdict(table: warehouse.Warehouse, run: str, sent: int, dead: int) -> int:
    """Count the stored rows against what was sent, let the audit look at the counters, and say so."""
    rows, different = arrived(table, run)
    audit = command("audit", "-f", str(FLOW), check=False)
    lost, duplicates = sent - different - dead, rows - different
    print(f"demo: sent={sent} delivered={different} dead={dead} lost={lost} duplicates={duplicates}", flush=True)
    return 0 if (lost, duplicates, audit) == (0, 0, 0) else 1


def command(*arguments: str, check: bool = True) -> int:
    """Run a command of the project; its messages go where ours go. When it fails and `check` is set, end."""
    code = subprocess.run([sys.executable, "-P", "-m", "dataflow", *arguments], check=False).returncode
    if code and check:
        sys.exit(code)
    return code


if __name__ == "__main__":
    sys.exit(main())
