"""What an operator sets by environment variables."""

from __future__ import annotations

from pathlib import Path

import pytest

from dataflow.errors import UserError
from dataflow.settings import Settings, read_settings


def test_without_variables_there_are_defaults() -> None:
    settings = read_settings({})
    assert (settings.log_level, settings.log_format) == ("info", "console")
    assert (settings.max_body_bytes, settings.max_messages_per_request) == (8 * 1024 * 1024, 1000)
    assert (settings.idempotency_ttl_s, settings.redis_timeout_s) == (86_400, 5.0)
    assert settings.data_dir is None


def test_variables_are_read_from_the_mapping_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATAFLOW_MAX_BODY_BYTES", "4096")
    assert read_settings({}).max_body_bytes == 8 * 1024 * 1024
    assert read_settings({"DATAFLOW_MAX_BODY_BYTES": "2048"}).max_body_bytes == 2048
    assert Settings().max_body_bytes == 4096


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("LOG_LEVEL", "DEBUG", "debug"),
        ("LOG_FORMAT", "json", "json"),
        ("MAX_MESSAGES_PER_REQUEST", "5", 5),
        ("REDIS_TIMEOUT_S", "0.5", 0.5),
        ("DATA_DIR", "/var/lib/flow", Path("/var/lib/flow")),
        ("LOG_LEVEL", "", "info"),
    ],
)
def test_a_variable_sets_its_field(name: str, text: str, value: object) -> None:
    assert getattr(read_settings({f"DATAFLOW_{name}": text}), name.lower()) == value


def test_variables_of_others_are_passed_over() -> None:
    assert read_settings({"DATAFLOW_REDIS_URL": "redis://h", "PATH": "x"}) == read_settings({})


def test_every_bad_variable_is_named_with_what_it_may_be() -> None:
    with pytest.raises(UserError) as caught:
        read_settings(
            {"DATAFLOW_LOG_LEVEL": "loud", "DATAFLOW_MAX_BODY_BYTES": "many", "DATAFLOW_REDIS_TIMEOUT_S": "nan"}
        )
    lines = str(caught.value).splitlines()
    assert len(lines) == 3
    assert lines[0].startswith("DATAFLOW_LOG_LEVEL='loud': ")
    assert "'debug'" in lines[0]
    assert lines[1].startswith("DATAFLOW_MAX_BODY_BYTES='many': ")
    assert lines[2].startswith("DATAFLOW_REDIS_TIMEOUT_S='nan': ")


@pytest.mark.parametrize(
    ("name", "text"),
    [("MAX_BODY_BYTES", "0"), ("MAX_MESSAGES_PER_REQUEST", "-1"), ("IDEMPOTENCY_TTL_S", "1"), ("REDIS_TIMEOUT_S", "0")],
)
def test_a_value_out_of_range_is_refused(name: str, text: str) -> None:
    with pytest.raises(UserError, match=f"DATAFLOW_{name}='{text}'"):
        read_settings({f"DATAFLOW_{name}": text})


def test_data_lie_beside_the_flow_file_unless_told_otherwise(tmp_path: Path) -> None:
    assert read_settings({}).data_folder(tmp_path / "flow.yml") == tmp_path / ".dataflow"
    assert read_settings({"DATAFLOW_DATA_DIR": "/d"}).data_folder(tmp_path / "flow.yml") == Path("/d")
