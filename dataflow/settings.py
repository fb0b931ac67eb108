"""What an operator sets by environment variables, all beginning with DATAFLOW_. docs/FLOW.md lists them.

Addresses of servers are not here: the flow file names them, by `${...}` where they differ from place to place.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, SecretStr, ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, SettingsConfigDict

from dataflow.errors import UserError

PREFIX = "DATAFLOW_"

LogLevel = Literal["debug", "info", "warning", "error"]
LogFormat = Literal["console", "json"]


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


class Settings(BaseSettings):
    """Settings of a process. `read_settings` makes one; frozen.

    log_level, log_format: what is logged, and how. max_body_bytes, max_messages_per_request: what the hub takes
    in one request. idempotency_ttl_s: how long it remembers a key. redis_timeout_s: how long a call to Redis may
    take. data_dir: where a flow keeps its data; None: `.dataflow` beside the flow file. api_key, api_key_file: the key
    that our own commands and clients send, or the file with it. require_keys: services ask for a key even on loopback
    and while the flow has none. host_names: names by which services without keys may be called, beside those of
    loopback; with commas between them.
    """

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_ignore_empty=True, frozen=True)

    log_level: Annotated[LogLevel, BeforeValidator(_lower)] = "info"
    log_format: Annotated[LogFormat, BeforeValidator(_lower)] = "console"
    max_body_bytes: int = Field(8 * 1024 * 1024, ge=1024, le=1 << 30)
    max_messages_per_request: int = Field(1000, ge=1, le=1000)
    idempotency_ttl_s: int = Field(86_400, ge=60, le=30 * 86_400)
    redis_timeout_s: float = Field(5.0, ge=0.1, le=300, allow_inf_nan=False)
    data_dir: Path | None = None
    api_key: SecretStr | None = None
    api_key_file: Path | None = None
    require_keys: bool = False
    host_names: str = ""

    def data_folder(self, flow: Path) -> Path:
        """Where the flow of this file keeps its data. Absolute; need not exist."""
        return (self.data_dir or flow.absolute().parent / ".dataflow").absolute()

    @property
    def host_names_listed(self) -> tuple[str, ...]:
        """`host_names`, one by one."""
        return tuple(filter(None, map(str.strip, self.host_names.split(","))))


def read_settings(environ: Mapping[str, str] = os.environ) -> Settings:
    """The settings in these variables. An empty one counts as unset; DATAFLOW_ variables of others are passed over.

    Raises UserError naming every variable that cannot be used, and what it may be.
    """
    fields = Settings.model_fields
    values: dict[str, Any] = {name: field.default for name, field in fields.items()}
    values |= {name: environ[PREFIX + name.upper()] for name in fields if environ.get(PREFIX + name.upper())}
    try:
        return Settings(**values)
    except ValidationError as error:
        raise UserError("\n".join(_complaint(fault) for fault in error.errors())) from None


def _complaint(fault: ErrorDetails) -> str:
    name = PREFIX + str(fault["loc"][0]).upper()
    return f"{name}={str(fault['input'])[:80]!r}: {fault['msg'][:1].lower()}{fault['msg'][1:]}"
