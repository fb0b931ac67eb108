"""JSON Schema of the flow file, for editors. Made of the same list of keys that reads the file.

`python -m dataflow.flow.schema` writes it anew; a test tells when that is due.
"""

from __future__ import annotations

import json
from pathlib import Path

from dataflow.flow.shape import FILE

SCHEMA_PATH = Path(__file__).with_name("flow.schema.json")


def schema_text() -> str:
    """The schema as it should stand in `SCHEMA_PATH`. Pure."""
    head = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Flow file",
        "description": "A net of streams, workers and edges.",
    }
    return json.dumps({**head, **FILE.schema()}, indent=1) + "\n"


if __name__ == "__main__":
    SCHEMA_PATH.write_text(schema_text(), encoding="utf-8")
