"""A verdict on its way through the source: what comes back is what was frozen."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sync.sink import Refusal, Verdict

refusals = st.builds(Refusal, st.text(), st.text(), st.text())
extras = st.dictionaries(
    st.text(), st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text() | st.lists(st.integers(0, 9))
)
verdicts = st.builds(
    Verdict, st.dictionaries(st.integers(0, 500), refusals), st.frozensets(st.integers(0, 500)), extras
)


@given(verdicts)
def test_it_comes_back_the_same(verdict: Verdict) -> None:
    assert Verdict.from_json(verdict.to_json()) == verdict


@given(verdicts)
def test_the_text_does_not_depend_on_the_order_of_its_parts(verdict: Verdict) -> None:
    turned = Verdict(dict(reversed(verdict.refused.items())), verdict.skip, dict(reversed(list(verdict.extra.items()))))
    assert turned.to_json() == verdict.to_json()


def test_long_runs_of_skipped_rows_are_short() -> None:
    assert len(Verdict(skip=frozenset(range(100_000))).to_json()) < 60
