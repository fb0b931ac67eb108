"""Logging of every command: to stderr, as lines for people or JSON for machines, without the secrets of URLs.

Modules log with `logging.getLogger(__name__)` and pass facts as `extra={"stream": name, "rows": n}`.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from typing import Any, Literal, TextIO

from dataflow.masking import mask_urls, masked

Format = Literal["console", "json"]

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def configure(level: str = "info", format: Format = "console", stream: TextIO | None = None) -> None:
    """Send all logging of this process to stderr. Calling it again replaces the set-up.

    Args:
        level: debug, info, warning or error; anything below is not written.
        format: "console" for one readable line per record, "json" for one JSON object per line.
        stream: where to write; None for stderr.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter() if format == "json" else ConsoleFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.captureWarnings(True)
    logging.getLogger("clickhouse_driver").setLevel(logging.CRITICAL)  # all that it tells, our errors tell
    for name in ("pymongo.command", "pymongo.client"):
        logging.getLogger(name).setLevel(
            logging.INFO
        )  # at debug they tell whole documents, with what is secret in them
    logging.getLogger("httpx").setLevel(max(logging.getLevelName(level.upper()), logging.WARNING))  # a line per request


class ConsoleFormatter(logging.Formatter):
    """`2026-01-31 12:00:00.123 INFO  workers.parent: child started pid=12 worker=anomaly`."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, and the traceback below it if there is one."""
        facts = "".join(f" {name}={_shown(value)}" for name, value in _facts(record).items())
        line = f"{self.formatTime(record)} {record.levelname:<7} {record.name}: {record.getMessage()}{facts}"
        return mask_urls("\n".join([line, *_traceback(self, record)]))

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:
        """Local time with milliseconds."""
        stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(record.created))
        return f"{stamp}.{int(record.msecs):03d}"


class JsonFormatter(logging.Formatter):
    """`{"at": "2026-01-31T12:00:00.123Z", "level": "info", "logger": ..., "event": ..., <facts>}`."""

    def format(self, record: logging.LogRecord) -> str:
        """One JSON object on one line; `error` holds the traceback if there is one."""
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        entry: dict[str, Any] = {
            **_facts(record),
            "at": f"{stamp}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
        }
        traceback = _traceback(self, record)
        if traceback:
            entry["error"] = "\n".join(traceback)
        return json.dumps(masked(entry), default=lambda value: mask_urls(str(value)), ensure_ascii=False)


def _facts(record: logging.LogRecord) -> dict[str, Any]:
    return {name: value for name, value in vars(record).items() if name not in _STANDARD}


def _shown(value: object) -> str:
    text = str(value)
    return json.dumps(text, ensure_ascii=False) if not text or any(c.isspace() for c in text) else text


def _traceback(formatter: logging.Formatter, record: logging.LogRecord) -> list[str]:
    parts = [formatter.formatException(record.exc_info)] if record.exc_info else []
    return [*parts, formatter.formatStack(record.stack_info)] if record.stack_info else parts
