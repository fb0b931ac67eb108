"""The matrix in docs/RELIABILITY.md has no empty cell, and every test that it names exists."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "RELIABILITY.md").read_text(encoding="utf-8")
STEPS = [
    "accept", "append", "read", "handle", "write out", "acknowledge", "delete", "insert", "settle", "tick",
    "task's state",
]  # fmt: skip
OUT_OF_REACH = "does not reach this step"
"""How a proof begins that the fault has nothing to do with a step. Its letter is X."""
TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


def table(head: str) -> list[list[str]]:
    """The rows of the table whose first column has this name."""
    lines = PAGE.splitlines()
    first = next(at for at, line in enumerate(lines) if line.startswith(f"| {head} |")) + 2
    rows = []
    for line in lines[first:]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows


def test_no_cell_is_empty() -> None:
    matrix = table("fault")
    assert len(matrix) >= 27
    for fault, *cells in matrix:
        assert len(cells) == len(STEPS), fault
        assert all(cells), fault
    head = next(line for line in PAGE.splitlines() if line.startswith("| fault |"))
    assert [cell.strip() for cell in head.strip("|").split("|")] == ["fault", *STEPS]


def test_every_fault_strikes_somewhere() -> None:
    faults = [fault for fault, *_ in table("fault")]
    assert len(set(faults)) == len(faults)
    for fault, *cells in table("fault"):
        assert any(not cell.startswith("X") for cell in cells), fault


def test_only_proofs_with_an_x_say_that_a_fault_does_not_reach_a_step() -> None:
    for proof, what, _ in table("proof"):
        assert proof.startswith("X") == what.startswith(OUT_OF_REACH), proof


def test_every_proof_of_a_cell_is_listed_and_every_listed_one_is_used() -> None:
    used = {proof for _, *cells in table("fault") for cell in cells for proof in cell.split()}
    listed = [proof for proof, _, _ in table("proof")]
    assert used == set(listed)
    assert len(set(listed)) == len(listed)


def test_every_proof_names_tests_that_exist() -> None:
    for proof, what, tests in table("proof"):
        named = TEST.findall(tests)
        assert what and named, proof
        for path, name in named:
            text = (ROOT / path).read_text(encoding="utf-8")
            assert re.search(rf"^\s*def {name}\(", text, re.MULTILINE), f"{proof}: {path}::{name}"


def test_every_test_of_faults_is_a_proof_of_some_cell() -> None:
    named = set(TEST.findall(PAGE))
    for path in sorted((ROOT / "tests" / "faults").glob("test_*.py")):
        if path != Path(__file__):
            for name in re.findall(r"^def (test_\w+)\(", path.read_text(encoding="utf-8"), re.MULTILINE):
                assert (f"tests/faults/{path.name}", name) in named, f"{path.name}::{name} is in no row of the proofs"


def test_the_line_of_a_long_run_is_there() -> None:
    found = re.search(r"chaos: kills=(\d+) accepted=(\d+) delivered=(\d+) dead=(\d+) lost=0 duplicates=0", PAGE)
    assert found is not None
    kills, accepted, delivered, dead = map(int, found.groups())
    assert kills >= 100 and delivered + dead == accepted
