"""What a running `dataflow up` tells the commands in other shells: `.dataflow/run.json` beside the flow file.

It holds the addresses of the embedded servers and who serves them. Only its owner may read it, for the key of
the warehouse. It is replaced whole: a reader sees the old one or the new one. It outlives `up` (ports are used
again); whether it is in force is decided by the process that it names.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import msgspec

from dataflow.process import ProcessId
from dataflow.settings import read_settings

FORMAT = 1


class WarehouseAddress(msgspec.Struct, frozen=True):
    """Where the embedded warehouse answers: a loopback TCP port and the key that a client must present."""

    host: str
    port: int
    key: str

    def __repr__(self) -> str:
        return f"WarehouseAddress(host={self.host!r}, port={self.port}, key=***)"


class ChildRecord(msgspec.Struct, frozen=True):
    """One child of `up`: its state, its process if it has one, how often and why it was started again."""

    state: str
    process: ProcessId | None
    restarts: int
    reason: str


class RunFile(msgspec.Struct, frozen=True, kw_only=True):
    """Contents of run.json.

    redis: connection name -> URL of the embedded Redis. warehouse: connection name -> address of the embedded
    ClickHouse. mongo: connection name -> URL of the embedded MongoDB. scheduler, sync: base URL of the API of the
    scheduler and of the sync room, "" for a flow that has none.
    ready: whether everything has come up. children: name -> what `up` knows of it.
    """

    format: int = FORMAT
    flow: str
    up: ProcessId
    hub: str
    redis: Mapping[str, str] = {}
    warehouse: Mapping[str, WarehouseAddress] = {}
    mongo: Mapping[str, str] = {}
    scheduler: str = ""
    sync: str = ""
    ready: bool = False
    children: Mapping[str, ChildRecord] = {}

    @property
    def in_force(self) -> bool:
        """Whether the `up` that wrote it still runs."""
        return self.up.alive


def data_folder(flow_path: Path) -> Path:
    """Where a flow keeps what it has on this machine: `.dataflow/` beside the flow file, or DATAFLOW_DATA_DIR."""
    return read_settings().data_folder(flow_path.resolve())


def read(folder: Path) -> RunFile | None:
    """The run file of a data folder; None if there is none, or one that this version cannot read."""
    try:
        return msgspec.json.decode((folder / "run.json").read_bytes(), type=RunFile)
    except (FileNotFoundError, msgspec.DecodeError):
        return None


def write(folder: Path, run: RunFile) -> None:
    """Replace the run file. Only `up` does this, holding the folder's lock. On OSError the old one stays."""
    draft = folder / "run.json.new"
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(msgspec.json.format(msgspec.json.encode(run)))
    draft.replace(folder / "run.json")
