"""`dataflow key`: make, list and revoke the API keys of a flow."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import click

from dataflow.access.key import Key
from dataflow.access.ring import LOOK_EVERY_S, add_key, read_ring, revoke
from dataflow.access.scopes import MEANING, SCOPES, Scope
from dataflow.cli.arguments import json_option
from dataflow.cli.common import Site, flow_option, print_json, show, split_flow, table
from dataflow.cli.dlq import moment

_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def _period_ms(ctx: click.Context, param: click.Parameter, value: str | None) -> int:
    """A length of time like 90d, 12h or 30m; 0 if none was given."""
    match = re.fullmatch(r"([1-9]\d{0,5})([smhd])", value or "")
    if value is not None and match is None:
        raise click.BadParameter(f"{value!r} is not a length of time: write 90d, 12h or 30m", ctx, param)
    return int(match[1]) * _UNITS_S[match[2]] * 1000 if match else 0


@click.group()
def key() -> None:
    """Make, list and revoke the API keys of a flow.

    Once a flow has a key, its HTTP services ask for one. Keys lie in the flow's Redis, as digests.
    """


@key.command(epilog="; ".join(f"{scope}: {meaning}" for scope, meaning in MEANING.items()))
@click.argument("words", nargs=-1, required=True, metavar="[FLOW] NAME")
@flow_option
@click.option(
    "--scope", "scopes", multiple=True, required=True, type=click.Choice(SCOPES), help="What it may do; repeatable."
)
@click.option("--expires", "lasts_ms", callback=_period_ms, metavar="PERIOD", help="How long it holds: 90d, 12h.")
@click.option("--rate", type=click.FloatRange(min=0, min_open=True), help="Most requests per second.  [default: any]")
@json_option
def new(
    words: tuple[str, ...],
    flow_path: Path | None,
    scopes: tuple[Scope, ...],
    lasts_ms: int,
    rate: float | None,
    as_json: bool,
) -> None:
    """Make a key for NAME and print it. It is shown this once and cannot be shown again.

    A name may have two live keys: make the second, give it out, revoke the first.
    """
    path, name = _split(words, flow_path)
    with Site(path) as site:
        expires_ms = time.time_ns() // 1_000_000 + lasts_ms if lasts_ms else 0
        wanted = tuple(scope for scope in SCOPES if scope in scopes)
        made, token = add_key(site.home, site.keys, name, wanted, expires_ms=expires_ms, rate=rate or 0.0)
        site.note("key new", made.id, name=name, scopes=list(made.scopes))
    if as_json:
        print_json({**_row(made), "key": token.text})
        return
    click.echo(token.text)
    told = f"key {made.id} of {name}: {', '.join(made.scopes)}; {_until(made)}"
    click.echo(f"{told}. Keep it: it is not shown again.", err=True)


@key.command("ls")
@click.argument("words", nargs=-1, metavar="[FLOW]")
@flow_option
@json_option
def list_(words: tuple[str, ...], flow_path: Path | None, as_json: bool) -> None:
    """List the keys, the revoked and expired ones too."""
    path, rest = split_flow(words, flow_path)
    if rest:
        raise click.UsageError("`key ls` takes no name")
    with Site(path) as site:
        rows = [_row(one) for one in read_ring(site.home, site.keys).values()]
    if as_json:
        print_json(rows)
        return
    made = table("keys", ("id", "name", "scopes", "state"), ("rate",), ("created", "expires"))
    for row in rows:
        scopes, rate = ", ".join(row["scopes"]), f"{row['rate']:g}/s" if row["rate"] else "-"
        made.add_row(row["id"], row["name"], scopes, row["state"], rate, row["created"], row["expires"] or "never")
    show(made)


@key.command("revoke")
@click.argument("words", nargs=-1, required=True, metavar="[FLOW] ID|NAME")
@flow_option
def revoke_(words: tuple[str, ...], flow_path: Path | None) -> None:
    """Revoke the key ID, or all keys of NAME. Services refuse it within seconds."""
    path, which = _split(words, flow_path)
    with Site(path) as site:
        gone = revoke(site.home, site.keys, which)
        for one in gone:
            site.note("key revoke", one.id, name=one.name)
    for one in gone:
        click.echo(f"revoked key {one.id} of {one.name}; refused everywhere within {LOOK_EVERY_S:g} s")
    if not gone:
        click.echo(f"no key of {which} was live")


def _split(words: tuple[str, ...], flow_path: Path | None) -> tuple[Path, str]:
    """The flow file, and the one word beside it."""
    path, rest = split_flow(words, flow_path)
    if len(rest) != 1:
        raise click.UsageError("name one key")
    return path, rest[0]


def _row(one: Key) -> dict[str, Any]:
    return {
        "id": one.id,
        "name": one.name,
        "scopes": list(one.scopes),
        "rate": one.rate,
        "state": one.state(time.time_ns() // 1_000_000),
        "created": moment(one.created_ms),
        "expires": moment(one.expires_ms) if one.expires_ms else "",
    }


def _until(one: Key) -> str:
    return f"it holds until {moment(one.expires_ms)}" if one.expires_ms else "it does not expire"
