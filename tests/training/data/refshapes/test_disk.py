"""Folders in the public layouts, read back with pycocotools and plain JSON."""

import json
import pickle

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from desa2va.training.data.refshapes import disk as refshapes_disk
from desa2va.training.data.refshapes.dataset import RefShapes
from desa2va.training.data.refshapes.disk import DEFAULT_KINDS, FORMATS, write_refshapes


def write(folder, format, splits, **options):
    return write_refshapes(folder / "set", format, splits=splits, progress=False, **options)


def load(path):
    return json.loads(path.read_text(encoding="utf-8"))


def decode(code):
    return coco_mask.decode(code).astype(bool)


def read(path):
    return np.asarray(Image.open(path))


def test_finetune_round_trip(tmp_path):
    """Guards our fine-tuning format: parallel lists, exact masks, null without target, frame lists for videos."""
    options = {"video_fraction": 0.4, "conversations": 3}
    folder = write(tmp_path, "finetune", {"train": 14}, **options)
    data = RefShapes("train", "full", length=14, kinds=DEFAULT_KINDS["finetune"], **options)
    entries = load(folder / "train.json")
    assert len(entries) == 14
    assert {"image" in entry for entry in entries} == {True, False}
    empty = 0
    for entry, sample in zip(entries, data, strict=True):
        files = entry["video"] if sample.is_video else [entry["image"]]
        assert np.array_equal(np.stack([read(folder / "images" / name) for name in files]), sample.frames)
        assert len(entry["mask"]) == len(entry["text"]) == 3
        for mask, text, conversation in zip(entry["mask"], entry["text"], sample.conversations, strict=True):
            assert text in conversation.turns[0][0]
            if mask is None:
                assert conversation.kind == "no_target"
                empty += 1
            elif sample.is_video:
                frames = [np.zeros((128, 128), bool) if code is None else decode(code) for code in mask]
                assert np.array_equal(np.stack(frames), conversation.masks.any(0))
            else:
                parts = coco_mask.frPyObjects(mask, 128, 128)
                assert np.array_equal(decode(coco_mask.merge(parts)), conversation.masks.any(0)[0])
    assert empty


def test_refcoco_is_read_by_pycocotools(tmp_path):
    """Guards ids and polygons: every reference must reach its own object through `instances.json`."""
    splits = {"train": 5, "val": 3, "testA": 2}
    folder = write(tmp_path, "refcoco", splits)
    coco = COCO(str(folder / "instances.json"))
    references = pickle.loads((folder / "refs(unc).p").read_bytes(), encoding="latin1")
    samples = [s for split, n in splits.items() for s in RefShapes(split, "full", length=n, conversations=1)]
    assert len(coco.imgs) == len(samples) == 10
    assert {reference["split"] for reference in references} == set(splits)
    seen_sentences = []
    for reference in references:
        annotation = coco.anns[reference["ann_id"]]
        assert annotation["image_id"] == reference["image_id"]
        assert annotation["category_id"] == reference["category_id"]
        image = coco.imgs[reference["image_id"]]
        picture = read(folder / "coco2014" / "train2014" / image["file_name"])
        assert picture.shape == (128, 128, 3)
        assert reference["file_name"] != image["file_name"]
        category = coco.cats[reference["category_id"]]["name"]
        for sentence in reference["sentences"]:
            assert category in sentence["sent"] or "object" in sentence["sent"]
            assert sentence["tokens"] == sentence["sent"].split()
        assert reference["sent_ids"] == [sentence["sent_id"] for sentence in reference["sentences"]]
        seen_sentences += reference["sent_ids"]
    assert seen_sentences == list(range(len(seen_sentences)))
    for image_id, annotations in coco.imgToAnns.items():
        masks = [coco.annToMask(annotation).astype(bool) for annotation in annotations]
        assert np.stack(masks).sum(0).max() == 1
        for annotation, mask in zip(annotations, masks, strict=True):
            assert mask.sum() == annotation["area"]
            x, y, width, height = annotation["bbox"]
            assert mask[int(y) : int(y + height), int(x) : int(x + width)].sum() == annotation["area"]
        assert len(masks) <= 6, image_id


def test_mevis_masks_belong_to_the_frames(tmp_path):
    """Guards annotation ids shared by two videos, and answers in the splits that must be blind."""
    folder = write(tmp_path, "mevis", {"train": 4, "valid": 2, "test": 1})
    codes = load(folder / "train" / "mask_dict.json")
    videos = load(folder / "train" / "meta_expressions.json")["videos"]
    data = RefShapes("train", "full", length=4, kinds=DEFAULT_KINDS["mevis"], video_fraction=1.0)
    assert len(videos) == 4
    used = set()
    for (name, video), sample in zip(videos.items(), data, strict=True):
        frames = [read(folder / "train" / "JPEGImages" / name / f"{frame}.jpg") for frame in video["frames"]]
        assert np.abs(np.stack(frames).astype(int) - sample.frames).mean() < 12  # JPEG of noisy pictures
        for expression, conversation in zip(video["expressions"].values(), sample.conversations, strict=True):
            masks = np.zeros(sample.frames.shape[:3], bool)
            for annotation in expression["anno_id"]:
                used.add((name, annotation))
                track = codes[str(annotation)]
                masks |= np.stack([np.zeros((128, 128), bool) if c is None else decode(c) for c in track])
            assert np.array_equal(masks, conversation.masks.any(0))
    assert len(used) == len({annotation for _, annotation in used})
    for split, name in (("valid", "meta_expressions.json"), ("test", "meta_expressions_release.json")):
        assert not (folder / split / "mask_dict.json").exists()
        for video in load(folder / split / name)["videos"].values():
            assert all(set(expression) == {"exp"} for expression in video["expressions"].values())


def test_gcg_offsets_and_truth_files(tmp_path):
    """Guards caption offsets and the agreement of labels and masks in the evaluation files."""
    folder = write(tmp_path, "gcg", {"train": 6, "val": 4})
    records = load(folder / "annotations" / "GranDf_HA_GCG_train.json")
    assert len(records) == 6
    for record in records:
        assert (folder / "images" / "grandf" / "train" / record["file_name"]).exists()
        for phrase, grounding in record["groundings"].items():
            start, end = grounding["token_positives"]
            assert record["caption"][start:end] == phrase
            for code in grounding["rle_masks"]:
                assert decode(code).shape == (record["height"], record["width"])
                assert decode(code).any()
    truth = folder / "annotations" / "gcg_val_test"
    masks = COCO(str(truth / "val_gcg_coco_mask_gt.json"))
    captions = load(truth / "val_gcg_coco_caption_gt.json")
    assert [image["id"] for image in captions["images"]] == list(masks.imgs)
    for caption in captions["annotations"]:
        annotations = masks.imgToAnns[caption["image_id"]]
        assert len(annotations) == len(caption["labels"])
        assert all(masks.annToMask(annotation).sum() == annotation["area"] > 0 for annotation in annotations)
        assert all(label in caption["caption"] for label in caption["labels"])
        assert (folder / "images" / "grandf" / "val_test" / f"{caption['image_id']}.jpg").exists()


@pytest.mark.parametrize("format", FORMATS)
def test_nothing_is_overwritten(tmp_path, format):
    """Guards a user's folder; an empty one is fine."""
    (tmp_path / "set").mkdir()
    write(tmp_path, format, {"train": 1})
    before = sorted(path.name for path in (tmp_path / "set").iterdir())
    with pytest.raises(FileExistsError, match="not an empty folder"):
        write(tmp_path, format, {"train": 1})
    assert sorted(path.name for path in (tmp_path / "set").iterdir()) == before


def test_failure_leaves_nothing_behind(tmp_path, monkeypatch):
    """Guards half-written folders that look complete."""

    def fail(folder, sets, bar):
        (folder / "half.json").write_text("[]", encoding="utf-8")
        raise OSError("disk full")

    monkeypatch.setattr(refshapes_disk, "write_gcg", fail)
    with pytest.raises(OSError, match="disk full"):
        write(tmp_path, "gcg", {"train": 1})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("format", "splits", "options", "message"),
    [
        ("coco", {"train": 1}, {}, "format must be"),
        ("refcoco", {"train": 0}, {}, "at least one sample"),
        ("refcoco", {"train": 1}, {"kinds": {"no_target": 1.0}}, "cannot hold"),
        ("mevis", {"train": 1}, {"kinds": {"no_target": 1.0}}, "cannot hold"),
    ],
)
def test_bad_arguments_are_named(tmp_path, format, splits, options, message):
    """Guards kinds a format has no place for: they would be written without their meaning."""
    with pytest.raises(ValueError, match=message):
        write(tmp_path, format, splits, **options)
    assert list(tmp_path.iterdir()) == []
