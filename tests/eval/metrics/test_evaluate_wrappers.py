"""The metrics through the `evaluate` library."""

from pathlib import Path

import numpy as np
import pytest

import desa2va.eval.metrics.captions as captions_module
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


CLIP = np.zeros((2, 8, 9), bool)
CLIP[:, 2:5, 2:6] = True
FOUR = ["red", "blue", "green", "white"]


@pytest.mark.parametrize(
    ("name", "columns", "options", "key", "expected"),
    [
        (
            "revos_segmentation",
            {"predictions": [CLIP] * 2, "references": [CLIP] * 2, "foregrounds": [CLIP] * 2, "kinds": [0, 1]},
            {"decimals": None},
            "overall",
            {"n": 2, "j": 100, "f": 100, "a": 100, "r": 100, "jf": 100},
        ),
        (
            "ref_sav_segmentation",
            {"predictions": [CLIP], "references": [CLIP], "kinds": [1]},
            {},
            "short",
            {"n": 1, "j": 100, "f": 100, "a": 100, "jf": 100},
        ),
        (
            "ref_davis17_segmentation",
            {"predictions": [CLIP[None] * 0.7], "references": [CLIP.astype(np.uint8)], "annotators": [2]},
            {"protocol": "expression"},
            "annotators",
            [None, None, 1, None],
        ),
        (
            "concept_segmentation",
            {"predictions": [CLIP, CLIP[:0], CLIP], "references": [CLIP, CLIP[:0], CLIP[:1]]},
            {"protocol": "exact"},
            "positive_micro_f1@0.5",
            6 / 7,
        ),
        (
            "grounded_conversation",
            {
                "predictions": ["a cat"],
                "phrases": [["cat", "hat"]],
                "masks": [CLIP],
                "references": [["a cat"]],
                "true_phrases": [["cat"]],
                "true_masks": [CLIP[:1]],
            },
            {"similarity": lambda one, other: float(one == other), "captions": False},
            "recall",
            1,
        ),
        (
            "choice_accuracy",
            {
                "predictions": ["A", "B"],
                "references": ["A", "C"],
                "options": [FOUR, FOUR],
                "indices": [3, 1_000_003],
                "categories": ["x", "x"],
            },
            {"circular": True},
            "accuracy",
            0,
        ),
        (
            "yes_no_accuracy",
            {"predictions": ["I say yes"], "references": [True]},
            {"rule": "vlmevalkit"},
            "accuracy",
            1,
        ),
        (
            "mme_score",
            {
                "predictions": ["yes", "no"],
                "references": [True, False],
                "tasks": ["count"] * 2,
                "pictures": ["1.jpg"] * 2,
            },
            {},
            "perception",
            200,
        ),
        (
            "mmmu_accuracy",
            {
                "predictions": ["hm", "hm"],
                "references": ["B", "3.5"],
                "options": [FOUR, []],
                "indices": [3, 4],
                "categories": ["x", "x"],
            },
            {},
            "drawn",
            1,
        ),
        (
            "video_mme_accuracy",
            {
                "predictions": ["Answer: C"],
                "references": ["C"],
                "options": [FOUR],
                "durations": ["short"],
                "domains": ["Knowledge"],
                "sub_categories": ["Law"],
                "task_types": ["OCR Problems"],
            },
            {"rule": "vlmevalkit"},
            "answered",
            1,
        ),
        (
            "mmbench_video_score",
            {"predictions": [3, None], "references": [["OCR"], ["Counting"]]},
            {},
            "n_valid",
            1,
        ),
    ],
)
def test_columns_reach_the_figures(name, columns, options, key, expected, load):
    """Every folder loads, takes its columns by name in batches, and passes its options on."""
    metric = load(name)
    metric.add_batch(**columns)
    assert metric.compute(**options)[key] == pytest.approx(expected)


def test_captions_by_folder(load, monkeypatch):
    """Captions with unequal numbers of references; the scorers themselves are tested with captions."""
    monkeypatch.setattr(captions_module, "_score", lambda found, real: {"meteor": (len(real[1]), [0.0] * len(found))})
    metric = load("caption_quality")
    metric.add_batch(predictions=["a cat", "a dog"], references=[["a cat"], ["the dog", "a dog"]])
    assert metric.compute() == {"n": 2, "meteor": 2}
