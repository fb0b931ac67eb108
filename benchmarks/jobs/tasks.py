"""A scheduler with a thousand tasks."""

from __future__ import annotations

import json
import time
from statistics import median

from pymongo import MongoClient

from benchmarks.lab import Lab, cpu_seconds
from benchmarks.measure import CheckFailed, Contender, Job, Sample, fact
from dataflow.testing.mongo import MongoServer
from dataflow.up.ports import free_port

TASKS = 1000
IDLE_S = 10.0
TICKS = 8
FLOW = """
flow: bench
connections: {main: {redis: "{0}"}, tasks: {mongo: "{1}"}}
streams: {a.stream_in: }
workers: {work: {from: a.stream_in, handler: "steps:one"}}
scheduler: {machine: bench, timezone: UTC, modules: [steps]}
"""


def ours(lab: Lab, n: int) -> Sample:
    """`dataflow scheduler`: idle first, then with one task that ticks every second."""
    with lab.redis() as redis, MongoServer() as mongo, lab.subfolder() as folder:
        flow = lab.flow(FLOW, redis.url, mongo.url)
        ticks = folder / "ticks"
        ticks.touch()
        with MongoClient[dict[str, object]](mongo.url) as client:
            table = client["flask_aps"]["task_table"]
            table.insert_many([task(f"t{i}", {"hour": 3, "minute": i % 60}, str(ticks)) for i in range(TASKS)])
            port = str(free_port())
            with lab.process("dataflow", "scheduler", str(flow.path), "--port", port) as process:
                lab.wait(process, lambda: table.count_documents({"running_status": "running"}) == TASKS)
                time.sleep(3)  # what it does once, at the start, is not idling
                before, begun = cpu_seconds(process.pid), time.monotonic()
                time.sleep(IDLE_S)
                busy = (cpu_seconds(process.pid) - before) / (time.monotonic() - begun)
                table.insert_one(task("ticking", {"second": "*"}, str(ticks)))
                lab.wait(process, lambda: len(ticks.read_text("utf-8").splitlines()) >= TICKS)
        fired = [json.loads(line) for line in ticks.read_text("utf-8").splitlines()]
        if len({int(at) for at in fired}) != len(fired):
            raise CheckFailed(f"a tick fired twice: {fired}")
        late = [at % 1 for at in fired]
        facts = {"share of a core": busy, "tick late s": median(late), "latest tick s": max(late)}
        return Sample(TASKS, IDLE_S, facts)


def task(name: str, when: dict[str, object], path: str) -> dict[str, object]:
    """A document of TaskTable."""
    return {
        "_id": f"bench.{name}", "machine": "bench", "task_id": name, "job_name": "steps:tick",
        "set_to_status": "running", "running_status": "init", "interval_para": when,
        "task_kwargs": {"path": path}, "is_enable": 1,
    }  # fmt: skip


JOB = Job(
    "tasks",
    "1,000 tasks in TaskTable",
    (Contender("ours", ours),),
    (fact("share of a core", 0.05, side="at most"), fact("latest tick s", 1.0, side="at most")),
    most_rounds=1,
)
