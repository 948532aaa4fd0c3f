"""ReVOS: kinds of expressions, names with slashes, the foreground of its robustness score."""

import numpy as np
import pytest

from desa2va.training.data.mask_codes import decode_mask, encode_mask
from desa2va.training.data.readers import read_revos_foreground
from desa2va.training.data.readers.revos import read_revos, revos_status
from tests.training.data.readers.video_layouts import (
    by_exp,
    dump,
    edit,
    same,
    split_up,
    track,
    videos,
    write_frames,
)

pytestmark = pytest.mark.usefixtures("own_files")

NAMES = ("UVO/all/-fbscFfkh4M", "TAO/b_1")


@pytest.fixture
def root(tmp_path):
    """One video for training, one for validation, masks of both in one file."""
    folder = tmp_path / "video_datas" / "revos"
    codes, foreground = {}, {}
    for split, name, (frames, maps) in zip(("train", "valid"), NAMES, videos(2), strict=True):
        names = write_frames(folder / "JPEGImages" / name, frames)
        objects = [int(k) for k in np.unique(maps) if k]
        first = 3000000 + len(codes)
        for k in objects:
            codes[str(first + k)] = track(maps == k)
        said = {
            "0": {"exp": "The first one.", "obj_id": [0], "anno_id": [first + 1], "type_id": 0},
            "1": {"exp": "Which of them are likely to move?", "obj_id": [0, 1], "anno_id": [first + 1, first + 2]},
            "2": {"exp": "a purple elephant", "obj_id": [], "anno_id": [], "type_id": 2},
        }
        said["1"]["type_id"] = 1
        video = {"vid_id": 7, "height": 32, "width": 32, "frames": names, "expressions": said}
        dump({"videos": {name: video}}, folder / f"meta_expressions_{split}_.json")
        foreground[name] = {"masks_rle": [encode_mask(np.isin(frame, (1, 2))) for frame in maps]}
        foreground[name]["foreground_ratio"] = [0.1] * len(maps)
    dump(codes, folder / "mask_dict.json")
    dump(foreground, folder / "mask_dict_foreground.json")
    return tmp_path


@pytest.mark.parametrize("split", ["train", "valid"])
def test_kinds_of_expressions(root, split):
    """Guards against masks for what is not there, and against names of videos cut at a slash."""
    records, errors = split_up(read_revos(root, split))
    assert not errors
    (record,) = records
    number = ("train", "valid").index(split)
    maps = videos(2)[number][1]
    assert record.name == NAMES[number]
    assert record.paths[3].endswith(f"/revos/JPEGImages/{NAMES[number]}/00003.jpg")
    assert record.fps is None
    said = by_exp(record)
    assert [dialogue.ids["type"] for dialogue in said.values()] == [0, 1, 2]
    assert [dialogue.kind for dialogue in said.values()] == ["target", "target", "no_target"]
    assert same(record, "0", maps == 1)
    assert same(record, "1", np.isin(maps, (1, 2)))
    assert said["0"].turns[0][0] == "Please segment the first one."
    assert said["1"].turns[0][0] == "Which of them are likely to move?"
    assert said["2"].turns[0][1] == "There is no purple elephant."
    assert said["0"].ids["video"] == NAMES[number]


def test_frames_without_their_level(root):
    """Sa2VA's download has the videos in the folder itself."""
    folder = root / "video_datas" / "revos"
    for name in ("UVO", "TAO"):
        (folder / "JPEGImages" / name).rename(folder / name)
    (folder / "JPEGImages").rmdir()
    (record,) = read_revos(root, "train")
    assert record.paths[0].endswith(f"/revos/{NAMES[0]}/00000.jpg")
    assert revos_status(root).complete


def test_foreground(root):
    """Guards the mask that R is relative to: per frame, of 0 and 1 alone."""
    foreground = read_revos_foreground(root)
    assert list(foreground) == sorted(NAMES)
    for name, (_, maps) in zip(NAMES, videos(2), strict=True):
        shown = [np.zeros((32, 32), bool) if code is None else decode_mask(code) for code in foreground[name]]
        assert np.array_equal(np.stack(shown), np.isin(maps, (1, 2)))
    edit(root / "video_datas" / "revos" / "mask_dict_foreground.json", lambda c: c[NAMES[1]].pop("masks_rle"))
    with pytest.raises(ValueError, match="video TAO/b_1: expected a code per frame in 'masks_rle'"):
        read_revos_foreground(root)


def test_train_sub_and_status(root):
    folder = root / "video_datas" / "revos"
    assert revos_status(root).complete
    assert revos_status(root).licence == "CC BY-NC-SA 4.0"
    (folder / "meta_expressions_train_.json").rename(folder / "meta_expressions_train_sub_.json")
    assert [record.name for record in read_revos(root, "train_sub")] == [NAMES[0]]
    assert revos_status(root).missing == ("video_datas/revos/meta_expressions_train_.json",)
