import numpy as np
import pytest
from PIL import Image, ImageSequence

from desa2va.processing.files.gif import write_gif


def frames(*values, size=(31, 45)):
    return [np.full((*size, 3), value, np.uint8) for value in values]


def test_every_frame_is_there_also_equal_ones(tmp_path):
    """Pillow's own writer drops a frame that equals the one before, and the GIF no longer lines up with the video."""
    write_gif(tmp_path / "a.gif", iter(frames(0, 0, 90, 90, 90, 255)), 8)
    with Image.open(tmp_path / "a.gif") as image:
        found = [np.asarray(frame.convert("RGB")) for frame in ImageSequence.Iterator(image)]
        assert image.info["loop"] == 0
    assert [frame[0, 0, 0] for frame in found] == [0, 0, 90, 90, 90, 255]
    assert found[0].shape == (31, 45, 3)


@pytest.mark.parametrize(("fps", "seconds"), [(8, 0.75), (30, 0.2), (3, 2.0)])
def test_frames_last_as_long_as_the_rate_says(tmp_path, fps, seconds):
    """Hundredths of a second per frame, rounded so that the sum stays right."""
    write_gif(tmp_path / "a.gif", frames(*range(6)), fps)
    with Image.open(tmp_path / "a.gif") as image:
        lasted = sum(frame.info["duration"] for frame in ImageSequence.Iterator(image))
    assert lasted == pytest.approx(1000 * seconds, abs=5)


def test_errors_leave_nothing_behind(tmp_path):
    with pytest.raises(ValueError, match="no frame was written"):
        write_gif(tmp_path / "a.gif", [], 8)
    with pytest.raises(ValueError, match=r"frame 1 has shape \(9, 8, 3\)"):
        write_gif(tmp_path / "a.gif", [*frames(0, size=(8, 8)), *frames(0, size=(9, 8))], 8)
    with pytest.raises(ValueError, match="fps=0"):
        write_gif(tmp_path / "a.gif", frames(0), 0)
    assert list(tmp_path.iterdir()) == []
