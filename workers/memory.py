"""The memory that a process of a worker may take: set by the kernel's limit on private memory."""

from __future__ import annotations

import re
import resource
from pathlib import Path
from typing import Final

MB: Final = 1 << 20
_THREAD_STACK_BYTES: Final = 8 * MB
_DATA = re.compile(r"^VmData:\s+(\d+) kB", re.MULTILINE)


def limit(memory_mb: int, threads: int) -> None:
    """Let this process take so much more memory than it has now; what asks for more gets MemoryError.

    Counted is private memory that can be written (RLIMIT_DATA), touched or not: heap, arrays, the stacks of threads.
    Libraries, files that are mapped, shared memory and address space that is only reserved are not, which a limit of
    the address space (RLIMIT_AS) would count: allocators reserve 64 MB for each thread. A process that this one starts
    has a limit of the same size, of its own.

    Args:
        memory_mb: megabytes.
        threads: threads of our own, for the stacks of which there is room beside it.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    most = data_bytes() + memory_mb * MB + (threads - 1) * _THREAD_STACK_BYTES
    resource.setrlimit(resource.RLIMIT_DATA, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))


def data_bytes() -> int:
    """What of this process the limit counts."""
    found = _DATA.search(Path("/proc/self/status").read_text(encoding="ascii", errors="replace"))
    return int(found[1]) * 1024 if found else 0
