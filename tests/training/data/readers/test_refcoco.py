"""RefCOCO's family: every trap of the published files, in their layout."""

import pickle
from pathlib import Path

import numpy as np
import pytest

from desa2va.training.data.readers import READERS
from desa2va.training.data.record_dataset import RecordDataset
from desa2va.training.data.refshapes import RefShapes
from desa2va.training.data.refshapes.disk import DEFAULT_KINDS, write_refshapes
from desa2va.training.data.sources import open_source, reader_options
from tests.training.data.readers.picture_layouts import (
    OTHER,
    SIZE,
    SQUARE,
    box_mask,
    counts_of,
    picture,
    split_items,
    write,
    write_python2,
)

NAME = "COCO_train2014_000000000009.jpg"


def sentence(number, raw, sent=None):
    return {"sent_id": number, "raw": raw, "sent": sent or raw, "tokens": raw.split()}


def reference(number, ann_id, split="train", sentences=None, **more):
    suffix = NAME.replace(".jpg", f"_{number}.jpg")
    sentences = sentences or [sentence(10 * number, f"thing {number}")]
    return {
        "ref_id": number,
        "ann_id": ann_id,
        "category_id": 1,
        "image_id": 9,
        "split": split,
        "file_name": suffix,
        "sentences": sentences,
        "sent_ids": [entry["sent_id"] for entry in sentences],
        **more,
    }


def annotation(number, segmentation, **more):
    return {"id": number, "image_id": 9, "category_id": 1, "segmentation": segmentation, "iscrowd": 0, **more}


def layout(root, references, annotations, name="refcoco", refs="refs(unc).p", folder=None):
    """The original layout below Sa2VA's root."""
    home = root / "ref_seg" / name
    write_python2(home / refs, references)
    images = [{"id": 9, "file_name": NAME, "height": SIZE[0], "width": SIZE[1]}]
    write(home / "instances.json", {"images": images, "annotations": annotations, "categories": []})
    picture(root / (folder or f"ref_seg/{name}/coco2014/train2014") / NAME)
    return root


def read(root, split="train", name="refcoco", **options):
    return split_items(READERS[name].read(root, split, **options))


def dialogues(root, split="train", name="refcoco", **options):
    (record,), problems = read(root, split, name, **options)
    assert not problems
    return record, record.dialogues


def test_the_pictures_of_a_generated_set_come_back_with_their_masks(tmp_path):
    """Guards ids, rasterisation and the way to a sample: the masks are the generator's own pixels."""
    root = write_refshapes(tmp_path / "set", "refcoco", splits={"train": 4, "val": 2}, progress=False)
    records, problems = read(root)
    assert len(records) == 4
    assert not problems
    data = RefShapes("train", "full", length=4, kinds=DEFAULT_KINDS["refcoco"], video_fraction=0.0)
    for record, sample in zip(records, data, strict=True):
        instances = sample.scene["instance_map"]
        owns = [instances == value for value in np.unique(instances)[1:]]
        for dialogue in record.dialogues:
            mask = record.masks(dialogue)[0]
            assert any(np.array_equal(mask, own) for own in owns)
        drawn = RecordDataset([record], "refcoco")[0]
        assert np.array_equal(drawn.frames.shape, sample.frames.shape)
        assert len(drawn.conversations) == len({dialogue.group for dialogue in record.dialogues})


def test_pickles_of_python_2_and_the_picture_of_instances(tmp_path):
    """Guards the encoding of old texts, and the file name of a reference, whose suffix names no file."""
    root = layout(tmp_path, [reference(1, 5, sentences=[sentence(3, "Caf\xe9 sign.")])], [annotation(5, [SQUARE])])
    record, (dialogue,) = dialogues(root)
    assert Path(record.paths[0]).name == NAME
    assert dialogue.turns[0][0] == "Please segment caf\xe9 sign."
    assert dialogue.targets[0].label == "caf\xe9 sign"
    assert dict(dialogue.ids) == {"text": "caf\xe9 sign", "ref_id": 1, "image_id": 9, "ann_id": 5, "sent_id": 3}
    assert np.array_equal(record.masks(dialogue)[0, 0], box_mask(4, 4, 24, 24))


def test_training_takes_the_raw_words_and_evaluation_the_cleaned_ones(tmp_path):
    """Guards the two protocols: scores are reported for `sent`, with its capitals."""
    said = [sentence(1, "The Man.", "Man on Left")]
    root = layout(tmp_path, [reference(1, 5, split, said) for split in ("train", "val")], [annotation(5, [SQUARE])])
    assert dialogues(root)[1][0].ids["text"] == "the man"
    assert dialogues(root, "val")[1][0].ids["text"] == "Man on Left"
    assert dialogues(root, "val", text="raw")[1][0].ids["text"] == "the man"
    with pytest.raises(ValueError, match="text must be"):
        read(root, text="tokens")


@pytest.mark.parametrize(
    ("split", "found"), [("testA", {1, 3}), ("testB", {2, 3}), ("test", {1, 2, 3}), ("val", {4}), ("testC", {5})]
)
def test_splits_match_as_in_the_original_tool(tmp_path, split, found):
    """Guards "test", which is testA and testB together on RefCOCO, and the letters, which also match testAB."""
    own = {1: "testA", 2: "testB", 3: "testAB", 4: "val", 5: "C"}
    root = layout(tmp_path, [reference(n, n, own[n]) for n in own], [annotation(n, [SQUARE]) for n in own])
    assert {dialogue.ids["ref_id"] for dialogue in dialogues(root, split)[1]} == found


def test_an_unknown_split_names_those_of_the_file(tmp_path):
    """RefCOCOg by google has no test split; an empty evaluation would look like a score."""
    root = layout(tmp_path, [reference(1, 5)], [annotation(5, [SQUARE])], "refcocog", "refs(google).p")
    with pytest.raises(ValueError, match="no split 'test', only train"):
        read(root, "test", "refcocog", split_by="google")
    with pytest.raises(FileNotFoundError, match="umd"):
        read(root, "train", "refcocog")


def test_masks_of_every_spelling(tmp_path):
    """Guards empty lists (empty masks), overlapping parts (united), degenerate polygons (dropped), RefCLEF's codes."""
    square = box_mask(4, 4, 24, 24)
    spellings = {
        1: ([], np.zeros(SIZE, bool)),
        2: ([SQUARE, [14.0, 14.0, 34.0, 14.0, 34.0, 34.0, 14.0, 34.0]], square | box_mask(14, 14, 34, 34)),
        3: ([SQUARE, [0.0, 0.0, 60.0, 40.0], [1.0, 2.0, 3.0, 4.0, 50.0, 6.0, 7.0]], square),
        4: ([counts_of(square)], square),
        5: (counts_of(~square), ~square),
    }
    references = [reference(number, number) for number in spellings]
    annotations = [annotation(number, segmentation) for number, (segmentation, _) in spellings.items()]
    record, made = dialogues(layout(tmp_path, references, annotations))
    for dialogue, (_, mask) in zip(made, spellings.values(), strict=True):
        assert np.array_equal(record.masks(dialogue)[0, 0], mask)
    assert [dialogue.targets[0].is_empty for dialogue in made] == [True, False, False, False, False]


def test_sentences_of_one_object_are_alternatives(tmp_path):
    """Guards training on objects: two references of one annotation are one object, and none is lost."""
    first = reference(1, 5, sentences=[sentence(1, "a"), sentence(2, "b")])
    root = layout(
        tmp_path, [first, reference(2, 6), reference(3, 5)], [annotation(5, [SQUARE]), annotation(6, [OTHER])]
    )
    assert [dialogue.group for dialogue in dialogues(root)[1]] == [0, 0, 1, 0]


@pytest.mark.parametrize("folder", ["glamm_data/images/coco2014/train2014", "images/mscoco/images/train2014"])
def test_pictures_lie_where_a_layout_puts_them(tmp_path, folder):
    """Sa2VA evaluates from another folder than it trains from, and the original tool has a third."""
    root = layout(tmp_path, [reference(1, 5)], [annotation(5, [SQUARE])], "refcoco+", folder=folder)
    record, _ = dialogues(root, name="refcoco+")
    assert record.paths == (str(root / folder / NAME),)


def test_several_objects_none_and_crowds(tmp_path):
    """Guards gRefCOCO: lists of annotations are one target, -1 is none, crowds are left out, JSON is read too."""
    references = [reference(1, [5, 6]), reference(2, [-1]), reference(3, [-1]), reference(4, [5, 7])]
    crowd = annotation(7, counts_of(np.ones(SIZE, bool)), iscrowd=1)
    annotations = [annotation(5, [SQUARE]), annotation(6, [OTHER]), crowd]
    root = layout(tmp_path, [], annotations, "grefcoco")
    write(root / "ref_seg/grefcoco/grefs(unc).json", references)
    record, made = dialogues(root, name="grefcoco")
    assert [dialogue.kind for dialogue in made] == ["several", "no_target", "no_target", "several"]
    assert [dialogue.group for dialogue in made] == [0, 1, 2, 3]
    assert np.array_equal(record.masks(made[0])[0, 0], box_mask(4, 4, 24, 24) | box_mask(30, 10, 50, 40))
    assert np.array_equal(record.masks(made[3])[0, 0], box_mask(4, 4, 24, 24))
    assert made[1].targets == ()
    assert "ann_id" not in made[0].ids


def test_a_wrong_reference_is_named_and_the_others_are_read(tmp_path):
    """Guards the row in the message, and that one bad row does not cost the file."""
    references = [reference(1, 99), reference(2, 5), reference(3, 5, image_id=8), reference(4, 6)]
    bad = annotation(6, {"size": [10, 10], "counts": [100]})
    (record,), problems = read(layout(tmp_path, references, [annotation(5, [SQUARE]), bad]))
    assert [dialogue.ids["ref_id"] for dialogue in record.dialogues] == [2]
    assert [(problem.record, problem.field) for problem in problems] == [
        ("refs(unc).p, picture 8", "image_id"),
        ("refs(unc).p, reference 0", "ann_id"),
        ("refs(unc).p, reference 3", "segmentation"),
    ]


def test_pictures_of_another_size_missing_and_outside(tmp_path):
    """Guards masks of another copy of the pictures, and names that lead out of the root."""
    root = layout(tmp_path, [reference(1, 5)], [annotation(5, [SQUARE])])
    path = picture(root / "ref_seg/refcoco/coco2014/train2014" / NAME, (24, 32))
    ((), (problem,)) = read(root)
    assert problem.field == "size"
    assert "is 32 x 24 (width x height), the annotations are for 64 x 48" in str(problem)
    path.unlink()
    ((), (problem,)) = read(root)
    assert "no picture COCO_train2014_000000000009.jpg" in str(problem)
    images = [{"id": 9, "file_name": "../../../../../secret.jpg", "height": 1, "width": 1}]
    picture(tmp_path.parent / "secret.jpg", (1, 1))
    write(root / "ref_seg/refcoco/instances.json", {"images": images, "annotations": []})
    ((), (problem,)) = read(root)
    assert "leads out of" in str(problem)


def test_a_poisoned_pickle_is_refused(tmp_path):
    """A pickle is a program; one that calls something is no annotation file."""
    root = layout(tmp_path, [], [])
    (root / "ref_seg/refcoco/refs(unc).p").write_bytes(pickle.dumps([print]))
    with pytest.raises(ValueError, match=r"refs\(unc\)\.p, content: .*print"):
        read(root)


def test_status_tells_what_is_there(tmp_path):
    """Guards `data status`: a folder with a picture is no whole set."""
    root = layout(tmp_path, [reference(1, 5)], [annotation(5, [SQUARE])])
    status = READERS["refcoco"].present(root)
    assert status.found == ("ref_seg/refcoco/refs(unc).p", "ref_seg/refcoco/instances.json")
    assert status.missing == ("ref_seg/refcoco/coco2014/train2014 (partial: 1 of at least 19994 pictures)",)
    assert not status.complete
    assert "github.com" in status.where


def test_the_set_is_opened_by_its_name_with_its_own_options(tmp_path):
    """Guards `data.dataset=refcoco`: one reader serves five sets, and which of them is no option of any."""
    root = layout(tmp_path, [reference(1, 5)], [annotation(5, [SQUARE])])
    (record,) = open_source("refcoco", root=str(root), split="train", text="sent").records()
    assert record.name == NAME
    assert set(reader_options("refcoco")) == {"root", "split", "split_by", "text"}
