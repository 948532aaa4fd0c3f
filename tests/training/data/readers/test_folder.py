"""A folder of pictures or videos, mask pictures of object numbers, and a table: no JSON to write."""

import json

import numpy as np
import pytest
from PIL import Image

from desa2va.cli import main
from desa2va.processing.files import VideoWriter, encode_mask
from desa2va.training.data.build import open_dataset
from desa2va.training.data.readers.folder import read_folder
from desa2va.training.data.records import Record, RecordError

SIZE = (24, 32)
NUMBERS = np.zeros(SIZE, np.uint8)
NUMBERS[2:8, 3:9], NUMBERS[10:20, 12:30], NUMBERS[0, :] = 1, 2, 255


def save(path, numbers, mode="P"):
    """A mask picture whose palette would lie about its numbers if anybody read the colours."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(numbers)
    if mode == "P":
        image.putpalette([value for number in range(256) for value in (255 - number, 0, number)])
    image.convert(mode if mode == "RGB" else image.mode).save(path)


@pytest.fixture
def folder(tmp_path):
    """A picture with objects 1, 2 and void 255, and its table."""
    save(tmp_path / "masks" / "a.png", NUMBERS)
    (tmp_path / "images").mkdir()
    Image.new("RGB", SIZE[::-1], (90, 90, 90)).save(tmp_path / "images" / "a.jpg")
    return tmp_path


def table(folder, *rows, header="image,object,expression"):
    (folder / "expressions.csv").write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return folder


def test_numbers_are_read_as_stored(folder):
    """Guards against luminance or colours in place of numbers, unions, and expressions without target."""
    table(folder, "a.jpg,1,the small one", 'a.jpg,1;2,"both, together"', "a.jpg,,the dog", "a.jpg,255,the edge")
    (sample,) = open_dataset(folder)
    masks = [conversation.masks for conversation in sample.conversations]
    for own, numbers in zip((masks[0], masks[1], masks[3]), ([1], [1, 2], [255]), strict=True):
        assert np.array_equal(own[0, 0], np.isin(NUMBERS, numbers))
    assert masks[2].shape[0] == 0
    assert sample.conversations[1].turns[0][0] == "Please segment both, together."


@pytest.mark.parametrize("mode", ["P", "L"])
def test_json_lines_and_other_names(folder, mode):
    """Guards the second spelling of the table, lists of numbers, and grey mask pictures."""
    save(folder / "masks" / "a.png", NUMBERS, mode)
    rows = [{"file_name": "a.jpg", "text": "two", "objects": [2]}, {"image": "a.jpg", "text": "none", "object": None}]
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    for given in (folder, folder / "rows.jsonl"):
        (sample,) = open_dataset(given)
        assert [len(conversation.masks) for conversation in sample.conversations] == [1, 0]
        assert np.array_equal(sample.conversations[0].masks[0, 0], NUMBERS == 2)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("b.jpg,1,it", r"expressions.csv, line 3 \(b.jpg\), image: no file .*b.jpg"),
        ("../a.jpg,1,it", "line 3 .*image: file name '../a.jpg' leads out of"),
        ("a.jpg,7,it", "line 3 .*object: no object 7 in the mask of a.jpg, which holds 1, 2, 255"),
        ("a.jpg,0,it", "line 3, object: objects are numbered from 1"),
        ("a.jpg,one,it", "line 3, object: must be a number"),
        ("a.jpg,1,", "line 3, expression: must be an expression"),
        (",1,it", 'line 3, row: a row names either one "image"'),
        ("a.jpg,1,the [SEG]", r"line 3, expression: \[SEG\] is what only answers hold"),
    ],
)
def test_wrong_rows_are_named(folder, row, message):
    """Guards against an error without file and line; the right row before it stays."""
    good, wrong = sorted(
        read_folder(table(folder, "a.jpg,1,one", row)), key=lambda item: isinstance(item, RecordError)
    )
    assert isinstance(good, Record)
    with pytest.raises(RecordError, match=message):
        raise wrong
    with pytest.raises(ValueError, match="1 of its records are wrong"):
        open_dataset(folder)


@pytest.mark.parametrize(
    ("numbers", "mode", "message"),
    [
        (NUMBERS.T, "P", "is 24 x 32 but its picture is 32 x 24"),
        (NUMBERS, "RGB", "holds colours .mode RGB"),
        (None, "P", "no object 1 in the mask of a.jpg, which has none: no mask in masks/, or an empty one"),
        (b"broken", "P", "no mask that can be read"),
    ],
    ids=["size", "colours", "missing", "broken"],
)
def test_wrong_masks_are_named(folder, numbers, mode, message):
    """Guards against masks of another picture, screenshots of masks, and missing files."""
    path = folder / "masks" / "a.png"
    path.unlink()
    if isinstance(numbers, bytes):
        path.write_bytes(numbers)
    elif numbers is not None:
        save(path, numbers, mode)
    (problem,) = read_folder(table(folder, "a.jpg,1,one"))
    with pytest.raises(RecordError, match=rf"line 2 \(a.jpg\), .*{message}"):
        raise problem


def moving(t):
    numbers = np.zeros(SIZE, np.uint8)
    numbers[4:10, 4 * t : 4 * t + 6] = 3
    return numbers


def test_frames_and_palette_masks(tmp_path):
    """Guards the pairing by name: a frame without mask shows nothing, and shifts none of the others."""
    for t in range(4):
        (tmp_path / "videos" / "dog").mkdir(parents=True, exist_ok=True)
        Image.new("RGB", SIZE[::-1], (40 * t, 0, 0)).save(tmp_path / "videos" / "dog" / f"{5 * t:05d}.jpg")
        if t != 1:
            save(tmp_path / "masks" / "dog" / f"{5 * t:05d}.png", moving(t))
    table(tmp_path, "dog,3,the dog", header="video,object,expression")
    (sample,) = open_dataset(tmp_path)
    truth = np.stack([moving(t) == 3 if t != 1 else np.zeros(SIZE, bool) for t in range(4)])
    assert np.array_equal(sample.conversations[0].masks[0], truth)
    save(tmp_path / "masks" / "dog" / "00003.png", moving(1))
    (problem,) = read_folder(tmp_path)
    assert "00003.png belongs to no frame of the video, which has 4" in str(problem)


@pytest.mark.parametrize("listed", [True, False], ids=["codes", "pictures"])
def test_video_files(tmp_path, listed):
    """Guards mp4 with masks by number of frame, and with lists of codes."""
    (tmp_path / "videos").mkdir()
    with VideoWriter(tmp_path / "videos" / "dog.mp4", 10) as writer:
        for _ in range(4):
            writer.write(np.full((*SIZE, 3), 90, np.uint8))
    if listed:
        (tmp_path / "masks").mkdir()
        codes = [encode_mask(moving(t) == 3) if t else None for t in range(4)]
        (tmp_path / "masks" / "dog.json").write_text(json.dumps({"3": codes}))
    else:
        for t in range(1, 4):
            save(tmp_path / "masks" / "dog" / f"{t:05d}.png", moving(t))
    table(tmp_path, "dog.mp4,3,the dog", header="video,object,expression")
    (sample,) = open_dataset(tmp_path)
    assert sample.is_video
    truth = np.stack([moving(t) == 3 if t else np.zeros(SIZE, bool) for t in range(4)])
    assert np.array_equal(sample.conversations[0].masks[0], truth)


def test_two_tables(folder):
    """Guards against a table picked by chance."""
    for name in ("train.csv", "val.csv"):
        (folder / name).write_text("image,object,expression\na.jpg,1,one\n")
    with pytest.raises(ValueError, match=r"several tables \(train.csv, val.csv\); name the file"):
        open_dataset(folder)
    assert len(open_dataset(folder / "val.csv")) == 1
    (folder / "val.csv").write_text("image,expression\na.jpg,one\n")
    with pytest.raises(ValueError, match="val.csv: no column 'object'"):
        open_dataset(folder / "val.csv")
    (folder / "val.csv").write_text("image;object;expression\na.jpg;1;one\n")  # as some spreadsheets write it
    with pytest.raises(ValueError, match="'image;object;expression', read as divided by commas"):
        open_dataset(folder / "val.csv")


def test_a_table_without_rows(folder, capsys):
    """A check of nothing found no problems, and a training would have found nothing to learn."""
    (folder / "empty.csv").write_text("image,object,expression\n")
    assert main(["data", "check", str(folder / "empty.csv")]) == 2
    assert "empty.csv holds no record" in capsys.readouterr().err
    with pytest.raises(ValueError, match="holds no record"):
        open_dataset(folder / "empty.csv")
