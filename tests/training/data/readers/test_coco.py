"""COCO instances with expressions: masks of every spelling, unions, and whatever does not pair."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from desa2va.processing.files import encode_mask
from desa2va.training.data.build import open_dataset
from desa2va.training.data.readers.coco import read_coco
from desa2va.training.data.records import RecordError
from desa2va.training.data.sources import count_records, open_source

PHOTOS = Path(__file__).resolve().parents[4].parent / "shared" / "real_data" / "coco_photos"
SIZE = (24, 32)
SQUARE = [4, 6, 12, 6, 12, 14, 4, 14]


def right(left):
    mask = np.zeros(SIZE, bool)
    mask[6:14, left : left + 8] = True
    return mask


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "images").mkdir()
    Image.new("RGB", SIZE[::-1], (90, 90, 90)).save(tmp_path / "images" / "a.jpg")
    return tmp_path


def write(folder, *expressions, **item):
    coco = {
        "licenses": [{"id": 4, "name": "CC BY 2.0"}],
        "images": [{"id": 7, "file_name": "a.jpg", "height": 24, "width": 32, "license": 4}, {"id": 8}],
        "annotations": [
            {"id": 1, "image_id": 7, "segmentation": [SQUARE]},
            {"id": 2, "image_id": 7, "segmentation": encode_mask(right(20))},
            {"id": 3, "image_id": 8, "segmentation": [SQUARE]},
            {"id": 4, "image_id": 7, "segmentation": []},
        ],
    }
    (folder / "instances.json").write_text(json.dumps(coco))
    items = [{"image_id": 7, "expressions": list(expressions), **item}]
    (folder / "expressions.json").write_text(json.dumps({"items": items}))
    return folder


def test_a_picture_of_another_size_is_told(folder):
    """Guards against a picture that was enlarged: polygons still lay inside it, at wrong places."""
    Image.new("RGB", (64, 48)).save(folder / "images" / "a.jpg")
    (problem,) = read_coco(write(folder, {"text": "left", "ann_ids": [1]}))
    assert str(problem).startswith("expressions.json, item 0, image: ")
    assert "a.jpg is 64 x 48 but the COCO file says 32 x 24 (width x height)" in str(problem)


def test_expressions_find_their_annotations(folder):
    """Guards unions, expressions without target, captions, and the licence of the picture."""
    asked = [{"text": name, "ann_ids": ids} for name, ids in (("left", [1]), ("both", [1, 2]), ("none", []))]
    write(folder, *asked, caption="Two blocks.")
    (record,) = read_coco(folder, captions=True)
    masks = [record.masks(dialogue) for dialogue in record.dialogues]
    assert np.array_equal(masks[0][0, 0], right(4))
    assert np.array_equal(masks[1][0, 0], right(4) | right(20))
    assert [len(mask) for mask in masks] == [1, 1, 0, 0]
    assert record.dialogues[3].turns[0][1] == "Two blocks."
    assert record.licence == "CC BY 2.0"
    for given in (folder, folder / "instances.json"):
        assert len(open_dataset(given)[0].conversations) == 3


@pytest.mark.parametrize(
    ("expression", "item", "message"),
    [
        ({"text": "it", "ann_ids": [9]}, {}, "mask 0: 'it': picture 7 has no annotation 9"),
        ({"text": "it", "ann_ids": [3]}, {}, "mask 0: 'it': picture 7 has no annotation 3"),
        ({"text": "it", "ann_ids": 1}, {}, "mask 0: 'ann_ids' is a list"),
        ({"text": "it", "ann_ids": [4]}, {}, "mask 0: expected a run-length code"),
        ({"text": " ", "ann_ids": [1]}, {}, "text 0: must be an expression"),
        ({"text": "it", "ann_ids": [1]}, {"image_id": 5}, "image: image_id 5 is not among the images"),
        ({"text": "it", "ann_ids": [1]}, {"image_id": 8}, "image: no file"),
    ],
)
def test_what_does_not_pair_is_named(folder, expression, item, message):
    (problem,) = read_coco(write(folder, expression, **item))
    with pytest.raises(RecordError, match=f"expressions.json, item 0, {message}"):
        raise problem


def test_other_json(folder):
    """Guards against a traceback of a file that is COCO by its first key alone."""
    write(folder)
    (folder / "instances.json").write_text('{"images": 5}')
    with pytest.raises(ValueError, match="instances.json: 'images' must be a list"):
        open_dataset(folder)


@pytest.mark.skipif(not PHOTOS.is_dir(), reason="the COCO photos are not here")
def test_real_photos():
    """The format of the documents, on the files themselves."""
    source = open_source(str(PHOTOS))
    counts = count_records(source.records())
    assert (counts["pictures"], counts["expressions"], counts["without target"]) == (11, 35, 10)
