"""The benchmark of data runs, and measures what it says."""

from benchmarks.data_pipeline import data_wait, ragged_objects


def test_figures_of_a_small_batch():
    """Times are not compared; the names that the documents cite are."""
    figures = ragged_objects(128, 128, batch_size=2)
    assert set(figures) >= {"ragged", "padded", "questions", "padded_over_ragged", "without_encoder"}
    assert all(value > 0 for name, value in figures.items() if name != "without_encoder")


def test_waits_and_bytes_of_two_steps():
    figures = data_wait(steps=1, batch_size=1, workers=1, picture=64, sam=128)
    assert 0 <= figures["wait_share"] <= 1
    assert figures["megabytes_raw"] < figures["megabytes"]
