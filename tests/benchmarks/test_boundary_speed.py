"""The benchmark of F compares like with like."""

from benchmarks.boundary_speed import clips, compare


def test_both_sides_score_alike():
    """No time is asserted; that the slow side computes the same is, and that no kind of mask is trivial."""
    report = compare(frames=2, size=(60, 90))
    assert list(report) == ["tenth", "full", "noise"]
    assert all(figures["difference"] <= 1e-9 for figures in report.values())
    assert all(0 < truth.mean() < 1 for _, truth in clips(2, (60, 90)).values())
