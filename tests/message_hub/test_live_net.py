"""Following the flow: which net requests get while flows are applied, broken and mended."""

from __future__ import annotations

from pathlib import Path

import pytest

from dataflow.flow.load import load
from dataflow.store.declare import apply
from dataflow.store.redis import connect
from dataflow.testing.servers import RedisServer
from message_hub.live_net import LOOK_EVERY_S, LiveNet
from message_hub.net import Net
from tests.message_hub.support import flow_text

pytestmark = pytest.mark.integration


class Desk:
    """A flow file, a Redis, a clock, and the net that follows."""

    def __init__(self, folder: Path, url: str) -> None:
        self.path = folder / "flow.yml"
        self.redis = connect(url, timeout_s=0.5)
        self.now = 0.0
        self.write(flow_text(url))
        self.live = LiveNet(lambda: Net(load(self.path), {"main": self.redis}), lambda: self.now)

    def write(self, text: str) -> None:
        self.path.write_text(text, encoding="utf-8")

    def later(self) -> Net:
        self.now += LOOK_EVERY_S
        return self.live.current()


@pytest.fixture
def desk(tmp_path: Path, redis_url: str) -> Desk:
    return Desk(tmp_path, redis_url)


def test_before_anything_is_applied_the_file_is_used(desk: Desk) -> None:
    assert desk.live.current().flow.name == "tests"
    assert (desk.live.revision, desk.live.trouble) == (0, "")


def test_redis_is_asked_no_more_often_than_it_should(desk: Desk) -> None:
    desk.live.current()
    apply(load(desk.path), desk.redis)
    desk.now += LOOK_EVERY_S / 2
    desk.live.current()
    assert desk.live.revision == 0
    desk.later()
    assert desk.live.revision == 1


def test_the_same_flow_applied_again_changes_nothing(desk: Desk) -> None:
    net = desk.live.current()
    apply(load(desk.path), desk.redis)
    assert desk.later() is net
    assert desk.live.revision == 1


def test_another_flow_is_used_once_it_is_applied_and_not_before(desk: Desk) -> None:
    apply(load(desk.path), desk.redis)
    net = desk.live.current()
    desk.write(desk.path.read_text(encoding="utf-8").replace("task_for: meter", "task_for: new"))
    assert desk.later() is net
    apply(load(desk.path), desk.redis)
    assert desk.later().flow.streams["meter.stream_in"].accepts == ("new", "score")
    assert desk.live.trouble == ""


def test_a_broken_file_leaves_the_last_good_flow_and_says_so(desk: Desk) -> None:
    apply(load(desk.path), desk.redis)
    net = desk.live.current()
    good = desk.path.read_text(encoding="utf-8").replace("task_for: meter", "task_for: new")
    desk.write(good)
    apply(load(desk.path), desk.redis)
    desk.write("flow: [")
    assert desk.later() is net
    assert "cannot be used" in desk.live.trouble
    desk.write(good)
    apply(load(desk.path), desk.redis)
    assert desk.later() is not net
    assert desk.live.trouble == ""


def test_a_file_that_is_not_the_applied_one_is_told(desk: Desk) -> None:
    apply(load(desk.path), desk.redis)
    own = desk.path.read_text(encoding="utf-8")
    desk.write(own.replace("task_for: meter", "task_for: new"))
    apply(load(desk.path), desk.redis)
    desk.write(own)
    desk.later()
    assert "not the one that was applied" in desk.live.trouble


def test_while_redis_is_away_the_last_flow_is_used(tmp_path: Path) -> None:
    with RedisServer() as server:
        desk = Desk(tmp_path, server.url)
        apply(load(desk.path), desk.redis)
        net = desk.live.current()
        server.stop()
        assert desk.later() is net
        server.start()
        assert desk.later() is net
        assert desk.live.revision == 1
