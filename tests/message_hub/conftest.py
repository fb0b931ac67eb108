"""Fixtures of the hub's tests."""

from __future__ import annotations

import pytest

from tests.message_hub.support import Hub


@pytest.fixture
def hub(redis_url: str) -> Hub:
    """The application on an empty Redis in which the flow is applied."""
    return Hub(redis_url)
