"""Osprey-724K and RefCOCOg's region captions: file names, codes, prefixes, empty rows, small regions."""

import numpy as np
import pytest

from desa2va.training.data.readers import READERS
from desa2va.training.data.readers.osprey import is_visible
from tests.training.data.readers.picture_layouts import (
    OTHER,
    SIZE,
    SQUARE,
    box_code,
    box_mask,
    counts_of,
    picture,
    split_items,
    write,
)

TINY = [1.0, 1.0, 3.0, 1.0, 3.0, 3.0, 1.0, 3.0]
BRIEFLY = "Answer the question using a single word or phrase."


def row(*segmentations, said=("What is <region1>?", "A cat."), **more):
    speakers = ("human", "gpt")
    entry = {
        "file_name": "000000000009.jpg",
        "height": SIZE[0],
        "width": SIZE[1],
        "annotation": [{"segmentation": segmentation, "bbox": [0, 0, 1, 1]} for segmentation in segmentations],
        "conversations": [{"from": speakers[k % 2], "value": text} for k, text in enumerate(said)],
    }
    return {**entry, **more}


def read(root, name, rows, file=None, place="train2017/000000000009.jpg"):
    write(root / "osprey-724k/Osprey-724K" / (file or f"{name}.json"), rows)
    picture(root / "osprey-724k/coco" / place)
    return split_items(READERS[name].read(root, "train"))


def test_regions_of_every_spelling(tmp_path):
    """Guards region order and codes: polygons, listed counts and compressed counts stand in one file."""
    square, other = box_mask(4, 4, 24, 24), box_mask(30, 10, 50, 40)
    entry = row(
        [SQUARE], counts_of(other), box_code(4, 4, 24, 24), said=("<image>\nIs <region2> by <region1>?", "Yes.")
    )
    (record,), problems = read(tmp_path, "osprey_conversation", [entry], "osprey_conversations.json")
    assert not problems
    (dialogue,) = record.dialogues
    assert dialogue.turns == (("Is region 2 by region 1?", "Yes."),)
    assert dialogue.kind == "region"
    regions = record.conversation(dialogue).regions
    assert all(np.array_equal(*pair) for pair in zip(regions, (square, other, square), strict=True))


@pytest.mark.parametrize("name", ["COCO_train2014_000000000009.jpg", "000000000009.jpg"])
@pytest.mark.parametrize(
    "place",
    [
        "train2017/000000000009.jpg",
        "val2014/COCO_val2014_000000000009.jpg",
        "train2014/COCO_train2014_000000000009.jpg",
    ],
)
def test_names_of_2014_and_2017(tmp_path, name, place):
    """The same picture has two names, and the files give either one."""
    (record,), problems = read(tmp_path, "osprey_conversation", [row([SQUARE], file_name=name)], place=place)
    assert not problems
    assert record.paths[0].endswith(place)


@pytest.mark.parametrize("name", ["osprey_short_form", "osprey_part_level"])
def test_brief_answers_are_asked_for_once(tmp_path, name):
    """Guards the suffix, without which a model learns to answer everything in a word."""
    rows = [row([SQUARE]), row([SQUARE], said=(f"What is <region1>? {BRIEFLY}", "Cat"))]
    records, _ = read(tmp_path, name, rows)
    assert [record.dialogues[0].turns[0][0] for record in records] == [f"What is region 1? {BRIEFLY}"] * 2


@pytest.mark.parametrize("key", ["description", "descriptions"])
def test_descriptions_lose_their_prefix_and_stay_with_their_region(tmp_path, key):
    """Guards the detail file: one text per region, each shown alone, small regions left out."""
    texts = ["<region1>: A cat on a mat.", "Tiny.", "<region3>: A dog."]
    entry = row([SQUARE], [TINY], [OTHER], **{key: texts})
    entry.pop("conversations")
    (record,), problems = read(tmp_path, "osprey_detail_description", [entry, {**entry, key: texts[:2]}])
    assert [dialogue.turns[0][1] for dialogue in record.dialogues] == ["A cat on a mat.", "A dog."]
    assert [dialogue.ids["region"] for dialogue in record.dialogues] == [0, 2]
    (region,) = record.conversation(record.dialogues[1]).regions
    assert np.array_equal(region, box_mask(30, 10, 50, 40))
    assert [problem.field for problem in problems] == ["description"]


def test_rows_without_a_question_and_with_a_tiny_region_are_left_out(tmp_path):
    """Guards Sa2VA's rule: one region that nobody sees spoils the row's numbering."""
    rows = [row([SQUARE], said=()), row([SQUARE], [TINY]), row([SQUARE]), row()]
    (record,), (problem,) = read(tmp_path, "osprey_lvis_positive_negative", rows)
    assert "row 2" in record.name
    assert (problem.record, problem.field) == ("osprey_lvis_positive_negative.json, row 3", "annotation")


@pytest.mark.parametrize(("columns", "seen"), [(12, False), (16, True)])
def test_a_region_needs_four_cells(columns, seen):
    """A cell of this picture is 3 x 4 pixels, seen where its first pixel is covered."""
    assert is_visible(box_code(0, 0, columns, 3)) is seen


def test_region_captions_pair_by_the_image(tmp_path):
    """Guards the file's way: every expression is an image, and the annotation has the image's id."""
    name = "COCO_train2014_000000000009.jpg"
    image = {"id": 3, "file_name": name, "height": 48, "width": 64, "caption": "a cat "}
    table = {
        "images": [image, {**image, "id": 4, "caption": "a dog"}, {**image, "id": 9}],
        "annotations": [
            {"id": 4, "image_id": 1, "segmentation": [OTHER]},
            {"id": 3, "image_id": 2, "segmentation": [SQUARE]},
        ],
    }
    write(tmp_path / "region_caption/refcocog/finetune_refcocog_val_with_mask.json", table)
    picture(tmp_path / "glamm_data/images/coco2014/train2014" / name)
    (first, second), (problem,) = split_items(READERS["refcocog_regions"].read(tmp_path, "val"))
    assert first.dialogues[0].turns == (("Describe region 1.", "a cat"),)
    assert np.array_equal(first.conversation(first.dialogues[0]).regions[0], box_mask(4, 4, 24, 24))
    assert np.array_equal(second.conversation(second.dialogues[0]).regions[0], box_mask(30, 10, 50, 40))
    assert dict(first.dialogues[0].ids) == {"image_id": 3}
    assert problem.field == "annotations"


def test_status_names_either_file(tmp_path):
    """Osprey's own documents spell one file in two ways."""
    read(tmp_path, "osprey_conversation", [row([SQUARE])], "osprey_conversations.json")
    status = READERS["osprey_conversation"].present(tmp_path)
    assert status.found == ("osprey-724k/Osprey-724K/osprey_conversations.json",)
    assert status.missing == ("osprey-724k/coco/train2017 (partial: 1 of at least 118287 pictures)",)
