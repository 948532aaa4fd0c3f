"""J, F and J&F, against hand-worked values and figures of davis2017-evaluation on real masks."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from desa2va.eval.metrics.boundary import boundary_accuracy
from desa2va.eval.metrics.video import VideoSegmentation, jaccard, sequence_statistics

REAL = Path(os.environ.get("DESA2VA_SHARED", Path(__file__).resolve().parents[4] / "shared")) / "real_data"


def test_empty_frames():
    """Two empty masks are perfect; one of them empty scores 0, in J and in F."""
    some = np.zeros((1, 8, 8), bool)
    some[0, 2:5, 2:5] = True
    none = np.zeros_like(some)
    for measure in (jaccard, boundary_accuracy):
        assert measure(none, none).tolist() == [1]
        assert measure(some, none).tolist() == measure(none, some).tolist() == [0]


def test_symmetry():
    """Swapping truth and prediction swaps precision and recall, so neither J nor F changes."""
    one, other = np.random.default_rng(0).random((2, 4, 20, 30)) < 0.5
    assert np.array_equal(jaccard(one, other), jaccard(other, one))
    assert np.allclose(boundary_accuracy(one, other), boundary_accuracy(other, one))


def test_statistics_by_hand():
    """Eight frames: DAVIS' bins share their edges (frames 0-2 and 5-7), so the decay of 1..0.3 is 0.9 - 0.4 = 0.5."""
    figures = sequence_statistics(np.arange(10, 2, -1) / 10)
    assert figures["mean"] == pytest.approx(0.65)
    assert figures["recall"] == pytest.approx(5 / 8)
    assert figures["decay"] == pytest.approx(0.5)


def test_expressions_are_averaged_after_frames():
    """A clip of 4 frames with J = 1 and one of 1 frame with J = 0 give 1/2, not 4/5."""
    square = np.zeros((4, 16, 16), bool)
    square[:, 4:9, 4:9] = True
    scores = VideoSegmentation()
    scores.add(square, square)
    scores.add(np.zeros((1, 16, 16), bool), square[:1])
    figures = scores.compute()
    assert figures["j"] == figures["f"] == figures["jf"] == figures["mean_iou"] == 0.5
    assert figures["jf_se"] == pytest.approx(0.5)


def test_mean_iou_counts_visible_frames_only():
    """An object that is seen on 1 of 4 frames and never found has J = 3/4, but nothing of it was found: 0."""
    truth = np.zeros((4, 16, 16), bool)
    truth[3, 4:9, 4:9] = True
    scores = VideoSegmentation()
    scores.add(np.zeros_like(truth), truth)
    assert scores.compute()["j"] == 0.75
    assert scores.compute()["mean_iou"] == 0


def test_an_object_never_seen_has_no_mean_iou():
    nothing = np.zeros((2, 8, 8), bool)
    scores = VideoSegmentation()
    scores.add(nothing, nothing)
    assert scores.compute()["j"] == 1
    assert scores.compute()["mean_iou"] is None


def test_bad_input():
    clip = np.zeros((2, 8, 8), bool)
    with pytest.raises(ValueError, match=r"\(2, 8, 8\) and \(1, 8, 8\)"):
        jaccard(clip, clip[:1])
    with pytest.raises(ValueError, match="frames, height, width"):
        boundary_accuracy(clip[0], clip[0])
    with pytest.raises(ValueError, match="at least one frame"):
        VideoSegmentation().add(clip[:0], clip[:0])
    with pytest.raises(ValueError, match="no sample was added"):
        VideoSegmentation().compute()


def read(folder, names):
    return np.stack([np.asarray(Image.open(folder / name)) for name in names])


@pytest.mark.skipif(not (REAL / "oracle_jf.json").is_file(), reason="the real masks are not here")
class TestAgainstDavis:
    """Figures of the unmodified davis2017-evaluation (OpenCV, scikit-image) on real masks, to its six decimals."""

    oracle = json.loads((REAL / "oracle_jf.json").read_text()) if (REAL / "oracle_jf.json").is_file() else {}

    @pytest.mark.parametrize("name", ["semi-supervised/osvos", "unsupervised/rvos"])
    def test_car_shadow(self, name):
        truths = REAL / "davis_car-shadow/Annotations/480p/car-shadow"
        names = sorted(path.name for path in truths.glob("*.png"))
        truth = read(truths, names) > 0
        prediction = read(REAL / "davis_results" / name / "car-shadow", names) == 1
        regions, boundaries = jaccard(prediction, truth), boundary_accuracy(prediction, truth)
        found = {
            "J_mean": regions.mean(),
            "F_mean": boundaries.mean(),
            "J_first": regions[0],
            "F_first": boundaries[0],
        }
        assert found == pytest.approx(self.oracle["car-shadow_vs_gt"][name], abs=1e-6)

    def test_blackswan(self):
        """Here the prediction of one program is the truth; object 1 is the one that the protocol matches."""
        truths = REAL / "davis_results/semi-supervised/osvos/blackswan"
        names = sorted(path.name for path in truths.glob("*.png"))
        truth = read(truths, names) > 0
        prediction = read(REAL / "davis_results/unsupervised/rvos/blackswan", names) == 1
        expected = self.oracle["rvos_vs_osvos_unsupervised_protocol"]
        for measure, name in ((jaccard, "J"), (boundary_accuracy, "F")):
            figures = sequence_statistics(measure(prediction, truth))
            assert figures == pytest.approx({key: expected[name][key] for key in figures}, abs=1e-6)
