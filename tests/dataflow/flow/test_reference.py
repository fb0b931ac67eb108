"""docs/FLOW.md says what the code says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dataflow.flow import shape
from dataflow.flow.codes import CODES
from dataflow.flow.load import loads
from dataflow.flow.reference import render
from dataflow.settings import PREFIX, Settings

PAGE = Path(__file__).parents[3] / "docs" / "FLOW.md"
TEXT = PAGE.read_text(encoding="utf-8")
EXAMPLES = [block for block in re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL) if "streams:" in block]


def test_the_page_is_current() -> None:
    assert render(TEXT) == TEXT, "run: python -m dataflow.flow.reference docs/FLOW.md"


@pytest.mark.parametrize("code", CODES)
def test_every_code_is_on_the_page(code: str) -> None:
    assert f"\n| {code} | " in TEXT


def test_every_reserved_name_is_on_the_page() -> None:
    for name in shape.STREAM_NAMES.reserved | shape.STEP_NAMES.reserved:
        assert f"`{name}`" in TEXT


def test_every_setting_is_on_the_page_with_its_default() -> None:
    for name, field in Settings.model_fields.items():
        default = "`.dataflow` beside the flow file" if name == "data_dir" else str(field.default)
        row = f"| `{PREFIX}{name.upper()}` | {default} |".replace("|  |", "| |")
        assert row in TEXT.replace("`info`", "info").replace("`console`", "console", 1)


@pytest.mark.parametrize("example", EXAMPLES)
def test_the_examples_are_sound(example: str) -> None:
    text = example if example.startswith("flow:") else f"flow: example\n{example}"
    assert loads(text, environ={}).streams
