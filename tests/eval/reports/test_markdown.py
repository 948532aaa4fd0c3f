"""How figures are written."""

import pytest

from desa2va.eval.reports.markdown import show, table


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        ((1.0, 0.988), ["1.0000", "0.9880"]),
        ((-1.0, 0.5), ["-1.0000", "0.5000"]),
        ((74.1, 0.52), ["74.10", "0.52"]),
        ((0.25, None, 3, True, "x"), ["0.2500", "–", "3", "yes", "x"]),
        ((1375.5,), ["1,375.50"]),
    ],
)
def test_figures_of_one_kind_have_the_same_digits(values, shown):
    """A perfect 1.00 stood beside .9880, and 0.5200 percent beside 74.10."""
    assert [show(value, values) for value in values] == shown
    assert table(["a"] * len(values), [values]).splitlines()[-1] == f"| {' | '.join(shown)} |"
