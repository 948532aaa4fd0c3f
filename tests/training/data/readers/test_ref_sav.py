"""Ref-SAV: every fourth frame of an mp4, masks by place, long and short descriptions."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from desa2va.processing.files import VideoWriter
from desa2va.training.data.mask_codes import decode_mask, encode_mask
from desa2va.training.data.readers.ref_sav import read_masklet, read_ref_sav, ref_sav_status
from desa2va.training.data.record_dataset import RecordDataset
from desa2va.training.data.record_media import read_timed_frames
from desa2va.training.data.sources import open_source, reader_options
from tests.training.data.readers.video_layouts import (
    by_exp,
    dump,
    edit,
    masks_of,
    same,
    split_up,
    track,
    videos,
    write_frames,
)

REAL = Path(__file__).parents[5] / "shared" / "real_data" / "sav_annotations" / "sav_000001_manual.json"
LONG = "A small thing. It moves from the left to the right."


def write_video(path, frames):
    path.parent.mkdir(parents=True, exist_ok=True)
    with VideoWriter(path, 24) as video:
        for frame in frames:
            video.write(frame)


@pytest.fixture
def root(tmp_path):
    """A video of 23 frames with masks on six, in both spellings of its folder; and the set for evaluation."""
    frames, maps = videos(1)[0]
    place = tmp_path / "video_datas" / "sam_v_full" / "sav_train" / "sav_000"
    write_video(place / "sav_000001.mp4", np.repeat(frames, 4, 0)[:23])
    masklet = [[encode_mask(frame == k) for k in (0, 1, 2)] for frame in maps]
    dump({"masklet": masklet, "masklet_id": [0, 1, 2], "video_height": 32.0}, place / "sav_000001_manual.json")
    table = {
        "sav_000001": {
            "video_path": "sav_000/sav_train/sav_000/sav_000001.mp4",
            "anno_path": "sav_000/sav_train/sav_000/sav_000001_manual.json",
            "objects": {
                "1": {"formated": LONG, "short_caps": ["A small thing", "A thing. A mover."], "x": 1},
                "2": {"formated": "The other.", "short_caps": ["it"]},
            },
        }
    }
    dump(table, tmp_path / "video_datas" / "Ref-SAV.json")
    names = write_frames(tmp_path / "ref_sav_eval" / "videos" / "sav_054", frames, step=4, first=100000, digits=6)
    said = {str(k): {"exp": f"Thing {k}", "obj_id": [k], "anno_id": [10000 + k], "type_id": k - 1} for k in (1, 2)}
    video = {"vid_id": "sav_054", "height": 32, "width": 32, "frames": names, "expressions": said}
    dump({"videos": {"sav_054": video}}, tmp_path / "ref_sav_eval" / "meta_expressions_valid.json")
    dump({str(10000 + k): track(maps == k) for k in (1, 2)}, tmp_path / "ref_sav_eval" / "mask_dict.json")
    return tmp_path


@pytest.fixture
def table(root):
    return root / "video_datas" / "Ref-SAV.json"


def test_masks_are_on_every_fourth_frame(root):
    """Guards against masks on the first six of 23 frames, and objects counted from 1."""
    (record,) = read_ref_sav(root, "train")
    frames, maps = videos(1)[0]
    assert (record.num_frames, record.stride, record.fps) == (6, 4, 6.0)
    assert record.paths[0].endswith("sam_v_full/sav_train/sav_000/sav_000001.mp4")
    for dialogue, k in zip(record.dialogues, (1, 2), strict=True):
        assert np.array_equal(masks_of(record, dialogue), maps == k)
        assert dialogue.ids["obj_id"] == str(k)
    pixels, seconds = read_timed_frames(record, [0, 3, 5])
    difference = np.abs(pixels.astype(int) - frames[[0, 3, 5]]).mean((1, 2, 3))
    others = np.abs(pixels.astype(int) - frames[[3, 5, 0]]).mean((1, 2, 3))
    assert (difference < others).all()
    assert seconds == pytest.approx((0, 0.5, 5 / 6))


def test_a_sample_has_the_masks_of_its_frames(root):
    """Guards the whole way of a training, by the name of the set and with its option."""
    source = open_source("ref_sav", root=root, captions="both")
    frames, maps = videos(1)[0]
    sample = RecordDataset(source.records(), source.name, num_frames=3)[0]
    assert len(sample.conversations) == 2
    kept = [round(second * 6) for second in sample.seconds]
    assert np.abs(sample.frames.astype(int) - frames[kept]).mean() < 20
    for conversation, k in zip(sample.conversations, (1, 2), strict=True):
        assert np.array_equal(conversation.masks[0], maps[kept] == k)
    assert set(reader_options("ref_sav")) == {"root", "split", "captions"}


def test_captions(root):
    """Guards the three ways of training: long descriptions, short ones without article, both as alternatives."""
    (record,) = read_ref_sav(root, "train")
    assert [dialogue.turns[0][0] for dialogue in record.dialogues] == [
        "Please segment a small thing. It moves from the left to the right.",
        "Please segment the other.",
    ]
    ids = {"video": "sav_000001", "obj_id": "1", "exp": LONG, "text": LONG, "type": 0}
    assert record.dialogues[0].ids == ids
    (record,) = read_ref_sav(root, "train", captions="short")
    said = [(dialogue.ids["exp"], dialogue.group, dialogue.ids["type"]) for dialogue in record.dialogues]
    assert said == [("small thing", 0, 1), ("thing. A mover.", 0, 1), ("it", 1, 1)]
    (record,) = read_ref_sav(root, "train", captions="both")
    assert [dialogue.group for dialogue in record.dialogues] == [0, 0, 0, 1, 1]
    with pytest.raises(ValueError, match="captions must be one of"):
        list(read_ref_sav(root, "train", captions="all"))


def test_the_right_spelling_of_a_folder_stays(root, table):
    """Only a folder that comes twice is removed, in both names."""
    before = list(read_ref_sav(root, "train"))
    for key in ("video_path", "anno_path"):
        edit(table, lambda c, key=key: c["sav_000001"].update({key: c["sav_000001"][key].removeprefix("sav_000/")}))
    assert list(read_ref_sav(root, "train")) == before
    table.rename(table.with_name("sam_v_final_v3.json"))
    assert list(read_ref_sav(root, "train")) == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda video: video.update(video_path="../../../x.mp4"), "leads out of"),
        (lambda video: video.update(anno_path="/etc/passwd"), "leads out of"),
        (lambda video: video.update(video_path="sav_train/sav_000/none.mp4"), "no file .*none.mp4"),
        (lambda video: video.pop("anno_path"), "needs a file name under 'anno_path'"),
        (
            lambda video: video["objects"].update({"3": {"formated": "x"}}),
            "object 3: .*objects 0 to 2, none of number 3",
        ),
        (lambda video: video["objects"].update({"-1": {"formated": "x"}}), "object -1: .*none of number -1"),
        (lambda video: video["objects"].update({"0": {"formated": " "}}), "object 0: needs a description"),
    ],
)
def test_what_is_wrong_is_named(root, table, change, message):
    edit(table, lambda c: change(c["sav_000001"]))
    records, errors = split_up(read_ref_sav(root, "train"))
    assert len(errors) == 1
    with pytest.raises(type(errors[0]), match=f"Ref-SAV.json, video sav_000001, .*{message}"):
        raise errors[0]
    assert len(records) == ("object" in message)


@pytest.mark.parametrize("count", [20, 25])
def test_counts_must_agree(root, count):
    """Guards against masks that drift from their frames: 24 and 6 a second only fit where the counts do."""
    path = root / "video_datas" / "sam_v_full" / "sav_train" / "sav_000" / "sav_000001.mp4"
    path.unlink()
    write_video(path, np.repeat(videos(1)[0][0], 5, 0)[:count])
    (error,) = read_ref_sav(root, "train")
    assert f"masks of 6 frames, but every 4th of the {count} of the video makes {-(-count // 4)}" in str(error)


def test_evaluation(root):
    """Guards the frame names of the evaluation set, which count frames at 24 a second from 100000."""
    (record,) = read_ref_sav(root, "valid")
    maps = videos(1)[0][1]
    assert [os.path.basename(path) for path in record.paths[:2]] == ["100000.jpg", "100004.jpg"]
    assert record.fps == 6.0
    assert all(same(record, str(k), maps == k) for k in (1, 2))
    assert [by_exp(record)[k].ids["type"] for k in ("1", "2")] == [0, 1]


def test_status(root):
    status = ref_sav_status(root)
    assert status.complete
    assert "ai.meta.com/datasets/segment-anything-video" in status.where
    assert len(ref_sav_status(root / "none").missing) == 5


@pytest.mark.skipif(not REAL.is_file(), reason="the real SA-V annotation is not in ../shared")
def test_a_real_annotation(tmp_path):
    """121 annotated frames of 483, five objects, 848 x 480; a part of it as a record."""
    content = json.loads(REAL.read_text())
    assert len(read_masklet(os.fspath(REAL), 483)) == 121
    place = tmp_path / "video_datas" / "sam_v_full" / "sav_train" / "sav_000"
    write_video(place / "sav_000001.mp4", np.zeros((21, 848, 480, 3), np.uint8))
    dump({**content, "masklet": content["masklet"][:6]}, place / "sav_000001_manual.json")
    name = "sav_000/sav_train/sav_000/sav_000001"
    entry = {"video_path": f"{name}.mp4", "anno_path": f"{name}_manual.json"}
    entry["objects"] = {str(k): {"formated": f"object {k}"} for k in range(5)}
    dump({"sav_000001": entry}, tmp_path / "video_datas" / "Ref-SAV.json")
    records, errors = split_up(read_ref_sav(tmp_path, "train"))
    assert not errors
    (record,) = records
    assert (record.num_frames, record.size, len(record.dialogues)) == (6, (848, 480), 5)
    for number, dialogue in enumerate(record.dialogues):
        held = dialogue.targets[0].codes[5]
        code = content["masklet"][5][number]
        assert held == code if held else not decode_mask(code).any()
    assert masks_of(record, record.dialogues[0])[0].any()
