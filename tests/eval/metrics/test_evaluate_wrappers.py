"""The metrics through the `evaluate` library."""

from pathlib import Path

import numpy as np
import pytest

import desa2va.eval.metrics.referring as referring_module
from desa2va.eval.metrics.generalized import GeneralizedReferring
from desa2va.eval.metrics.referring import ReferringSegmentation
from desa2va.eval.metrics.video import VideoSegmentation

FOLDER = Path(referring_module.__file__).parent


@pytest.fixture(scope="module")
def load(tmp_path_factory):
    """`evaluate.load` that leaves nothing in the user's cache; its package of modules can only have one place."""
    import evaluate

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluate.config, "HF_MODULES_CACHE", str(tmp_path_factory.mktemp("modules")))
        cache = str(tmp_path_factory.mktemp("metrics"))
        yield lambda name: evaluate.load(str(FOLDER / name), cache_dir=cache)


@pytest.mark.parametrize(
    ("name", "pure", "shapes"),
    [
        ("referring_segmentation", ReferringSegmentation, [(3, 4), (5, 2), (3, 4)]),
        ("generalized_referring_segmentation", GeneralizedReferring, [(3, 4), (5, 2), (3, 4)]),
        ("video_segmentation", VideoSegmentation, [(2, 9, 8), (3, 7, 9), (2, 9, 8)]),
    ],
)
def test_folder_loads_and_agrees(name, pure, shapes, load):
    """Guards the import scan of `evaluate`, ragged masks, and batches that are lost between calls."""
    metric = load(name)
    rng = np.random.default_rng(0)
    pairs = [tuple(rng.random((2, *shape)) < 0.5) for shape in shapes]
    expected = pure()
    for prediction, truth in pairs:
        expected.add(prediction, truth)
    metric.add_batch(predictions=[pairs[0][0], pairs[1][0]], references=[pairs[0][1], pairs[1][1]])
    metric.add_batch(predictions=[pairs[2][0]], references=[pairs[2][1]])
    assert metric.compute() == pytest.approx(expected.compute())


def test_protocols_pass_through(load):
    """An option that stops at the wrapper would silently give the other protocol's figure."""
    one, half = [[True, False]], [[True, True]]
    figures = load("referring_segmentation").compute(
        predictions=[one], references=[half], protocol="lisa", inclusive=True
    )
    assert figures["precision@0.5"] == 0  # 1 / (2 + 1e-5) is below .5
    assert (
        load("generalized_referring_segmentation").compute(
            predictions=[one], references=[[[False, False]]], min_pixels=2
        )["n_acc"]
        == 1
    )


def test_davis_by_folder(load):
    """Index maps through `datasets`, matched by overlap where asked."""
    truth = np.zeros((3, 12, 14), np.uint8)
    truth[:, 2:6, 2:6], truth[:, 7:11, 7:12] = 1, 2
    swapped = np.where(truth > 0, 3 - truth, 0).astype(np.uint8)
    metric = load("davis_segmentation")
    metric.add(prediction=swapped, reference=truth)
    assert metric.compute(protocol="unsupervised")["jf"] == 1
    assert metric.compute(predictions=[swapped], references=[truth])["jf"] == 0
