"""Modules of shared tests, whose asserts pytest shall explain like those of test files."""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite("tests.dataflow.store.stores", "tests.dataflow.store.store_contract")
