"""Sends one request as any HTTP client would, and waits for its answer in the table: ask.py [TEXT]."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx

from dataflow import warehouse
from dataflow.connections import resolve
from dataflow.errors import DataflowError
from dataflow.flow.load import load

FLOW = Path(__file__).resolve().parent / "flow.yml"
TEXT = "Errors should never pass silently. Unless explicitly silenced."
ANSWER_DEADLINE_S = 30.0


def main(text: str) -> int:
    """Returns 0 if the answer came."""
    addresses = resolve(load(FLOW))
    answers = warehouse.connect(addresses.warehouse["warehouse"])
    rec_id = uuid4().hex
    request = {"rec_id": rec_id, "task_for": "text", "function_type": "measure", "text": text}
    accepted = httpx.post(f"{addresses.hub_url}/message_hub/", json=[request], trust_env=False)
    print(f"POST {addresses.hub_url}/message_hub/ -> {accepted.status_code}")
    if accepted.status_code != 202:
        print(accepted.json()["msg"])
        return 1
    deadline = time.monotonic() + ANSWER_DEADLINE_S
    while time.monotonic() < deadline:
        for answer in answered(answers, rec_id):
            print(", ".join(f"{name}: {value}" for name, value in answer.items()))
            return 0
        time.sleep(0.1)
    print(f"no answer after {ANSWER_DEADLINE_S:g} s: `dataflow status -f {FLOW}` shows where it is", file=sys.stderr)
    return 1


def answered(answers: warehouse.Warehouse, rec_id: str) -> list[dict[str, Any]]:
    """The row of a request; none before it is there, nor while the table is not."""
    if not answers.rows("SELECT 1 AS there FROM system.tables WHERE database = currentDatabase() AND name = 'answers'"):
        return []
    return answers.rows(f"SELECT words, longest, readability FROM answers WHERE rec_id = '{rec_id}'")


if __name__ == "__main__":
    try:
        sys.exit(main(" ".join(sys.argv[1:]) or TEXT))
    except DataflowError as error:
        sys.exit(str(error))
