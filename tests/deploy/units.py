"""systemd's unit files, read as systemd does as far as ours need it, and their commands run without it."""

from __future__ import annotations

import shlex
import signal
import subprocess
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

from dataflow.process import dies_with_parent

ROOT = Path(__file__).parents[2]
SYSTEMD = ROOT / "deploy" / "systemd"
UNITS = sorted(SYSTEMD.glob("*.service"))
COMMON = SYSTEMD / "dataflow-.service.d" / "10-common.conf"


class Unit:
    """The settings of one service with those that all services share."""

    def __init__(self, path: Path) -> None:
        self.name = path.name
        self._values: dict[str, list[str]] = defaultdict(list)
        for file in (path, COMMON):
            for line in file.read_text(encoding="utf-8").splitlines():
                if "=" in line and not line.startswith("#"):
                    key, _, value = line.partition("=")
                    self._values[key].append(value)

    def get(self, key: str) -> str:
        """The only value of a setting."""
        (value,) = self._values[key]
        return value

    def all(self, key: str) -> list[str]:
        """Every value of a setting that may be given more than once."""
        return self._values[key]

    def command(self, instance: str = "") -> list[str]:
        """The words of ExecStart."""
        return [word.replace("%i", instance) for word in shlex.split(self.get("ExecStart"))]

    @property
    def environment_files(self) -> list[str]:
        """Where further variables are, in order; a later file wins."""
        prefix = self.name.removesuffix(".service").rstrip("@")
        return [name.replace("%p", prefix) for name in self.all("EnvironmentFile")]

    @property
    def environment(self) -> dict[str, str]:
        """The variables that the unit itself sets."""
        return dict(word.split("=", 1) for line in self.all("Environment") for word in shlex.split(line))


def _needed(root: Path, name: str) -> bool:
    """Whether an environment file is read: one with a dash before it may be missing."""
    return not name.startswith("-") or (root / name[1:].lstrip("/")).exists()


def read_environment(path: Path) -> dict[str, str]:
    """An environment file."""
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]
    return {name: "".join(shlex.split(value)) for name, _, value in (line.partition("=") for line in lines)}


def start(unit: Unit, root: Path, instance: str = "") -> subprocess.Popen[bytes]:
    """Run the command of a unit that is installed below a folder, with nothing but the environment systemd gives."""
    settings = unit.environment
    for name in unit.environment_files:
        settings |= read_environment(root / name.removeprefix("-").lstrip("/")) if _needed(root, name) else {}
    log = root.parent / f"{unit.name}{instance}.log"
    with log.open("ab") as out:
        return subprocess.Popen(
            relocated(unit.command(instance), root),
            env={"PATH": "/usr/local/bin:/usr/bin:/bin", **_below(settings, root)},
            cwd=f"{root}{unit.get('WorkingDirectory')}",
            stdout=out,
            stderr=out,
            umask=int(unit.get("UMask"), 8),
            start_new_session=True,
            preexec_fn=dies_with_parent(signal.SIGKILL),
        )


def relocated(words: list[str], root: Path) -> list[str]:
    """The same command, below a folder."""
    return [f"{root}{word}" if word.startswith("/opt/") else word for word in words]


def _below(settings: Mapping[str, str], root: Path) -> dict[str, str]:
    return {name: f"{root}{value}" if value.startswith("/var/") else value for name, value in settings.items()}
