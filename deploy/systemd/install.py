#!/usr/bin/env python3
"""Installs, upgrades or removes the systemd services of a flow. docs/DEPLOYMENT.md tells how they are used.

    sudo python3 deploy/systemd/install.py --flow examples/water     # install; again: upgrade
    sudo python3 deploy/systemd/install.py --uninstall               # flow, addresses and data stay
    sudo python3 deploy/systemd/install.py --uninstall --purge       # nothing stays

It can be repeated at any time and starts nothing: at its end it prints the commands that do. It needs Python 3.11 or
later with `venv`, and no package. With --root everything goes below that folder, and neither users nor systemd of this
machine are touched; --dry-run only tells what would be done.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
CHECKOUT = HERE.parents[1]

PROGRAM = Path("/opt/dataflow/venv")
FLOW = Path("/opt/dataflow/flow")
ADDRESSES = Path("/etc/dataflow/dataflow.env")
STATE = Path("/var/lib/dataflow")
UNITS = Path("/usr/local/lib/systemd/system")
USERS = Path("/usr/local/lib/sysusers.d/dataflow.conf")
COMMAND = Path("/usr/local/bin/dataflow")

UNIT_FILES = sorted(
    path.relative_to(HERE) for path in HERE.rglob("*") if path.suffix in (".service", ".target", ".conf")
)
UNIT_FILES.remove(Path("sysusers.conf"))

# What the installed flow has, asked of the installed program: the variables that it lacks, in one line; then its units,
# by its workers, and whether it has edges and tasks. The services' own environment is not complete before they run.
ASK = """
import sys
from pathlib import Path
from dataflow.errors import FlowError
from dataflow.flow.load import outline
try:
    found = outline(Path(sys.argv[1]))
except FlowError as error:
    sys.exit(str(error))
flow = found.flow
print(*found.unset)
print(*(["dataflow-sync-api"] if flow.edges else []))
print(*(["dataflow-scheduler"] if flow.scheduled else []))
print(*(f"dataflow-worker@{name}" for name in flow.workers))
"""
WRAPPER = """#!/bin/sh
# The command `dataflow` with the addresses and the user of the services. Written by the installer.
set -a
. {addresses}
DATAFLOW_DATA_DIR={state}
set +a
cd {flow} || exit 1
exec {as_user}{program}/bin/dataflow "$@"
"""


class Refused(Exception):
    """Something is missing on this machine or in the command line; nothing more was done."""


@dataclass(frozen=True)
class Found:
    """What a flow has: the services that run it, and the variables of its file that nothing sets yet."""

    units: list[str]
    unset: list[str]


@dataclass(frozen=True)
class Site:
    """Where things go: below `root`, for real or only told."""

    root: Path
    dry: bool

    @property
    def real(self) -> bool:
        """Whether this machine's own users and systemd are meant."""
        return self.root == Path("/")

    def at(self, path: Path) -> Path:
        """A path of the installed system as a path of this machine."""
        return self.root / path.relative_to("/")

    def say(self, text: str) -> None:
        """Tell one step."""
        print(f"{'would ' if self.dry else ''}{text}")

    def write(self, path: Path, text: str, mode: int) -> None:
        """Put a file in place as a whole; an equal one stays as it is."""
        target = self.at(path)
        if target.is_file() and target.read_text() == text and target.stat().st_mode & 0o777 == mode:
            return
        self.say(f"write {target}")
        if self.dry:
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        draft = target.with_name(target.name + ".new")
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "w") as file:
            file.write(text)
        draft.chmod(mode)
        draft.replace(target)

    def remove(self, path: Path) -> None:
        """Remove a file or a folder, if it is there."""
        target = self.at(path)
        if not target.exists():
            return
        self.say(f"remove {target}")
        if not self.dry:
            shutil.rmtree(target) if target.is_dir() else target.unlink()

    def run(self, *command: str | Path) -> None:
        """Run a command. Raises Refused if it fails."""
        words = [str(word) for word in command]
        self.say(f"run {' '.join(words)}")
        if self.dry:
            return
        done = subprocess.run(words, check=False)
        if done.returncode:
            raise Refused(f"{words[0]} failed with exit code {done.returncode}: see above")


def install(site: Site, source: str, flow: Path | None, python: str) -> None:
    """Install or upgrade."""
    _user(site)
    _program(site, source, python)
    _addresses(site)
    if flow is not None:
        _flow(site, flow.resolve())
    _requirements(site)
    for unit in UNIT_FILES:
        site.write(UNITS / unit, (HERE / unit).read_text(), 0o644)
    paths = {name: site.at(path) for name, path in
             {"addresses": ADDRESSES, "state": STATE, "flow": FLOW, "program": PROGRAM}.items()}  # fmt: skip
    as_user = "setpriv --reuid=dataflow --regid=dataflow --init-groups " if site.real else ""
    site.write(COMMAND, WRAPPER.format(**paths, as_user=as_user), 0o755)
    if site.real:
        site.run("systemctl", "daemon-reload")
    _tell_next(site)


def uninstall(site: Site, purge: bool) -> None:
    """Stop everything and remove it. Flow, addresses and data go with `purge` alone; the user stays."""
    if site.real and site.at(UNITS / "dataflow.target").exists():
        site.run("systemctl", "disable", "--now", "dataflow.target")
        site.run("systemctl", "stop", "dataflow-*.service")
    for unit in UNIT_FILES:
        site.remove(UNITS / unit)
    site.remove(UNITS / "dataflow-.service.d")
    wanted = site.at(Path("/etc/systemd/system/dataflow.target.wants"))
    for link in sorted(wanted.glob("dataflow-*")) if wanted.is_dir() else []:
        site.say(f"remove {link}")
        if not site.dry:
            link.unlink()
    for path in (COMMAND, USERS, PROGRAM):
        site.remove(path)
    for path in (FLOW.parent, ADDRESSES.parent, STATE) if purge else ():
        site.remove(path)
    if site.real:
        site.run("systemctl", "daemon-reload")
    if not purge:
        print(f"kept: {FLOW}, {ADDRESSES.parent}, {STATE} (remove them with --uninstall --purge)")


def _user(site: Site) -> None:
    site.write(USERS, (HERE / "sysusers.conf").read_text(), 0o644)
    if site.real:
        site.run("systemd-sysusers", site.at(USERS))


def _program(site: Site, source: str, python: str) -> None:
    venv = site.at(PROGRAM)
    if venv.exists() and not site.dry and not _others_may_enter(venv):
        site.remove(PROGRAM)  # an installer of former times made it as the umask of its shell said
        venv.parent.chmod(0o755)
    if not (venv / "bin" / "python").exists():
        site.run(python, "-m", "venv", venv)
    with tempfile.TemporaryDirectory(prefix="dataflow-install-") as scratch:
        if Path(source).is_dir():
            source = str(_copy_of_checkout(site, Path(source), Path(scratch) / "source"))
        _pip(site, "--upgrade", source)


def _others_may_enter(folder: Path) -> bool:
    return all(path.stat().st_mode & 0o005 == 0o005 for path in (folder, folder.parent))


def _copy_of_checkout(site: Site, checkout: Path, copy: Path) -> Path:
    """What pip builds in: it leaves files where it builds, and takes up those of an earlier build."""
    site.say(f"copy the packages of {checkout}")
    if not site.dry:
        shutil.copytree(
            checkout, copy, ignore=shutil.ignore_patterns(".*", "__pycache__", "build", "*.egg-info", "tests")
        )
    return copy


def _requirements(site: Site) -> None:
    """What the handlers of the flow import."""
    wanted = site.at(FLOW / "requirements.txt")
    if wanted.exists():
        _pip(site, "--requirement", wanted)


def _pip(site: Site, *arguments: str | Path) -> None:
    python = site.at(PROGRAM) / "bin" / "python"
    site.run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *arguments)


def _addresses(site: Site) -> None:
    if not site.at(ADDRESSES).exists():
        site.write(ADDRESSES, (HERE / "dataflow.env.example").read_text(), 0o600)


def _flow(site: Site, folder: Path) -> None:
    """Copy the folder of a flow; files that it no longer has go, and what is not of the flow is left out."""
    target = site.at(FLOW)
    if not (folder / "flow.yml").is_file():
        raise Refused(f"--flow {folder}: there is no flow.yml in that folder")
    if target.is_relative_to(folder):
        raise Refused(f"--flow {folder}: the flow is installed in that folder; name another one")
    _look_at_flow(site, folder / "flow.yml")  # a flow with problems does not take the place of a good one
    site.say(f"copy {folder} to {target}")
    if site.dry:
        return
    draft = target.with_name(target.name + ".new")
    shutil.rmtree(draft, ignore_errors=True)
    shutil.copytree(folder, draft, ignore=shutil.ignore_patterns(".*", "__pycache__"))
    for path in [draft, *draft.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
    shutil.rmtree(target, ignore_errors=True)
    draft.replace(target)


def _tell_next(site: Site) -> None:
    flow = site.at(FLOW / "flow.yml")
    if not flow.exists():
        print(f"next: put flow.yml and the modules of its handlers into {flow.parent}, and run this again")
        return
    found = _look_at_flow(site, flow)
    units = ["dataflow.target", "dataflow-apply", "dataflow-hub", "dataflow-sync", *found.units]
    print(f"next: write the addresses of the servers into {site.at(ADDRESSES)}, then")
    if found.unset:
        print(f"  (flow.yml names variables that are not set there yet: {', '.join(found.unset)})")
    print(f"  systemctl enable {' '.join(units)}")
    print("  systemctl restart dataflow.target")


def _look_at_flow(site: Site, flow: Path) -> Found:
    """Read a flow file as the services will, with their addresses. Raises Refused: with every problem of it."""
    if site.dry:
        return Found(["dataflow-worker@NAME"], [])
    done = subprocess.run(
        [site.at(PROGRAM) / "bin" / "python", "-P", "-c", ASK, flow],
        env={**_environment(site), "PYTHONDONTWRITEBYTECODE": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise Refused(f"{flow} has problems:\n{done.stderr.strip()}")
    unset, _, units = done.stdout.partition("\n")
    return Found(units.split(), unset.split())


def _environment(site: Site) -> dict[str, str]:
    """What the services will have: the variables of this shell are none of theirs."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "LC_ALL") if name in os.environ}
    return kept | _variables(site.at(ADDRESSES))


def _variables(path: Path) -> dict[str, str]:
    """An environment file of systemd: NAME=value a line, in quotes or not; comments begin with # or ;."""
    found = {}
    for number, line in enumerate(path.read_text().splitlines(), 1):
        name, sign, value = line.strip().partition("=")
        if not name or name[0] in "#;":
            continue
        try:
            found[name.strip()] = "".join(shlex.split(value))
        except ValueError as error:
            raise Refused(f"{path}, line {number}: {name} cannot be read ({error})") from error
        if not sign:
            raise Refused(f"{path}, line {number}: that is not NAME='value'")
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line. Returns the exit code."""
    parser = argparse.ArgumentParser(description="Install, upgrade or remove the systemd services of a flow.")
    parser.add_argument("--flow", type=Path, help="folder with flow.yml and the modules of its handlers")
    parser.add_argument("--source", default=str(CHECKOUT), help="what pip installs [this checkout]")
    parser.add_argument("--python", default=sys.executable, help="the interpreter of the services [this one]")
    parser.add_argument("--root", type=Path, default=Path("/"), help="install below this folder")
    parser.add_argument("--dry-run", action="store_true", help="only tell what would be done")
    parser.add_argument("--uninstall", action="store_true", help="remove; keeps flow, addresses and data")
    parser.add_argument("--purge", action="store_true", help="with --uninstall: keep nothing")
    given = parser.parse_args(arguments)
    os.umask(0o022)  # the services' user reads what is installed here; what is secret has a mode of its own
    site = Site(given.root.resolve(), given.dry_run)
    try:
        if given.purge and not given.uninstall:
            raise Refused("--purge goes with --uninstall")
        if site.real and not site.dry and os.geteuid() != 0:
            raise Refused("this needs root: run it with sudo, or try it with --dry-run or --root FOLDER")
        if site.real and any(Path(given.python).resolve().is_relative_to(home) for home in ("/root", "/home")):
            raise Refused(f"services see no home folder, and {given.python} is in one: name another with --python")
        if given.uninstall:
            uninstall(site, given.purge)
        else:
            install(site, given.source, given.flow, given.python)
    except Refused as error:
        print(f"install: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
