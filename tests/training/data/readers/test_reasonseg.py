"""ReasonSeg: painting order, ignored pixels, old encodings, wordings and explanations."""

import json

import numpy as np
import pytest

from desa2va.training.data.readers import READERS
from desa2va.training.data.readers.reasonseg import paint
from tests.training.data.readers.picture_layouts import SIZE, box_mask, picture, split_items, write

HOME = "reason_seg/ReasonSeg"


def shape(label, x0, y0, x1, y1):
    """A rectangle whose last pixels are `x1` and `y1`."""
    return {"label": label, "points": [[x0, y0], [x1, y0], [x1, y1], [x0, y1]], "shape_type": "polygon"}


def question(root, split, name, texts, shapes, is_sentence=False, encoding="utf-8"):
    picture(root / HOME / split / f"{name}.jpg")
    row = {"text": texts, "is_sentence": is_sentence, "shapes": shapes}
    (root / HOME / split / f"{name}.json").write_bytes(json.dumps(row, ensure_ascii=False).encode(encoding))


def read(root, split, **options):
    return split_items(READERS["reasonseg"].read(root, split, **options))


def test_smaller_shapes_lie_over_larger_ones_whatever_their_order():
    """Guards the ground truth: an ignored part inside a target is out of it, a target inside an ignored one counts."""
    shapes = [
        shape("Ignore, blurred", 10, 10, 15, 15),
        shape("target", 5, 5, 20, 20),
        shape("target", 42, 12, 44, 14),
        shape("ignore", 40, 10, 50, 20),
        shape("Flag", 0, 0, 63, 47),
    ]
    target, ignored = paint(shapes, SIZE)
    hole, inner = box_mask(10, 10, 16, 16), box_mask(42, 12, 45, 15)
    assert np.array_equal(target, (box_mask(5, 5, 21, 21) & ~hole) | inner)
    assert np.array_equal(ignored, hole | (box_mask(40, 10, 51, 21) & ~inner))


def test_wordings_are_alternatives_in_training_and_the_first_one_is_scored(tmp_path):
    """Guards the two protocols, and that explanations are learned with the mask they explain."""
    shapes = [shape("target", 5, 5, 20, 20), shape("ignore", 30, 30, 40, 40)]
    for split in ("train", "val"):
        question(tmp_path, split, "a", ["the cup", "a vessel for tea"], shapes)
    write(
        tmp_path / HOME / "explanatory/train.json", [{"image": "a.jpg", "query": "q", "outputs": "It has a handle."}]
    )
    ((record,), problems) = read(tmp_path, "train")
    assert not problems
    assert [dialogue.turns[0] for dialogue in record.dialogues] == [
        ("Please segment the cup.", "Sure, it is [SEG]."),
        ("Please segment a vessel for tea.", "Sure, it is [SEG]."),
        ("Please segment the cup. Explain why.", "Sure, it is [SEG]. It has a handle."),
    ]
    assert {dialogue.group for dialogue in record.dialogues} == {0}
    ((record,), _) = read(tmp_path, "val")
    (dialogue,) = record.dialogues
    assert dict(dialogue.ids) == {"text": "the cup", "image_id": "a", "is_sentence": 0}
    (target,) = dialogue.targets
    assert np.array_equal(record.masks(dialogue)[0, 0], box_mask(5, 5, 21, 21))
    assert target.ignored[0] is not None


def test_sentences_old_encodings_and_files_in_order(tmp_path):
    """Guards cp1252 files, which are no UTF-8, and the long prompt of whole sentences."""
    shapes = [shape("target", 5, 5, 20, 20)]
    question(tmp_path, "test", "b", ["The cook\u2019s tool"], shapes, True, "cp1252")
    question(tmp_path, "test", "a", ["caf\xe9"], shapes)
    (first, second), problems = read(tmp_path, "test")
    assert not problems
    assert (first.name, second.name) == ("a.jpg", "b.jpg")
    assert first.dialogues[0].ids["text"] == "caf\xe9"
    assert first.dialogues[0].targets[0].ignored == ()
    assert second.dialogues[0].turns[0][0] == "The cook\u2019s tool Please output the segmentation mask."
    assert second.dialogues[0].ids["is_sentence"] == 1


def test_broken_files_are_named(tmp_path):
    """Guards the message: one broken file of 779 is found by its name."""
    question(tmp_path, "val", "a", [], [])
    question(tmp_path, "val", "b", ["x"], [{"label": "target", "points": [1, 2]}])
    question(tmp_path, "val", "c", ["x"], [])
    (tmp_path / HOME / "val/c.jpg").unlink()
    records, problems = read(tmp_path, "val")
    assert not records
    assert [(problem.record, problem.field) for problem in problems] == [
        ("ReasonSeg/val/a.json", "text"),
        ("ReasonSeg/val/b.json", "shapes 0"),
        ("ReasonSeg/val/c.json", "image"),
    ]
    with pytest.raises(ValueError, match="no split 'testA'"):
        read(tmp_path, "testA")
    missing = READERS["reasonseg"].present(tmp_path).missing
    assert "reason_seg/ReasonSeg/val (partial: 2 of at least 200 pictures)" in missing
