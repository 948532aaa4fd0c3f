import json
import os

import numpy as np
import pytest
from PIL import Image

from desa2va.processing.files import write_file
from desa2va.processing.files.export import index_palette, index_pixels
from desa2va.processing.files.mask_codec import decode_mask, encode_mask
from desa2va.processing.inputs.video_io import MemorySource, open_visual
from desa2va.processing.results.results import ObjectResult, SegmentationResult


def make_result(masks, phrases=None, fps=8.0):
    """A result from bool masks (O, T, H, W)."""
    count, num_frames, height, width = masks.shape
    objects = [
        ObjectResult(
            number,
            "ok",
            "",
            (phrases or [None] * count)[number],
            None,
            0.9,
            [encode_mask(mask) for mask in track],
            [0.5] * num_frames,
            [0.8] * num_frames,
        )
        for number, track in enumerate(masks)
    ]
    source = MemorySource(np.full((num_frames, height, width, 3), 60, np.uint8))
    return SegmentationResult("", "", objects, "ok", "", height, width, num_frames, fps, "clip", source)


@pytest.fixture
def masks():
    """Two objects on three frames of 10 x 14 pixels; nothing on the second frame."""
    masks = np.zeros((2, 3, 10, 14), bool)
    masks[0, [0, 2], 2:5, 3:9] = True
    masks[1, 2, 6:9, 1:4] = True
    return masks


def test_palette_pngs_hold_every_frame_and_every_pixel(tmp_path, masks):
    """Frames without an object must not drop out, or the folder no longer lines up with the video."""
    paths = make_result(masks).save_png(tmp_path / "png")
    assert [os.path.basename(path) for path in paths] == ["00000.png", "00001.png", "00002.png"]
    for t, path in enumerate(paths):
        image = Image.open(path)
        assert image.mode == "P"
        values = np.asarray(image)
        for number in range(2):
            np.testing.assert_array_equal(values == number + 1, masks[number, t])


def test_palette_is_that_of_davis():
    assert index_palette()[:15] == [0, 0, 0, 128, 0, 0, 0, 128, 0, 128, 128, 0, 0, 0, 128]
    assert index_palette()[-3:] == [224, 224, 192]


def test_overlapping_objects_warn(tmp_path, masks):
    masks[1, 0, 2:3, 3:5] = True
    with pytest.warns(UserWarning, match="frame 0: 2 pixels belong to several objects"):
        paths = make_result(masks).save_png(tmp_path)
    np.testing.assert_array_equal(np.asarray(Image.open(paths[0])) == 1, masks[0, 0])


def test_more_objects_than_palette_entries_have_sixteen_bits(tmp_path):
    """Two hundred requests about one picture found more than a palette has numbers for, and everything was lost."""
    masks = np.zeros((300, 1, 20, 15), bool)
    masks.reshape(300, 300)[np.arange(300), np.arange(300)] = True
    (path,) = make_result(masks).save_png(tmp_path)
    np.testing.assert_array_equal(np.asarray(Image.open(path)).reshape(-1), np.arange(1, 301))
    with pytest.raises(ValueError, match=r"objects 0 to 65,534, there is an object 65535"):
        index_pixels([(65535, masks[0, 0])], (20, 15), 0)


def test_coco_round_trip(tmp_path, masks):
    data = make_result(masks, ["red circle", None]).to_coco(tmp_path / "coco.json")
    assert json.loads((tmp_path / "coco.json").read_text()) == data
    assert [image["id"] for image in data["images"]] == [0, 1, 2]
    assert {entry["name"] for entry in data["categories"]} == {"red circle", "object"}
    assert len(data["annotations"]) == 3
    for entry in data["annotations"]:
        mask = masks[entry["track_id"], entry["image_id"]]
        np.testing.assert_array_equal(decode_mask(entry["segmentation"]), mask)
        assert entry["area"] == mask.sum()
    assert data["annotations"][0]["bbox"] == [3, 2, 6, 3]


def test_coco_is_read_by_pycocotools(tmp_path, masks, capsys):
    from pycocotools.coco import COCO

    make_result(masks).to_coco(tmp_path / "coco.json")
    coco = COCO(str(tmp_path / "coco.json"))
    assert coco.annToMask(coco.loadAnns([1])[0]).sum() == masks[0, 0].sum()


def test_overlay_of_a_picture_and_of_a_video(tmp_path, masks):
    make_result(masks[:, :1].repeat(10, 2).repeat(10, 3)).save_overlay(tmp_path / "o.png")
    drawn = np.asarray(Image.open(tmp_path / "o.png"))
    assert drawn.shape == (100, 140, 3)
    assert (drawn[99, 139] == 60).all()
    assert not (drawn[40, 80] == 60).all()
    make_result(masks).save_overlay(tmp_path / "o.mp4")
    video = open_visual(tmp_path / "o.mp4")
    assert (len(video), video.fps) == (3, 8.0)
    make_result(masks).save_overlay(tmp_path / "o.gif")
    with Image.open(tmp_path / "o.gif") as image:
        assert image.n_frames == 3
    with pytest.raises(ValueError, match="is an .mp4 or a .gif file"):
        make_result(masks).save_overlay(tmp_path / "v.png")


@pytest.mark.parametrize("method", ["to_json", "to_coco", "save_overlay"])
def test_existing_files_are_kept_unless_asked(tmp_path, masks, method):
    path = tmp_path / "out.png"
    path.write_text("precious")
    result = make_result(masks[:, :1])
    with pytest.raises(FileExistsError, match="overwrite=True"):
        getattr(result, method)(path)
    assert path.read_text() == "precious"
    getattr(result, method)(path, overwrite=True)
    assert path.read_bytes() != b"precious"


def test_png_folder_is_checked_before_anything_is_written(tmp_path, masks):
    (tmp_path / "00002.png").write_text("precious")
    with pytest.raises(FileExistsError, match="00002.png"):
        make_result(masks).save_png(tmp_path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["00002.png"]


def test_a_failing_write_leaves_nothing(tmp_path):
    def fail(path):
        path.write_text("half")
        raise RuntimeError("disk full")

    with pytest.raises(RuntimeError, match="disk full"):
        write_file(tmp_path / "a.json", fail)
    assert list(tmp_path.iterdir()) == []


def test_results_without_frames_have_no_overlay(tmp_path, masks):
    result = SegmentationResult.from_dict(make_result(masks).to_dict())
    with pytest.raises(ValueError, match="no frames to draw on"):
        result.save_overlay(tmp_path / "o.mp4")
