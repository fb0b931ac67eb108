"""`dataflow key` and `dataflow history`."""

from __future__ import annotations

from pathlib import Path

import pytest

from dataflow.access.key import read_token
from tests.dataflow.cli.conftest import Site

pytestmark = pytest.mark.integration


def test_a_key_is_shown_once(site: Site) -> None:
    made = site.run("key", "new", "meter", "--scope", "produce", "--expires", "90d", "--rate", "10")
    assert made.code == 0, made.err
    token = read_token(made.out.strip())
    assert token is not None and "not shown again" in made.err and token.secret not in made.err
    listed = site.run("key", "ls", "--json")
    (row,) = listed.json
    assert (row["id"], row["name"], row["scopes"], row["state"], row["rate"]) == (
        token.id, "meter", ["produce"], "live", 10.0,
    )  # fmt: skip
    assert row["expires"] > row["created"]
    assert token.secret not in listed.out + site.run("key", "ls").out


def test_rotation(site: Site) -> None:
    ids = [site.run("key", "new", "meter", "--scope", "produce", "--json").json["id"] for _ in range(2)]
    third = site.run("key", "new", "meter", "--scope", "produce")
    assert third.code == 2 and "revoke one" in third.err
    assert site.run("key", "revoke", ids[0]).code == 0
    rows = site.run("key", "ls", "--json").json
    assert {row["id"]: row["state"] for row in rows} == {ids[0]: "revoked", ids[1]: "live"}
    assert site.run("key", "revoke", "nobody").code == 2


@pytest.mark.parametrize(
    "words", [("new", "m"), ("new", "m", "--scope", "god"), ("new", "m", "--scope", "viewer", "--expires", "soon")]
)
def test_what_cannot_be_made(site: Site, words: tuple[str, ...]) -> None:
    assert site.run("key", *words).code == 2
    assert site.run("key", "ls", "--json").json == []


def test_send_uses_the_key_of_the_environment(site: Site, hub: str, monkeypatch: pytest.MonkeyPatch) -> None:
    row = '{"rec_id": "1", "task_for": "t", "function_type": "f", "n": 1, "x": null}\n'
    (site.folder / "rows.jsonl").write_text(row)
    token = site.run("key", "new", "me", "--scope", "produce").out.strip()
    refused = site.run("send", "rows.jsonl", "--hub", hub)
    assert refused.code == 2 and "X-API-Key" in refused.err
    monkeypatch.setenv("DATAFLOW_API_KEY", token)
    assert site.run("send", "rows.jsonl", "--hub", hub).code == 0
    monkeypatch.delenv("DATAFLOW_API_KEY")
    Path(site.folder / "key").write_text(token)
    monkeypatch.setenv("DATAFLOW_API_KEY_FILE", str(site.folder / "key"))
    assert site.run("send", "rows.jsonl", "--hub", hub, "--again").code == 0


def test_what_people_change_is_in_the_history(site: Site) -> None:
    assert site.run("apply").code == 0
    made = site.run("key", "new", "meter", "--scope", "viewer", "--json").json
    site.run("key", "revoke", "meter")
    site.run("dlq", "replay", "one", "--all")
    site.run("resume", "copy")
    entries = site.run("history", "--json").json
    assert [(one["what"], one["subject"]) for one in entries] == [
        ("apply", "net"), ("key new", made["id"]), ("key revoke", made["id"]), ("dlq replay", "one"),
        ("edge resume", "copy"),
    ]  # fmt: skip
    assert all(one["who"].startswith("cli@") for one in entries)
    assert made["key"] not in str(entries)
    assert "edge resume" in site.run("history").out
