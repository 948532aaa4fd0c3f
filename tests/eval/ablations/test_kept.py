"""What is measured once stays, whoever measures."""

from desa2va.eval.ablations.kept import kept_or_measured, read_kept


def test_a_value_is_measured_once(tmp_path):
    path, asked = tmp_path / "budgets.json", []
    measure = lambda: asked.append(1) or 7 * len(asked)  # noqa: E731
    assert [kept_or_measured(path, "a", measure) for _ in range(3)] == [7, 7, 7]
    assert len(asked) == 1


def test_what_is_not_known_yet_is_not_kept(tmp_path):
    path = tmp_path / "budgets.json"
    assert kept_or_measured(path, "a", lambda: None) is None
    assert not path.exists()
    assert kept_or_measured(path, "a", lambda: 3) == 3


def test_of_two_that_measure_at_once_the_first_is_right_and_nothing_is_lost(tmp_path):
    """Two grids over one folder overwrote each other's budgets, and trained the same arm for two lengths."""
    path = tmp_path / "budgets.json"

    def meanwhile():
        kept_or_measured(path, "a", lambda: 1)
        kept_or_measured(path, "b", lambda: 5)
        return 2

    assert kept_or_measured(path, "a", meanwhile) == 1
    assert read_kept(path) == {"a": 1, "b": 5}
    assert not (tmp_path / ".training").exists()
