"""Benchmarks of pictures in their own layouts, with figures worked out by hand."""

import datasets
import pytest

from desa2va.processing.files import encode_mask
from tests.eval.benchmarks.layouts import box, write_refcoco
from tests.training.data.readers.picture_layouts import box_mask, picture
from tests.training.data.readers.test_reasonseg import question, shape


@pytest.mark.parametrize(
    ("name", "folder", "refs", "split"),
    [
        ("refcoco-unc-testA", "refcoco", "refs(unc).p", "testA"),
        ("refcoco-google-test", "refcoco", "refs(google).p", "test"),
        ("refcoco+-unc-val", "refcoco+", "refs(unc).p", "val"),
        ("refcocog-umd-test", "refcocog", "refs(umd).p", "test"),
        ("refcocog-google-val", "refcocog", "refs(google).p", "val"),
    ],
)
def test_refcoco(tmp_path, evaluate, name, folder, refs, split):
    """Truths of 400, 400 and 600 pixels; answers: the truth, nothing, and the truth with 100 pixels elsewhere.

    cIoU (400 + 0 + 600) / (400 + 400 + 700) = 2/3; gIoU (1 + 0 + 6/7) / 3.
    """
    pictures = {9: [(1, 1, ["the box", "left one"]), (2, 2, ["the tall one"])]}
    root = write_refcoco(tmp_path / "data", pictures, folder, refs, split)
    report = evaluate(name, root, {"1/10": box(1), "2/20": [box(2), box(3)]})
    assert (report["benchmark"], report["n"]) == (name, 3)
    assert report["figures"]["ciou"] == pytest.approx(2 / 3)
    assert report["figures"]["giou"] == pytest.approx((1 + 6 / 7) / 3)
    assert report["figures"]["precision@0.8"] == pytest.approx(2 / 3)
    assert report["samples"][2] == {
        "id": "2/20",
        "expression": "the tall one",
        "status": "ok",
        "intersection": 600,
        "union": 700,
        "iou": 600 / 700,
    }
    assert report["prompt"].startswith('processor(task="segment"): "Please segment {}."')


def test_refcoco_m(tmp_path, evaluate, monkeypatch):
    """Pictures in cells; every sentence is a sample. cIoU (200 + 400 + 0) / 1400."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    image = picture(tmp_path / "a.png").read_bytes()
    samples = [
        {"id": 5, "sentences": ["the box", "left one"], "mask": encode_mask(box(1)[0])},
        {"id": 6, "sentences": ["the tall one"], "mask": encode_mask(box(2)[0])},
    ]
    row = {"image": {"bytes": image, "path": None}, "image_id": 9, "samples": samples}
    path = tmp_path / "data" / "refcoco_m" / "data" / "validation-00000-of-00001.parquet"
    path.parent.mkdir(parents=True)
    datasets.Dataset.from_list([row]).cast_column("image", datasets.Image()).to_parquet(path)
    half = box_mask(4, 4, 24, 14)[None]
    names = ["row 0 (row 0.0.png)/0", "row 0 (row 0.0.png)/1", "row 0 (row 0.0.png)/2"]
    report = evaluate("refcoco_m-validation", tmp_path / "data", {names[0]: half, names[1]: box(1)})
    assert [sample["id"] for sample in report["samples"]] == names
    assert [sample["iou"] for sample in report["samples"]] == [0.5, 1, 0]
    assert report["figures"]["ciou"] == pytest.approx(600 / 1400)


def test_grefcoco(tmp_path, evaluate):
    """Two objects found but for one, nothing rightly, nothing wrongly, something where nothing fits.

    Rows: 400/1000; 1; 0 with a union of 400; 0 with a union of 100. gIoU 1.4 / 4; cIoU 400 / 1500;
    N-acc and T-acc 1/2.
    """
    pictures = {9: [(1, [1, 2], ["both"]), (2, [-1], ["a cat"]), (3, [1], ["box"]), (4, [-1], ["a dog"])]}
    root = write_refcoco(tmp_path / "data", pictures, "grefcoco", "grefs(unc).p")
    report = evaluate("grefcoco-unc-val", root, {"1/10": box(1), "4/40": box(3)})
    figures = report["figures"]
    assert figures["giou"] == pytest.approx(1.4 / 4)
    assert figures["ciou"] == pytest.approx(400 / 1500)
    assert (figures["n_acc"], figures["t_acc"], figures["n_no_target"]) == (0.5, 0.5, 2)
    assert [sample["iou"] for sample in report["samples"]] == [0.4, 1, 0, 0]
    assert [sample["says_nothing"] for sample in report["samples"]] == [False, True, True, False]
    assert [sample["fits_nothing"] for sample in report["samples"]] == [False, True, False, True]


def test_reasonseg(tmp_path, evaluate):
    """Ignored pixels count for nothing; short and long queries apart.

    Truth of a: 16 x 16 without an ignored 6 x 6 inside, the answer fills the hole: 220 of 220. Truth of b: 100 pixels,
    the answer has half of them.
    """
    root = tmp_path / "data"
    hole = [shape("ignore", 10, 10, 15, 15), shape("target", 5, 5, 20, 20)]
    question(root, "val", "a", ["the cup", "a vessel"], hole)
    question(root, "val", "b", ["What holds tea?"], [shape("target", 0, 0, 9, 9)], is_sentence=True)
    known = {"a": box_mask(5, 5, 21, 21)[None], "b": box_mask(0, 0, 10, 5)[None]}
    report = evaluate("reasonseg-val", root, known)
    assert [(sample["id"], sample["group"], sample["union"]) for sample in report["samples"]] == [
        ("a", "short", 220),
        ("b", "long", 100),
    ]
    figures = report["figures"]
    assert figures["short"]["giou"] == 1
    assert figures["long"]["giou"] == 0.5
    assert figures["overall"]["giou"] == 0.75
    assert figures["overall"]["ciou"] == pytest.approx(270 / 320)
