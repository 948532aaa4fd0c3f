"""Tables of `datasets`: cells of every kind give the same masks, whole and streamed; nothing is decoded in vain."""

import io

import datasets
import numpy as np
import pytest
from PIL import Image

from desa2va.processing.files import VideoWriter, encode_mask
from desa2va.training.data.build import open_dataset
from desa2va.training.data.readers import RecordStream, read_table
from desa2va.training.data.records import RecordError

SIZE = (24, 32)


def block(left):
    mask = np.zeros(SIZE, bool)
    mask[6:14, left : left + 8] = True
    return mask


def png(pixels):
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return {"bytes": stream.getvalue(), "path": None}


PICTURE = png(np.full((*SIZE, 3), 90, np.uint8))
NUMBERS = png((block(4) + 2 * block(20)).astype(np.uint8))
RLE = {"size": datasets.List(datasets.Value("int32")), "counts": datasets.Value("string")}
TEXT = datasets.Value("string")
POLYGONS = datasets.List(datasets.List(datasets.Value("float64")))
SQUARE = [4.0, 6.0, 12.0, 6.0, 12.0, 14.0, 4.0, 14.0]


def saved(tmp_path, features, *rows, parquet=True):
    table = datasets.Dataset.from_list(list(rows), features=datasets.Features(features))
    if parquet:
        table.to_parquet(tmp_path / "set" / "data" / "validation-00000-of-00001.parquet")
    else:
        table.save_to_disk(tmp_path / "set")
    return tmp_path / "set"


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def masks_of(record):
    return [record.masks(dialogue)[0, 0] for dialogue in record.dialogues]


@pytest.mark.parametrize("streamed", [False, True])
def test_refcoco_m(tmp_path, streamed):
    """The layout of RefCOCO-M: codes in structures in a list, several sentences each, which are alternatives."""
    samples = [
        {
            "label": "dog",
            "sentences": ["the dog", "left"],
            "bbox": [4.0, 6.0, 8.0, 8.0],
            "mask": encode_mask(block(4)),
        },
        {"label": "cat", "sentences": ["the cat"], "bbox": [20.0, 6.0, 8.0, 8.0], "mask": encode_mask(block(20))},
    ]
    inner = {"label": TEXT, "sentences": datasets.List(TEXT), "bbox": datasets.List(datasets.Value("float32"))}
    features = {"image": datasets.Image(), "image_id": datasets.Value("int64"), "file_name": TEXT}
    features["samples"] = datasets.List({**inner, "mask": RLE})
    row = {"image": PICTURE, "image_id": 9, "file_name": "a.jpg", "samples": samples}
    found = read_table(saved(tmp_path, features, row, row), streamed=streamed)
    assert isinstance(found, RecordStream) == streamed
    first, _ = found.items()
    assert [dialogue.ids["text"] for dialogue in first.dialogues] == ["the dog", "left", "the cat"]
    assert [dialogue.group for dialogue in first.dialogues] == [0, 0, None]
    for own, left in zip(masks_of(first), (4, 4, 20), strict=True):
        assert np.array_equal(own, block(left))
    if not streamed:
        data = open_dataset(tmp_path / "set")
        assert data[1].frames.shape == (1, *SIZE, 3)
        assert len(data[1].conversations) == 2


@pytest.mark.parametrize("parquet", [True, False])
@pytest.mark.parametrize(
    ("feature", "cell"),
    [
        (RLE, encode_mask(block(4))),
        (POLYGONS, [SQUARE]),
        (datasets.Image(), png(block(4).astype(np.uint8) * 255)),
        (datasets.List(RLE), [encode_mask(block(4))]),
        (datasets.List(POLYGONS), [[SQUARE]]),
        (datasets.List(datasets.Image()), [png(block(4).astype(np.uint8))]),
    ],
    ids=["code", "polygons", "picture", "codes", "lists of polygons", "pictures"],
)
def test_every_kind_of_mask(tmp_path, feature, cell, parquet):
    """Guards against one mask taken for many, and many for one."""
    listed = isinstance(cell, list) and feature is not POLYGONS
    features = {"image": datasets.Image(), "mask": feature, "text": datasets.List(TEXT) if listed else TEXT}
    row = {"image": PICTURE, "mask": cell, "text": ["it"] if listed else "it"}
    (record,) = read_table(saved(tmp_path, features, row, parquet=parquet)).items()
    assert np.array_equal(masks_of(record)[0], block(4))


def test_object_numbers_and_named_columns(tmp_path):
    """Guards palette cells with a number per text, columns under other names, and texts that fit nothing."""
    features = {"photo": datasets.Image(), "seg": datasets.Image(mode="L"), "said": datasets.List(TEXT)}
    features["which"] = datasets.List(datasets.Value("int64"))
    row = {"photo": PICTURE, "seg": NUMBERS, "said": ["left", "right"], "which": [1, 2]}
    path = saved(tmp_path, features, row)
    columns = {"image": "photo", "mask": "seg", "text": "said", "object": "which"}
    (record,) = read_table(path, columns=columns).items()
    for own, left in zip(masks_of(record), (4, 20), strict=True):
        assert np.array_equal(own, block(left))
    with pytest.raises(ValueError, match="which column is the image\\? It has photo, seg, said, which"):
        read_table(path)
    with pytest.raises(ValueError, match="no column 'fotos' for image"):
        read_table(path, columns={"image": "fotos"})
    with pytest.raises(ValueError, match="no split 'train'; it has validation"):
        read_table(path, split="train")


@pytest.mark.parametrize("kind", ["video cell", "frames"])
def test_videos(tmp_path, kind):
    """Guards video cells, which stay bytes until frames are asked for, and lists of frames."""
    codes = [encode_mask(block(4 * t)) for t in range(3)]
    if kind == "frames":
        cell, feature = [PICTURE] * 3, datasets.List(datasets.Image())
    else:
        with VideoWriter(tmp_path / "a.mp4", 10) as writer:
            for _ in range(3):
                writer.write(np.full((*SIZE, 3), 90, np.uint8))
        cell, feature = {"bytes": (tmp_path / "a.mp4").read_bytes(), "path": None}, datasets.Video()
    features = {"video": feature, "masklets": datasets.List(datasets.List(RLE)), "expressions": datasets.List(TEXT)}
    path = saved(tmp_path, features, {"video": cell, "masklets": [codes], "expressions": ["the block"]})
    sample = open_dataset(path, num_frames=3)[0]
    assert sample.is_video
    assert sample.frames.shape == (3, *SIZE, 3)
    assert np.array_equal(sample.conversations[0].masks[0], np.stack([block(4 * t) for t in range(3)]))


def test_wrong_rows_are_named(tmp_path):
    """Guards against an error without its row, in a check as in training."""
    features = {"image": datasets.Image(), "mask": RLE, "text": TEXT}
    good = {"image": PICTURE, "mask": encode_mask(block(4)), "text": "it"}
    wrong = [
        {**good, "mask": encode_mask(block(4).T)},
        {**good, "text": ""},
        {**good, "image": None},
        {**good, "mask": encode_mask(block(40))},
    ]
    found = list(read_table(saved(tmp_path, features, good, *wrong)).items())
    messages = [
        "row 1, mask 0: .*the code is",
        "row 2, text 0",
        "row 3, image: an empty cell",
        "row 4, mask 0: .*pixel",
    ]
    for item, message in zip(found[1:], messages, strict=True):
        with pytest.raises(RecordError, match=message):
            raise item
    with pytest.raises(RecordError, match="row 2, text 0"):
        open_dataset(tmp_path / "set")[2]


def test_a_pass_over_a_stream_ends_at_once(tmp_path, monkeypatch):
    """`datasets` mixed several files at a time and then slept for five seconds, in every reader after every pass."""
    for number in range(3):
        table = datasets.Dataset.from_list([{"image": PICTURE, "text": "it", "mask": None}] * 2)
        table.to_parquet(tmp_path / "set" / f"train-{number:05}-of-00003.parquet")
    slept = []
    monkeypatch.setattr(datasets.iterable_dataset.time, "sleep", slept.append)
    stream = read_table(tmp_path / "set", streamed=True)
    assert sum(1 for _ in stream.shuffled(seed=0, epoch=0, buffer=4)) == 6
    assert slept == []
