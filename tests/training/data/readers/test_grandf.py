"""Grounded conversation: spans, quotes, null groundings, Flickr's filters, and the files scores are computed on."""

import numpy as np
import pytest

from desa2va.processing.processing_desa2va import GCG_INSTRUCTION
from desa2va.training.data.readers import READERS
from desa2va.training.data.readers.grounded_text import Span, grounded_dialogue
from desa2va.training.data.refshapes.disk import write_refshapes
from tests.training.data.readers.picture_layouts import (
    OTHER,
    SIZE,
    SQUARE,
    box_code,
    box_mask,
    picture,
    split_items,
    write,
)

CAPTION = "a man with a red hat"
A, B, C = box_code(0, 0, 9, 9), box_code(10, 10, 20, 20), box_code(30, 30, 40, 40)
ANNOTATIONS, IMAGES = "glamm_data/annotations", "glamm_data/images"


def answer(spans, caption=CAPTION):
    return grounded_dialogue(caption, [Span(*span) for span in spans]).turns[0][1]


@pytest.mark.parametrize(
    ("spans", "expected"),
    [
        ([(11, 20, B), (0, 5, A)], "<p> a man </p> [SEG] with <p> a red hat </p> [SEG]"),
        ([(0, 20, A), (11, 20, B)], "<p> a man with </p> [SEG] <p> a red hat </p> [SEG]"),
        ([(0, 20, A), (2, 5, B)], "<p> a </p> [SEG] <p> man </p> [SEG] with a red hat"),
        ([(0, 5, A), (0, 20, B)], "<p> a man with a red hat </p> [SEG]"),
        ([(0, 5, A), (0, 5, B)], "<p> a man </p> [SEG] with a red hat"),
        ([(5, 10, A)], "a man <p> with </p> [SEG] a red hat"),
    ],
)
def test_phrases_stand_in_order_and_none_over_another(spans, expected):
    """Guards the answer a model learns: nested tags, or a mask for another phrase, would be learned as well."""
    assert answer(spans) == expected


def test_masks_follow_their_phrases():
    """Guards the i-th [SEG], which is the i-th mask, and the union of one phrase's two masks."""
    dialogue = grounded_dialogue(CAPTION, [Span(11, 20, B), Span(0, 5, A), Span(0, 5, C)])
    assert [target.label for target in dialogue.targets] == ["man", "red hat"]
    assert dialogue.targets[1].codes == (B,)
    assert dialogue.targets[0].codes[0] not in (A, C)
    assert dialogue.turns[0][0] == GCG_INSTRUCTION


@pytest.mark.parametrize(("caption", "span"), [(CAPTION, (3, 40)), (CAPTION, (5, 6)), ("a [SEG] man", (0, 1))])
def test_offsets_outside_and_tags_in_captions_are_refused(caption, span):
    """Guards against answers whose [SEG] do not count."""
    with pytest.raises(ValueError, match=r"is no phrase|holds \[SEG\]"):
        answer([(*span, A)], caption)


def read(root, name, split="train"):
    return split_items(READERS[name].read(root, split))


def test_a_generated_set_comes_back_for_training_and_for_scores(tmp_path):
    """Guards both layouts with the generator's own masks: phrases and masks belong together."""
    root = write_refshapes(tmp_path / "set", "gcg", splits={"train": 3, "val": 2}, progress=False)
    for name, split, count in (("grandf", "train", 3), ("gcg", "val", 2)):
        records, problems = read(root, name, split)
        assert len(records) == count
        assert not problems
        for record in records:
            (dialogue,) = record.dialogues
            assert all(f"{target.label} </p> [SEG]" in dialogue.turns[0][1] for target in dialogue.targets)
            masks = record.masks(dialogue)[:, 0]
            assert masks.any((1, 2)).all()
            assert masks.sum(0).max() == 1
    assert set(dialogue.ids) == {"caption", "image_id"}


@pytest.mark.parametrize("name", ["grandf", "grandf_openpsg"])
def test_groundings_with_quotes_null_and_several_codes(tmp_path, name):
    """Guards offsets, which count from behind the quotes, null groundings, and codes that overlap (united)."""
    file = {"grandf": "GranDf_HA_GCG_train.json", "grandf_openpsg": "OpenPsgGCG_train.json"}[name]
    folder = {"grandf": "grandf/train", "grandf_openpsg": "coco2017/train2017"}[name]
    picture(tmp_path / IMAGES / folder / "1.jpg")
    groundings = {
        "A cat": {"token_positives": [0, 5], "rle_masks": [box_code(4, 4, 20, 20), box_code(10, 10, 30, 30)]},
        'the "mat"': {"token_positives": [9, 18], "rle_masks": [B]},
        "nothing": None,
    }
    row = {"file_name": "1.jpg", "height": 48, "width": 64, "image_id": 1, "groundings": groundings}
    empty = {**row, "caption": "Nobody.", "groundings": {"x": None}}
    wrong = {**row, "caption": "Short", "groundings": {"x": {"token_positives": [0, 99], "rle_masks": [A]}}}
    prefixed = {**row, "caption": "A cat", "groundings": {"A cat": groundings["A cat"]}}
    prefixed["file_name"] = "train2017/1.jpg" if name == "grandf_openpsg" else "1.jpg"
    captioned = {**row, "caption": '"" A cat on the "mat". "'}
    write(tmp_path / ANNOTATIONS / file, [captioned, empty, wrong, prefixed])
    (record, other), (problem,) = read(tmp_path, name)
    (dialogue,) = record.dialogues
    assert dialogue.turns[0][1] == '<p> A cat </p> [SEG] on <p> the "mat" </p> [SEG].'
    assert np.array_equal(record.masks(dialogue)[0, 0], box_mask(4, 4, 20, 20) | box_mask(10, 10, 30, 30))
    assert problem.record == f"{file}, row 2"
    assert other.paths == record.paths


def test_expressions_without_offsets_are_found_in_lower_case(tmp_path):
    """Guards RefCOCOg's variant: capitals hide no phrase, absent phrases are dropped, overlaps are cut."""
    picture(tmp_path / IMAGES / "coco2014/train2014/COCO_train2014_000000000009.jpg")
    references = [
        {"sentence": "Red Hat", "bbox": [0, 0, 1, 1], "segmentation": [OTHER]},
        {"sentence": "a man with a red hat", "bbox": [0, 0, 1, 1], "segmentation": [SQUARE]},
        {"sentence": "a dog", "bbox": [0, 0, 1, 1], "segmentation": [SQUARE]},
    ]
    entry = {
        "img_file_name": "COCO_train2014_000000000009.jpg",
        "caption": '"A Man with a Red Hat."',
        "refs": references,
    }
    write(tmp_path / ANNOTATIONS / "RefCOCOg_GCG_train.json", [{"9": entry}, {"9": {**entry, "refs": []}}])
    (record,), problems = read(tmp_path, "grandf_refcocog")
    assert not problems
    (dialogue,) = record.dialogues
    assert dialogue.turns[0][1] == "<p> a man with a </p> [SEG] <p> red hat </p> [SEG]."
    masks = record.masks(dialogue)[:, 0]
    assert np.array_equal(masks[0], box_mask(4, 4, 24, 24))
    assert np.array_equal(masks[1], box_mask(30, 10, 50, 40))


def flickr(root, images, boxes):
    images = [
        {"id": number, "file_name": "1.jpg", "height": 48, "width": 64, "caption": "a man sits here", **image}
        for number, image in enumerate(images)
    ]
    box = {"image_id": 0, "bbox": [1, 1, 9, 9], "area": 81, "tokens_positive": [[0, 5], [6, 10]], "sam_mask": A}
    boxes = [{"id": number, **box, **entry} for number, entry in enumerate(boxes)]
    write(root / ANNOTATIONS / "flickr_mergedGT_GCG_train.json", {"images": images, "annotations": boxes})
    picture(root / IMAGES / "flickr30k/Flickr30K/1.jpg")
    return read(root, "grandf_flickr")


@pytest.mark.parametrize(
    ("image", "box"),
    [
        ({"caption": "a man"}, {}),
        ({"height": 31}, {}),
        ({}, {"ignore": 1}),
        ({}, {"bbox": [64, 1, 9, 9]}),
        ({}, {"bbox": [-9, 1, 9, 9]}),
        ({}, {"area": 0}),
        ({}, {"bbox": [1, 1, 0.5, 9]}),
    ],
)
def test_flickr_leaves_out_what_its_training_leaves_out(tmp_path, image, box):
    """Guards every filter; beside it a good caption of the same picture stays."""
    (record,), problems = flickr(tmp_path, [image, {}], [box, {"image_id": 1}])
    assert not problems
    assert "image 1 " in record.name


def test_flickr_takes_the_first_span_and_every_caption(tmp_path):
    """Guards captions as images of their own, and file names behind a number."""
    records, problems = flickr(tmp_path, [{}, {"file_name": "x_1.jpg"}], [{}, {"image_id": 1}])
    assert not problems
    assert [record.dialogues[0].turns[0][1] for record in records] == ["<p> a man </p> [SEG] sits here"] * 2
    assert records[0].name != records[1].name
    assert records[0].paths == records[1].paths


def test_scores_need_a_mask_for_every_phrase(tmp_path):
    """Guards the pairing: with a mask too few every later phrase would get another's."""
    place = tmp_path / ANNOTATIONS / "gcg_val_test"
    mask = {"id": 1, "image_id": "7", "category_id": 1, "segmentation": A, "iscrowd": 0}
    write(place / "test_gcg_coco_mask_gt.json", {"images": [], "annotations": [mask], "categories": []})
    caption = {"id": 1, "image_id": "7", "caption": '"A man"', "labels": ["man", "hat"]}
    other = {"id": 2, "image_id": "7", "caption": '"A man"', "labels": ["man"]}
    write(place / "test_gcg_coco_caption_gt.json", {"images": [{"id": "7"}], "annotations": [caption, other]})
    picture(tmp_path / IMAGES / "grandf/val_test/7.jpg")
    (record,), (problem,) = read(tmp_path, "gcg", "test")
    assert problem.field == "labels"
    assert dict(record.dialogues[0].ids) == {"caption": "A man", "image_id": "7"}
    assert record.size == SIZE
