"""This machine: how many files may be open, and room for data."""

from __future__ import annotations

import os
import resource
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from dataflow.doctor.finding import Finding

SUBJECT: Final = "this machine"
FILES: Final = 4096
FREE_BYTES: Final = 1 << 30


def examine(folder: Path, *, embedded: bool) -> list[Finding]:
    """Look at this machine. Args: folder: the flow's data folder; embedded: whether servers keep theirs there."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    there = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(there).free
    return [judge_files(limit), *judge_folder(folder, os.access(there, os.W_OK), free, embedded=embedded)]


def judge_files(limit: int) -> Finding:
    """Whether enough files may be open: every connection is one. Pure."""
    if limit == resource.RLIM_INFINITY or limit >= FILES:
        return Finding(SUBJECT, "ok", "files", "enough files may be open at once")
    remedy = f"raise the limit to {FILES} or more: LimitNOFILE= of the service, `ulimit -n` of a shell"
    return Finding(
        SUBJECT, "note", "files", f"{limit} files may be open at once: few for a hub with many clients", remedy
    )


def judge_folder(folder: Path, writable: bool, free: int, *, embedded: bool) -> Iterator[Finding]:
    """Whether data can be kept. Pure. Without embedded servers nothing is kept here."""
    if not embedded:
        return
    if not writable:
        remedy = "give it to the user of the flow, or set DATAFLOW_DATA_DIR"
        yield Finding(SUBJECT, "wrong", "folder", f"{folder} cannot be written to", remedy)
    if free < FREE_BYTES:
        text = f"{free / (1 << 20):,.0f} MB are free in {folder}, where the embedded servers keep their data"
        yield Finding(SUBJECT, "wrong", "space", text, "make room, or set DATAFLOW_DATA_DIR to a larger disk")
    else:
        yield Finding(SUBJECT, "ok", "space", f"{free / (1 << 30):,.0f} GB are free in {folder}")
