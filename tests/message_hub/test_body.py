"""What a body is taken for: media types, what `curl -d` says, web pages, gzip in many members."""

from __future__ import annotations

import gzip
import json

import pytest

from message_hub.body import gunzip
from message_hub.refusal import Refusal
from tests.message_hub.support import Hub, message

BODY = json.dumps([message()]).encode()
FORM = "application/x-www-form-urlencoded"


@pytest.mark.integration
class TestMediaType:
    @pytest.mark.parametrize("kind", [None, "", FORM, f"{FORM}; charset=utf-8", "APPLICATION/JSON"])
    def test_a_program_that_was_told_none_is_taken_for_one_that_sends_json(self, hub: Hub, kind: str | None) -> None:
        headers = {} if kind is None else {"Content-Type": kind}
        assert hub.client.post("/message_hub/", data=BODY, headers=headers).status_code == 202
        assert hub.depth() == 1

    @pytest.mark.parametrize("kind", [None, FORM, "text/plain", "multipart/form-data; boundary=x"])
    def test_a_web_page_cannot_send_what_browsers_let_any_page_send(self, hub: Hub, kind: str | None) -> None:
        headers = {"Origin": "http://evil.test"} | ({} if kind is None else {"Content-Type": kind})
        assert hub.client.post("/message_hub/", data=BODY, headers=headers).status_code == 415
        assert hub.stored() == 0

    def test_a_page_that_asked_first_may(self, hub: Hub) -> None:
        headers = {"Origin": "http://good.test", "Content-Type": "application/json"}
        assert hub.client.post("/message_hub/", data=BODY, headers=headers).status_code == 202

    @pytest.mark.parametrize("kind", ["text/plain", "application/xml", "json", "\x7f", "x" * 5000])
    def test_what_is_not_known_is_told_with_the_way_out(self, hub: Hub, kind: str) -> None:
        answer = hub.client.post("/message_hub/", data=BODY, headers={"Content-Type": kind})
        assert answer.status_code == 415
        assert "curl: -H 'Content-Type: application/json'" in answer.get_json()["msg"]
        assert answer.headers["Accept-Post"] == "application/json, application/x-ndjson"
        assert len(answer.data) < 1000
        assert hub.stored() == 0

    def test_no_body_at_all_is_told_what_to_send(self, hub: Hub) -> None:
        answer = hub.client.post("/message_hub/")
        assert answer.status_code == 400
        assert "flat objects" in answer.get_json()["msg"]


def test_gzip_in_a_few_members_is_one_body() -> None:
    assert gunzip(b"".join(gzip.compress(b"%d," % n) for n in range(900)), 10_000).count(b",") == 900


def test_gzip_in_very_many_members_is_refused_before_it_costs_much() -> None:
    with pytest.raises(Refusal) as caught:
        gunzip(gzip.compress(b"") * 100_000, 1 << 23)
    assert caught.value.status == 400
    assert "members" in caught.value.msg
