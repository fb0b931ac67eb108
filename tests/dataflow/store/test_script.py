"""A script carries what it needs of the library, and nothing else."""

from __future__ import annotations

import re
from importlib.resources import files

import pytest

from dataflow.store.packing import packed_columns
from dataflow.store.redis import call, connect
from dataflow.store.script import WIDEST, joined, script

LIB = """-- Shared.
local MOST = 3

-- One that one() does not need, whatever this comment says of one().
local function other()
  return MOST
end

local function deep()
  return MOST
end

local function one()
  return deep()
end
"""
NAMES = sorted(path.name[:-4] for path in files("dataflow.store.scripts").iterdir() if path.name.endswith(".lua"))


def test_what_is_named_comes_along_with_what_that_names() -> None:
    text = joined(LIB, "-- other\nreturn one()\n")
    assert re.findall(r"^local (?:function )?(\w+)", text, re.MULTILINE) == ["MOST", "deep", "one"]
    assert text.endswith("-- other\nreturn one()\n")


def test_what_names_nothing_stays_as_it_is() -> None:
    assert joined(LIB, "return 1\n") == "return 1\n"


@pytest.mark.integration
@pytest.mark.parametrize("name", [name for name in NAMES if name != "lib"])
def test_no_script_reads_a_global_that_is_not_there(redis_url: str, name: str) -> None:
    """A function that was left out would be noticed only where it is called."""
    with connect(redis_url) as client:
        call(client, "SCRIPT", "LOAD", script(name).text)
    text = re.sub(r"--.*|'[^'\n]*'", "", script(name).text)
    called = set(re.findall(r"(?<![\w.:])([a-z_]\w*)\(", text))
    known = set(re.findall(r"local function (\w+)", text)) | set(
        re.findall(r"local ([\w, ]+?)(?: =|$)", text, re.MULTILINE)
    )
    known = {word for names in known for word in names.split(", ")}
    builtin = {
        "ipairs",
        "pairs",
        "unpack",
        "tonumber",
        "tostring",
        "type",
        "select",
        "error",
        "pcall",
        "next",
        "function",
    }
    words = {"if", "while", "for", "and", "or", "not", "return", "in", "until", "elseif"}
    assert called - known - builtin - words == set()


@pytest.mark.integration
@pytest.mark.parametrize("path", ["", "hub@1"])
@pytest.mark.parametrize("width", [1, 2, 3, 7, 40, WIDEST, WIDEST + 1])
def test_a_script_made_for_a_width_appends_what_the_general_one_does(redis_url: str, width: int, path: str) -> None:
    names = [b"f%d" % n for n in range(width)]
    columns = [[b"%d/%d" % (n, row) for row in range(5)] for n in range(width)]
    found = []
    with connect(redis_url) as client:
        for made_for in (0, width, width + 1):
            stream = f"{{a}}:to{made_for}"
            call(client, "HSET", f"{stream}:counts", "max_len", "100")
            keys = ["{a}:none", stream, f"{stream}:counts"]
            args = ["door", "0", 0, "", "", 5, path, packed_columns(0, names, columns)]
            assert script("append", made_for).run(client, keys, args) == [b"OK"]
            found.append([fields for _, fields in call(client, "XRANGE", stream, "-", "+")])
    expected = [
        [
            part
            for n in range(width)
            for part in (names[n], columns[n][row], *([b"_path", path.encode()] if path and not n else []))
        ]
        for row in range(5)
    ]
    assert found == [expected] * 3


def test_there_are_scripts_for_few_widths() -> None:
    assert script("append", 6) is script("append", 6)
    assert script("append", 6).sha != script("append", 7).sha
    assert script("append", WIDEST + 1) is script("append")
    assert "add_unrolled" not in script("lease", 6).text
