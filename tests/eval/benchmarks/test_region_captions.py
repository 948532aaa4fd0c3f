"""Captions of regions in GLaMM's layout; COCO's tools are asked with what they should get."""

import json

import numpy as np
import pytest

from desa2va.cli import main
from desa2va.eval.benchmarks import region_captions
from desa2va.eval.benchmarks.grounded_pictures import can_score_captions
from desa2va.eval.benchmarks.names import open_benchmark
from desa2va.eval.benchmarks.runner import Run
from desa2va.eval.benchmarks.showing import manner, opened_visual
from desa2va.eval.metrics.captions import CaptionQuality
from desa2va.processing.inputs import draw_regions, load_image
from tests.eval.benchmarks.layouts import BOXES, box, square
from tests.eval.benchmarks.question_layouts import says
from tests.training.data.readers.picture_layouts import SIZE, picture, write

CAPTIONS = {3: "a red cup on the table", 4: "the dog", 5: "a man in a hat"}


def write_regions(root):
    """Three regions on one picture; annotations have the number of their image."""
    name = "COCO_train2014_000000000009.jpg"
    picture(root / "glamm_data" / "images" / "coco2014" / "train2014" / name)
    size = {"height": SIZE[0], "width": SIZE[1]}
    images = [{"id": number, "file_name": name, "caption": text, **size} for number, text in CAPTIONS.items()]
    masks = [
        {"id": number, "image_id": 1, "segmentation": [square(*BOXES[place])]}
        for place, number in enumerate(CAPTIONS, 1)
    ]
    path = root / "region_caption" / "refcocog" / "finetune_refcocog_val_with_mask.json"
    write(path, {"images": images, "annotations": masks})
    return path


@pytest.fixture
def scored(tmp_path, evaluate):
    """A perfect caption, one with tags and a sentence around it, and none."""
    write_regions(tmp_path)
    known = says(q3=CAPTIONS[3], q4="The region marked by region1 is <p>the dog</p> [SEG]")
    return evaluate("refcocog_regions-val", tmp_path, {**known, "5": RuntimeError("no")})


def test_captions_and_references(scored):
    """A sample that failed has an empty caption and stays in."""
    assert [(sample["caption"], sample["reference"]) for sample in scored["samples"]] == [
        ("a red cup on the table", "a red cup on the table"),
        ("The region marked by region1 is the dog", "the dog"),
        ("", "a man in a hat"),
    ]
    assert scored["failed"] == [{"id": "5", "reason": "RuntimeError: no"}]
    assert scored["prompt"] == "Describe region 1."


@pytest.mark.skipif(not can_score_captions(), reason="METEOR needs Java and pycocoevalcap")
def test_figures_are_those_of_the_tools(scored):
    """Sa2VA's cleaning leaves "the dog", which is perfect, so its figures are higher."""
    for name, second in (("as_answered", "The region marked by region1 is the dog"), ("sa2va_cleaning", "the dog")):
        expected = CaptionQuality()
        for number, text in ((3, CAPTIONS[3]), (4, second), (5, "")):
            expected.add(number, text, [CAPTIONS[number]])
        assert scored["figures"][name] == expected.compute()
    assert scored["figures"]["sa2va_cleaning"]["cider"] > scored["figures"]["as_answered"]["cider"] > 0


def test_without_java_it_says_so(tmp_path, evaluate, monkeypatch):
    write_regions(tmp_path)
    monkeypatch.setattr(region_captions, "can_score_captions", lambda: False)
    report = evaluate("refcocog_regions-val", tmp_path, {})
    assert report["figures"]["captions"].startswith("not computed: METEOR and CIDEr need Java")
    assert report["n"] == 3


def test_every_region_is_marked_on_its_picture(tmp_path):
    """Guards against a caption of something else: alone and in a batch, each sample carries its own mask."""
    write_regions(tmp_path)
    (questions,) = Run(open_benchmark("refcocog_regions-val"), tmp_path, tmp_path / "out").plan().all_questions()
    assert manner(questions[1]) == {"task": "chat"}
    shown = opened_visual(questions[1])["images"]
    assert len(shown) == 3
    for place, drawn in enumerate(shown, 1):
        plain = load_image(questions[1][0].record.paths[0])
        assert np.array_equal(drawn, draw_regions(plain, box(place)))
        assert not np.array_equal(drawn, plain)


def test_the_shipped_model_describes_regions(tmp_path):
    """By the command line; the batch gives what every region gives alone."""
    write_regions(tmp_path)
    answers = []
    for size in ("16", "1"):
        words = ["eval", "refcocog_regions-val", "--data", str(tmp_path), "--out", str(tmp_path / size)]
        assert main([*words, "--device", "cpu", "--batch-size", size]) == 0
        report = json.loads((tmp_path / size / "report.json").read_text())
        assert (report["n"], report["failed"]) == (3, [])
        answers.append([sample["caption"] for sample in report["samples"]])
    assert answers[0] == answers[1]


def test_a_region_without_its_mask_is_named(tmp_path, evaluate):
    path = write_regions(tmp_path)
    table = json.loads(path.read_text())
    write(path, {**table, "annotations": table["annotations"][1:]})
    with pytest.raises(
        ValueError, match="finetune_refcocog_val_with_mask.json, image 3, annotations: none has the id"
    ):
        evaluate("refcocog_regions-val", tmp_path, {})
