"""Benchmarks of pictures in their own layouts, with figures worked out by hand."""

import datasets
import numpy as np
import pytest

from desa2va.eval.benchmarks.names import BENCHMARKS
from desa2va.processing.files import encode_mask
from tests.eval.benchmarks.layouts import annotation, answer_of, box, square, write_refcoco
from tests.training.data.readers.picture_layouts import SIZE, box_mask, picture
from tests.training.data.readers.test_reasonseg import question, shape

FOLDERS = (None, "glamm_data/images/coco2014/train2014", "images/mscoco/images/train2014")  # Sa2VA's two, the tool's


@pytest.mark.parametrize("name", [name for name, family in BENCHMARKS.items() if family == "referring_pictures"])
def test_refcoco(tmp_path, evaluate, name):
    """Truths of 400, 400 and 600 pixels; answers: the truth, nothing, and the truth with 100 pixels elsewhere.

    cIoU (400 + 0 + 600) / (400 + 400 + 700) = 2/3; gIoU (1 + 0 + 6/7) / 3. Asked for is `sent`.
    """
    pictures = {9: [(1, 1, ["the box", "left one"]), (2, 2, ["the Tall one"])]}
    dataset, split_by, split = name.split("-")
    folder = FOLDERS[len(split) % len(FOLDERS)]
    root = write_refcoco(tmp_path / "data", pictures, dataset, f"refs({split_by}).p", split, folder)
    report = evaluate(name, root, {"1/10": box(1), "2/20": [box(2), box(3)]})
    assert (report["benchmark"], report["n"]) == (name, 3)
    assert report["figures"]["ciou"] == pytest.approx(2 / 3)
    assert report["figures"]["giou"] == pytest.approx((1 + 6 / 7) / 3)
    assert report["figures"]["precision@0.8"] == pytest.approx(2 / 3)
    assert report["samples"][2] == {
        "id": "2/20",
        "expression": "the Tall one",
        "status": "ok",
        "intersection": 600,
        "union": 700,
        "iou": 600 / 700,
    }
    assert report["prompt"].startswith('processor(task="segment"): "Please segment {}."')


def test_refcoco_with_its_traps(tmp_path, evaluate):
    """A picture without any answer; a truth without pixels; parts that overlap; an IoU that is a threshold.

    Rows: 0 of 400; 0 of 0, which counts 1; 0 of 100; 700 of 700; 50 of 100. cIoU 750 / 1300, gIoU 2.5 / 5.
    Precision@0.5 is 2/5: one half is not above one half.
    """
    overlapping = annotation(5, [square(4, 4, 24, 24), square(14, 14, 34, 34)])  # 400 + 400 - 100 pixels
    pictures = {
        8: [(1, 1, ["the box"])],
        9: [(2, 4, ["nothing"]), (3, 4, ["still nothing"]), (4, 5, ["both parts"]), (5, 3, ["the corner"])],
    }
    root = write_refcoco(tmp_path / "data", pictures, more=[annotation(4, []), overlapping])
    both, half = (box_mask(4, 4, 24, 24) | box_mask(14, 14, 34, 34))[None], box_mask(0, 0, 5, 10)[None]
    figures = evaluate("refcoco-unc-val", root, {"3/30": box(3), "4/40": both, "5/50": half})["figures"]
    assert figures["ciou"] == pytest.approx(750 / 1300)
    assert figures["giou"] == pytest.approx(2.5 / 5)
    assert figures["precision@0.5"] == pytest.approx(2 / 5)
    nothing = evaluate("refcoco-unc-val", root, {}, out="nothing")["figures"]
    assert (nothing["ciou"], nothing["giou"]) == (0, 2 / 5)


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


@pytest.mark.parametrize("split", ["val", "testA", "testB"])
def test_grefcoco(tmp_path, evaluate, split):
    """Two objects found but for one, nothing rightly, nothing wrongly, something where nothing fits.

    Rows: 400/1000; 1; 0 with a union of 400; 0 with a union of 100. gIoU 1.4 / 4; cIoU 400 / 1500;
    N-acc and T-acc 1/2.
    """
    pictures = {9: [(1, [1, 2], ["both"]), (2, [-1], ["a cat"]), (3, [1], ["box"]), (4, [-1], ["a dog"])]}
    refs, folder = ("grefs(unc).json", "images/train2014") if split == "testB" else ("grefs(unc).p", None)
    root = write_refcoco(tmp_path / "data", pictures, "grefcoco", refs, split, folder)
    report = evaluate(f"grefcoco-unc-{split}", root, {"1/10": box(1), "4/40": box(3)})
    figures = report["figures"]
    assert figures["giou"] == pytest.approx(1.4 / 4)
    assert figures["ciou"] == pytest.approx(400 / 1500)
    assert (figures["n_acc"], figures["t_acc"], figures["n_no_target"]) == (0.5, 0.5, 2)
    assert [sample["iou"] for sample in report["samples"]] == [0.4, 1, 0, 0]
    assert [sample["says_nothing"] for sample in report["samples"]] == [False, True, True, False]
    assert [sample["fits_nothing"] for sample in report["samples"]] == [False, True, False, True]


def test_grefcoco_with_its_traps(tmp_path, evaluate):
    """Crowds are in no union; half a point is no polygon; [SEG] with an empty mask says that nothing fits.

    Rows: 280 of 400, an IoU that Precision@0.7 counts; 1 (nothing, by an empty mask); a target without pixels 0.
    gIoU 1.7 / 3, cIoU 280 / 400.
    """
    more = [annotation(4, [square(0, 0, 64, 48)], iscrowd=1), annotation(5, [[1.0, 2.0, 9.0, 8.0], [1.0] * 7])]
    pictures = {9: [(1, [1, 4], ["the box"]), (2, [-1], ["a cat"]), (3, [5], ["a speck"])]}
    root = write_refcoco(tmp_path / "data", pictures, "grefcoco", "grefs(unc).p", more=more)
    empty = answer_of(np.zeros((1, *SIZE), bool))
    report = evaluate("grefcoco-unc-val", root, {"1/10": box_mask(4, 4, 24, 18)[None], "2/20": empty})
    figures = report["figures"]
    assert report["statuses"] == {"no_seg_token": 1, "ok": 2}
    assert figures["giou"] == pytest.approx(1.7 / 3)
    assert figures["ciou"] == pytest.approx(280 / 400)
    assert (figures["n_acc"], figures["t_acc"], figures["precision@0.7"]) == (1, 0.5, 0.5)


@pytest.mark.parametrize("split", ["val", "test"])
def test_reasonseg(tmp_path, evaluate, split):
    """Ignored pixels count for nothing, flags cover nothing; short and long queries apart; some files are cp1252.

    Truth of a: 16 x 16 without an ignored 6 x 6 inside, the answer fills the hole: 220 of 220. Truth of b: 100 pixels,
    the answer has half of them.
    """
    root = tmp_path / "data"
    hole = [shape("ignore", 10, 10, 15, 15), shape("target", 5, 5, 20, 20), shape("flag", 0, 0, 63, 47)]
    question(root, split, "a", ["the cup", "a vessel"], hole)
    small = [shape("target", 0, 0, 9, 9)]
    question(root, split, "b", ["What holds the guest\u2019s tea?"], small, is_sentence=True, encoding="cp1252")
    known = {"a": box_mask(5, 5, 21, 21)[None], "b": box_mask(0, 0, 10, 5)[None]}
    report = evaluate(f"reasonseg-{split}", root, known)
    assert [(sample["id"], sample["group"], sample["union"]) for sample in report["samples"]] == [
        ("a", "short", 220),
        ("b", "long", 100),
    ]
    assert [sample["expression"] for sample in report["samples"]] == ["the cup", "What holds the guest\u2019s tea?"]
    figures = report["figures"]
    assert figures["short"]["giou"] == 1
    assert figures["long"]["giou"] == 0.5
    assert figures["overall"]["giou"] == 0.75
    assert figures["overall"]["ciou"] == pytest.approx(270 / 320)
