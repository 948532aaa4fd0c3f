from pathlib import Path

import numpy as np
import pytest
import yaml

from desa2va.processing.results.exchange.yolo import write_yolo, yolo_lines


def read_line(line, size, fill):
    """Class and mask of one line, as any reader of the format would take it."""
    number, *corners = line.split()
    polygon = np.array(corners, float).reshape(-1, 2) * (size[1], size[0])
    return int(number), fill([polygon], size)


def test_lines_read_back_are_the_masks(mask, make_result, fill):
    result = make_result(mask[None, None])
    (line,) = result.to_yolo()
    number, found = read_line(line, mask.shape, fill)
    assert number == 0
    np.testing.assert_array_equal(found, mask)


def test_one_file_per_frame_also_where_nothing_is_seen(clip, tmp_path, fill):
    """A frame without a file drops out of the set, and the next ones take its place."""
    paths = clip.save_yolo(tmp_path / "set")
    names = yaml.safe_load((tmp_path / "set" / "data.yaml").read_text())["names"]
    assert names == ["object", "red circle"]
    lines = [Path(path).read_text().splitlines() for path in paths]
    assert [len(found) for found in lines] == [2, 0, 1]
    assert paths[1].endswith("00001.txt")
    for t, found in enumerate(lines):
        seen = [entry for entry in clip.objects if entry.areas[t]]
        for line, entry in zip(found, seen, strict=True):
            number, mask = read_line(line, (10, 15), fill)
            assert names[number] == ("red circle" if entry.phrase else "object")
            np.testing.assert_array_equal(mask, entry.mask(t))
    with pytest.raises(FileExistsError):
        clip.save_yolo(tmp_path / "set")


def test_streamed_frames_are_written_one_by_one(clip, tmp_path):
    """A stream has no list of phrases beforehand, so the classes are given; one that is not given is named."""
    names = ["red circle", "object"]
    assert len(write_yolo(clip.frames(), names, tmp_path / "set")) == 3
    with pytest.raises(ValueError, match="object 1 is of the class 'object', which is not among names"):
        yolo_lines(clip.frame(0).objects, (10, 15), ["red circle"])


def test_the_readers_of_ultralytics_see_nearly_the_same(mask, make_result):
    """OpenCV draws the outline of what it fills: masks grow by up to a pixel, at bridges too; IoU of a blob > .95."""
    cv2 = pytest.importorskip("cv2", reason="OpenCV is not installed")
    (line,) = make_result(mask[None, None]).to_yolo()
    corners = np.array(line.split()[1:], float).reshape(-1, 2) * mask.shape[::-1]
    drawn = cv2.fillPoly(np.zeros(mask.shape, np.uint8), [np.round(corners).astype(np.int32)], 1).astype(bool)
    assert (drawn | ~mask).all()
    if mask.sum() > 1000:
        assert mask.sum() / (drawn | mask).sum() > 0.95
