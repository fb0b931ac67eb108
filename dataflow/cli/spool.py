"""A file's content ready to be read more than once: from disk, unpacked, or from stdin."""

from __future__ import annotations

import gzip
import hashlib
import shutil
import sys
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

from dataflow.errors import UserError

_IN_MEMORY_BYTES = 32 * 1024 * 1024


@contextmanager
def opened(name: str) -> Iterator[IO[bytes]]:
    """A file by its name, unpacked if it ends in .gz; - is stdin, which is read to its end first.

    Raises UserError: it cannot be opened, or, while it is read, unpacked.
    """
    try:
        if name == "-":
            with tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY_BYTES) as spooled:
                shutil.copyfileobj(sys.stdin.buffer, spooled)
                yield spooled
        elif name.endswith(".gz"):
            with gzip.open(name) as packed:
                yield cast("IO[bytes]", packed)
        else:
            with Path(name).open("rb") as plain:
                yield plain
    except (FileNotFoundError, IsADirectoryError, PermissionError, gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise UserError(f"cannot read {name}: {error}") from error


def digest(file: IO[bytes]) -> str:
    """Hex digest of the whole content. Leaves the file at its start."""
    file.seek(0)
    content = hashlib.blake2b(digest_size=16)
    while part := file.read(1 << 20):
        content.update(part)
    file.seek(0)
    return content.hexdigest()
