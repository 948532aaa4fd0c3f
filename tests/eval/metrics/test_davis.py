"""DAVIS' two protocols, by hand and against figures of davis2017-evaluation."""

import itertools
import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from desa2va.eval.metrics.boundary import boundary_accuracy
from desa2va.eval.metrics.davis import DavisSegmentation, semi_supervised_scores, unsupervised_scores
from desa2va.eval.metrics.video import jaccard

REAL = Path(os.environ.get("DESA2VA_SHARED", Path(__file__).resolve().parents[4] / "shared")) / "real_data"


def squares(*corners, frames=4):
    """Index map of squares of 6 pixels, numbered in order."""
    clip = np.zeros((frames, 40, 60), np.uint8)
    for index, (row, column) in enumerate(corners, start=1):
        clip[:, row : row + 6, column : column + 6] = index
    return clip


def test_semi_supervised_by_hand():
    """Object 1 is perfect but on frame 0, which does not count; object 2 is missing on frame 2 of 0 to 3: J = 1/2."""
    truth = squares((2, 2), (20, 30))
    prediction = truth.copy()
    prediction[0] = 0
    prediction[2][truth[2] == 2] = 0
    regions, boundaries = semi_supervised_scores(prediction, truth)
    assert regions.tolist() == boundaries.tolist() == [[1, 1], [1, 0]]


def test_matched_by_index_or_by_overlap():
    """Swapped indices cost everything in one protocol and nothing in the other."""
    truth, swapped = squares((2, 2), (20, 30)), squares((20, 30), (2, 2))
    assert semi_supervised_scores(swapped, truth)[0].max() == 0
    assert unsupervised_scores(swapped, truth)[0].min() == 1


def test_void_is_taken_out_of_the_unsupervised_protocol_only():
    """A prediction that fills void is right in one protocol and wrong in the other, where void is background."""
    truth = squares((2, 2))
    prediction = truth.copy()
    truth[:, 30:, :] = 255
    prediction[:, 30:36, 10:16] = 1
    assert unsupervised_scores(prediction, truth)[0].min() == 1
    assert semi_supervised_scores(prediction, truth)[0].max() == 0.5


def test_objects_are_those_of_the_first_frame():
    """An object that enters later is not scored, and claiming it is an error where indices must agree."""
    truth = squares((2, 2))
    truth[2:, 20:26, 30:36] = 2
    assert len(unsupervised_scores(truth, truth)[0]) == 1
    with pytest.raises(ValueError, match="index 2, the sequence has 1 objects"):
        semi_supervised_scores(truth, truth)


def test_matching_is_the_best_of_all():
    """Against every assignment, tried one by one on the pure functions; there are more objects than proposals."""
    rng = np.random.default_rng(3)
    for _ in range(5):
        truth = squares(*rng.integers(0, 30, (3, 2)), frames=2)
        truth[0, 36:39, 50:53], truth[0, 36:39, 54:57] = 3, 2
        prediction = np.where(rng.random(truth.shape) < 0.8, (truth % 3).astype(np.uint8), 0)
        found = sum(scores.mean() for scores in unsupervised_scores(prediction, truth)) / 2
        best = max(
            np.mean(
                [
                    (jaccard(prediction == p, truth == o) + boundary_accuracy(prediction == p, truth == o)).mean() / 2
                    for o, p in enumerate(order, start=1)
                ]
            )
            for order in itertools.permutations((1, 2, 3))
        )
        assert found == pytest.approx(best, abs=1e-12)


def test_bad_input():
    truth = squares((2, 2))
    with pytest.raises(ValueError, match="at most 20 proposals"):
        unsupervised_scores(np.full_like(truth, 21), truth)
    with pytest.raises(ValueError, match="shows no object"):
        unsupervised_scores(truth, np.zeros_like(truth))
    with pytest.raises(ValueError, match="three are needed, got 2"):
        semi_supervised_scores(truth[:2], truth[:2])
    with pytest.raises(ValueError, match="hold indices"):
        unsupervised_scores(truth / 2, truth)
    with pytest.raises(ValueError, match="index maps"):
        unsupervised_scores(truth[:1], truth)


def test_objects_are_averaged_not_sequences():
    """Two objects at 1 and one at 0 are 2/3, and the order of the sequences does not show."""
    truth, missed = squares((2, 2), (20, 30)), squares((2, 2))
    one, other = DavisSegmentation("unsupervised"), DavisSegmentation("unsupervised")
    one.add("b", truth, truth)
    other.add("a", np.zeros_like(missed), missed)
    one.merge(other)
    figures = one.compute()
    assert figures["n"] == 3
    assert figures["j"] == figures["f"] == figures["jf"] == pytest.approx(2 / 3)
    assert (figures["j_recall"], figures["j_decay"]) == (pytest.approx(2 / 3), 0)
    assert list(figures["per_object"]) == ["a_1", "b_1", "b_2"]
    one.merge(other)
    with pytest.raises(ValueError, match="'a_1' was added more than once"):
        one.compute()


@pytest.mark.skipif(not (REAL / "oracle_jf.json").is_file(), reason="the real masks are not here")
def test_blackswan_of_davis():
    """The unmodified program's figures on real masks, the prediction of one program taken as truth."""
    folders = [REAL / "davis_results" / name / "blackswan" for name in ("unsupervised/rvos", "semi-supervised/osvos")]
    names = sorted(path.name for path in folders[1].glob("*.png"))
    prediction, truth = (np.stack([np.asarray(Image.open(folder / name)) for name in names]) for folder in folders)
    scores = DavisSegmentation("unsupervised")
    scores.add("blackswan", prediction, truth)
    figures = scores.compute()
    expected = json.loads((REAL / "oracle_jf.json").read_text())["rvos_vs_osvos_unsupervised_protocol"]
    for name in ("J", "F"):
        found = {key: figures[f"{name.lower()}{suffix}"] for key, suffix in (("mean", ""), ("recall", "_recall"))}
        found["decay"] = figures[f"{name.lower()}_decay"]
        assert found == pytest.approx({key: expected[name][key] for key in found}, abs=1e-6)
        per_object = {key: values[name.lower()] for key, values in figures["per_object"].items()}
        assert per_object == pytest.approx(expected[name]["per_object"], abs=1e-6)
