"""The API of a small flow, without sockets or processes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from dataflow.store.declare import apply
from sync.api.host import Host
from tests.sync.api.site import Site


@pytest.fixture
def site(redis_url: str, tmp_path: Path) -> Iterator[Site]:
    """The flow's folder; both its Redis connections are one server."""
    with closing(Site(tmp_path, redis_url, redis_url)) as site:
        apply(site.flow, site.near)
        yield site


@pytest.fixture
def http(site: Site) -> Iterator[FlaskClient]:
    """Its API."""
    with closing(Host(site.path, waiters=2)) as host:
        yield host.app.test_client()
