"""No secret of an address is ever shown."""

from __future__ import annotations

import pytest

from dataflow.masking import mask_urls, masked


@pytest.mark.parametrize(
    ("shown", "masked"),
    [
        ("redis://:hunter2@host:6379/0", "redis://:***@host:6379/0"),
        ("clickhouse://me:hunter2@host/db", "clickhouse://me:***@host/db"),
        ("mongodb+srv://me:hunter2@host", "mongodb+srv://me:***@host"),
        ("careless redis://:hun@ter2@host/0", "careless redis://:***@host/0"),
        ("two: redis://a:hunter2@one redis://b:hunter2@two", "two: redis://a:***@one redis://b:***@two"),
        ("redis://a:hunter2@one,redis://b:hunter2@two", "redis://a:***@one,redis://b:***@two"),
        ("rediss://host/0?password=hunter2&db=1", "rediss://host/0?password=***&db=1"),
        ("rediss://host/0?ssl_password=hunter2&ssl_keyfile=/k", "rediss://host/0?ssl_password=***&ssl_keyfile=/k"),
        ("mongodb://h/?tlsCertificateKeyFilePassword=hunter2", "mongodb://h/?tlsCertificateKeyFilePassword=***"),
        ("http://h/?api-key=hunter2", "http://h/?api-key=***"),
        ("http://h/?a=1&client-secret=hunter2&b=2", "http://h/?a=1&client-secret=***&b=2"),
        ("http://h/?subscription-key=hunter2", "http://h/?subscription-key=***"),
        ("http://h/?X-Amz-Signature=hunter2&sig=hunter2", "http://h/?X-Amz-Signature=***&sig=***"),
        ("http://h/?auth=hunter2;jwt=hunter2 next", "http://h/?auth=***;jwt=*** next"),
        ("http://h/?passphrase=hunter2&pass=hunter2", "http://h/?passphrase=***&pass=***"),
        ("http://h/?key=hunter2&code=hunter2", "http://h/?key=***&code=***"),
        ("http://h/?%74oken=hunter2&api%2Dkey=hunter2", "http://h/?%74oken=***&api%2Dkey=***"),
        ("http://h/#access_token=hunter2", "http://h/#access_token=***"),
        ("http://h/?next=http://i/?token=hunter2", "http://h/?next=http://i/?token=***"),
        ("http://h/?token=hunter2?token=hunter2#sig=hunter2", "http://h/?token=***"),
        ("mongodb://h/?authMechanismProperties=AWS_SESSION_TOKEN:hunter2", "mongodb://h/?authMechanismProperties=***"),
        ("mongodb://h/?authSource=admin&authMechanism=PLAIN", "mongodb://h/?authSource=admin&authMechanism=PLAIN"),
        ("http://h/?token=&encode=x&design=x&author=x", "http://h/?token=&encode=x&design=x&author=x"),
        ("redis://host:6379/0", "redis://host:6379/0"),
        ("http://user@host:80/path", "http://user@host:80/path"),
        ("a mail to me:x@host", "a mail to me:x@host"),
        ("", ""),
    ],
)
def test_passwords_are_hidden_and_nothing_else(shown: str, masked: str) -> None:
    assert mask_urls(shown) == masked


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ({"password": "x", "db_pwd": "x", "n": "x"}, {"password": "***", "db_pwd": "***", "n": "x"}),
        ({"headers": {"Authorization": "x", "X-Api-Key": "x", "cookie": "x", "Accept": "x"}},
         {"headers": {"Authorization": "***", "X-Api-Key": "***", "cookie": "***", "Accept": "x"}}),
        ({"tokens": ["x", "y"], "secret": {"deep": "x"}}, {"tokens": "***", "secret": "***"}),
        ([("password", "x"), ["n", "x"], ["token", "x", "y"]], [["password", "***"], ["n", "x"], ["token", "x", "y"]]),
        ({"token": "", "password": None, "has_secret": True, "credential": 17},
         {"token": "", "password": None, "has_secret": True, "credential": "***"}),
        ({1: "x", "key": "x", "monkey": "x"}, {1: "x", "key": "x", "monkey": "x"}),
        ({"sig": "x", "X-Signature": "x", "auth": "x", "pass": "x"},
         {"sig": "***", "X-Signature": "***", "auth": "***", "pass": "***"}),
        ({"code": 1, "author": "x", "passed": 2}, {"code": 1, "author": "x", "passed": 2}),
    ],
)  # fmt: skip
def test_what_stands_under_the_name_of_a_secret_is_hidden(value: object, shown: object) -> None:
    assert masked(value) == shown


def test_texts_are_masked_wherever_they_are() -> None:
    url, hidden = "http://u:hunter2@host/", "http://u:***@host/"
    assert masked({"url": url, "n": 1, "in": [url, {"deep": (url, None)}]}) == {
        "url": hidden, "n": 1, "in": [hidden, {"deep": [hidden, None]}],
    }  # fmt: skip


def test_what_a_hostile_text_costs_grows_with_its_length_alone() -> None:
    nested = "http://h/" + "?a=" * 100_000 + "?token=hunter2"
    assert mask_urls(nested) == nested.removesuffix("hunter2") + "***"
    endless = "http://h/" + "?a" * 100_000
    assert mask_urls(endless) == endless
