"""Log lines for people and for machines."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest

from dataflow import log


@pytest.fixture(autouse=True)
def restored_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    logging.captureWarnings(False)
    root.handlers[:] = handlers
    root.setLevel(level)


def test_a_console_line_names_level_logger_message_and_facts() -> None:
    out = io.StringIO()
    log.configure(stream=out)
    logging.getLogger("workers.parent").warning(
        "child %s ended", 3, extra={"worker": "anomaly", "reason": "killed by 9"}
    )
    assert out.getvalue().endswith(' WARNING workers.parent: child 3 ended worker=anomaly reason="killed by 9"\n')


def test_a_json_record_is_one_line_and_carries_the_traceback() -> None:
    out = io.StringIO()
    log.configure(format="json", stream=out)
    try:
        raise ValueError("odd\nvalue")
    except ValueError:
        logging.getLogger("sync").exception("no", extra={"rows": 3, "path": io})
    (line,) = out.getvalue().splitlines()
    entry = json.loads(line)
    assert (entry["level"], entry["logger"], entry["event"], entry["rows"]) == ("error", "sync", "no", 3)
    assert "ValueError: odd\nvalue" in entry["error"]


@pytest.mark.parametrize("form", ["console", "json"])
def test_secrets_are_masked_wherever_they_stand(form: log.Format) -> None:
    out = io.StringIO()
    log.configure(format=form, stream=out)
    url = "redis://:hunter2@host/0"
    try:
        raise ValueError(url)
    except ValueError:
        logging.getLogger("a").exception("to %s", url, extra={"url": url})
    assert out.getvalue().count("***") >= 3
    assert "hunter2" not in out.getvalue()


def test_a_json_record_stays_json_where_a_secret_ended_a_text() -> None:
    out = io.StringIO()
    log.configure(format="json", stream=out)
    url = "http://h/?api-key=hunter2"
    logging.getLogger("a").warning("to %s", url, extra={"urls": [url], "to": {url: "x"}, "token": "hunter2", "n": 1})
    entry = json.loads(out.getvalue())
    hidden = "http://h/?api-key=***"
    assert (entry["event"], entry["urls"], entry["to"]) == (f"to {hidden}", [hidden], {hidden: "***"})
    assert (entry["token"], entry["n"]) == ("***", 1)


def test_what_is_below_the_level_is_not_written() -> None:
    out = io.StringIO()
    log.configure(level="warning", stream=out)
    logging.getLogger("a").info("quiet")
    assert out.getvalue() == ""
