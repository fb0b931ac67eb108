"""On what a run was made."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from clickhouse_driver import Client

from dataflow.testing.servers import ClickHouseServer, clickhouse_binary
from dataflow.up import redis_server

PACKAGES = (
    "redis",
    "hiredis",
    "msgspec",
    "pandas",
    "clickhouse-driver",
    "chdb",
    "celery",
    "faststream",
    "flask",
    "gunicorn",
)


def describe() -> dict[str, str]:
    """The machine line and the versions of everything that takes part."""
    load = ", ".join(f"{one:.2f}" for one in os.getloadavg())
    memory_gb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    parts = (
        _processor(),
        f"{os.cpu_count()} cores",
        f"{memory_gb:.0f} GB",
        f"Linux {platform.release()}",
        f"load {load}",
    )
    found = {
        "machine": ", ".join(parts),
        "python": platform.python_version(),
        "redis-server": ".".join(map(str, redis_server.version(redis_server.find_binary()))),
        "clickhouse-server": _clickhouse_version(),
    }
    return found | {name: _version(name) for name in PACKAGES}


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _clickhouse_version() -> str:
    binary = clickhouse_binary()
    if binary is None:
        return "none"
    with ClickHouseServer(binary) as server:
        client = Client("127.0.0.1", port=server.port)
        found = str(client.execute("SELECT version()")[0][0])
        client.disconnect()
    return found


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"
