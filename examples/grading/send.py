"""Sends a mixed pile of requests to the one entry and shows which desk answered how many: send.py [NUMBER]."""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

from dataflow import warehouse
from dataflow.client import Hub
from dataflow.connections import resolve
from dataflow.errors import DataflowError
from dataflow.flow.load import load

FLOW = Path(__file__).resolve().parent / "flow.yml"
TOPICS = ("bill", "refund", "fault", "praise", "question")
ANSWER_DEADLINE_S = 60.0


def main(number: int) -> int:
    """Returns 0 if every request was answered once, by the desk for its topic."""
    addresses = resolve(load(FLOW))
    answers = warehouse.connect(addresses.warehouse["warehouse"])
    run = uuid4().hex[:8]
    with Hub(addresses.hub_url) as hub:
        sent = hub.send(pile(run, number))
    print(f"{len(sent.ids)} requests accepted by {addresses.hub_url}")
    deadline = time.monotonic() + ANSWER_DEADLINE_S
    while (found := answered(answers, run)) != number and time.monotonic() < deadline:
        time.sleep(0.1)
    for row in answers.rows(
        "SELECT desk, topic, count() AS n, min(answer) AS example FROM answers "
        f"WHERE startsWith(rec_id, '{run}') GROUP BY desk, topic ORDER BY desk, topic"
    ):
        print(f"  {row['desk']:8} {row['topic']:9} {row['n']:>5}   {row['example']}")
    print(f"{found} of {number} answered")
    return 0 if found == number else 1


def pile(run: str, number: int) -> Iterator[dict[str, Any]]:
    """Requests of every topic in no order, the same each time but for their ids."""
    chance = random.Random(7)
    for n in range(number):
        topic = chance.choice(TOPICS)
        amount = round(chance.uniform(5, 500), 2) if topic in ("bill", "refund") else None
        yield {
            "rec_id": f"{run}-{n}", "task_for": "desk", "function_type": "answer",
            "topic": topic, "text": f"about a {topic}", "amount": amount,
        }  # fmt: skip


def answered(answers: warehouse.Warehouse, run: str) -> int:
    """Rows of this run; 0 while the table is not there yet."""
    if not answers.rows("SELECT 1 AS there FROM system.tables WHERE database = currentDatabase() AND name = 'answers'"):
        return 0
    return int(answers.rows(f"SELECT count() AS n FROM answers WHERE startsWith(rec_id, '{run}')")[0]["n"])


if __name__ == "__main__":
    try:
        sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000))
    except DataflowError as error:
        sys.exit(str(error))
