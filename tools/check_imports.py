"""The import rule: rooms never import one another, and the core imports rooms only where commands are put together.

    python tools/check_imports.py [ROOT]

Prints every breach as `file:line: what`, and exits with 1 if there is any. Reads the source, runs none of it.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

CORE = "dataflow"
ROOMS = ("message_hub", "workers", "sync", "scheduler", "console")
COMPOSITION = ("dataflow/cli/", "dataflow/up/")
"""Where the core may import a room: inside a function, so that a command loads no room but its own, or for types."""


@dataclass(frozen=True, slots=True)
class Import:
    """One import of a top-level package."""

    package: str
    line: int
    lazy: bool


@dataclass(frozen=True, slots=True)
class Breach:
    """An import that the rule forbids."""

    path: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.text}"


def check_tree(root: Path) -> list[Breach]:
    """Every breach in the core and the rooms below a folder, by file and line."""
    files = [file for top in (CORE, *ROOMS) for file in sorted((root / top).rglob("*.py"))]
    return [
        breach
        for file in files
        for breach in check_source(file.relative_to(root).as_posix(), file.read_text(encoding="utf-8"))
    ]


def check_source(path: str, source: str) -> list[Breach]:
    """Every breach in one module. `path` is relative to the root, with slashes."""
    found = ((found, _fault(path, found)) for found in imports(ast.parse(source, path)))
    return [Breach(path, one.line, fault) for one, fault in found if fault]


def imports(node: ast.AST, lazy: bool = False) -> Iterator[Import]:
    """All absolute imports below a node. Relative ones stay in their own package."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            for alias in child.names:
                yield Import(alias.name.partition(".")[0], child.lineno, lazy)
        elif isinstance(child, ast.ImportFrom) and child.level == 0 and child.module:
            yield Import(child.module.partition(".")[0], child.lineno, lazy)
        inside = lazy or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) or _for_types(child)
        yield from imports(child, inside)


def _for_types(node: ast.AST) -> bool:
    """Whether this is `if TYPE_CHECKING:`, which never runs."""
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def _fault(path: str, found: Import) -> str:
    """What is wrong with an import, "" if it may stand."""
    here = path.partition("/")[0]
    if found.package not in ROOMS or found.package == here:
        return ""
    if here in ROOMS:
        return f"room {here} imports room {found.package}: rooms talk through Redis and HTTP, and share {CORE}"
    if not path.startswith(COMPOSITION):
        return f"the core imports room {found.package}: only {' and '.join(COMPOSITION)} may"
    if not found.lazy:
        return f"room {found.package} is imported when the module is: import it inside the function that needs it"
    return ""


def main(arguments: list[str]) -> int:
    """Check a tree and print what is wrong with it."""
    root = Path(arguments[0]) if arguments else Path(__file__).resolve().parents[1]
    breaches = check_tree(root)
    for breach in breaches:
        print(breach)
    print("import rule: " + (f"{len(breaches)} breaches" if breaches else "kept"), file=sys.stderr)
    return 1 if breaches else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
