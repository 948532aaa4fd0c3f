import os

import numpy as np
import pytest
import torch
from PIL import Image

from desa2va.processing.inputs.video_io import FolderSource, FrameSource, MemorySource, open_visual


@pytest.fixture
def folder(tmp_path):
    """Twelve grey pictures `frame1.png` to `frame12.png`, and a file that is no picture."""
    for index in range(12):
        Image.fromarray(np.full((8, 10, 3), 10 * index, np.uint8)).save(tmp_path / f"frame{index + 1}.png")
    (tmp_path / "notes.txt").write_text("not a frame")
    return tmp_path


def test_folder_is_read_in_natural_order(folder, grey):
    """Sorted as text, frame10 comes before frame2."""
    source = open_visual(folder, fps=5.0)
    assert isinstance(source, FrameSource)
    assert (len(source), source.height, source.width) == (12, 8, 10)
    assert grey(source.iterate()) == list(range(12))
    assert grey(source.iterate(3, None, -1)) == [3, 2, 1, 0]
    assert grey(source.read([11, 0, 5])) == [11, 0, 5]
    assert source.timestamps[2] == pytest.approx(0.4)


def test_folder_with_mixed_sizes_names_both_frames(folder):
    Image.new("RGB", (9, 8)).save(folder / "frame5.png")
    with pytest.raises(ValueError, match="frame1.png is 10 x 8 and frame5.png is 9 x 8"):
        FolderSource(folder)


@pytest.mark.parametrize("content", [b"", b"\x89PNG"])
def test_broken_header_repeats_the_frame_before(folder, content, grey):
    (folder / "frame5.png").write_bytes(content)
    with pytest.warns(UserWarning, match=r"frame 4 is broken .*frame5.png"):
        source = FolderSource(folder)
    assert grey(source.iterate()) == [0, 1, 2, 3, 3, 5, 6, 7, 8, 9, 10, 11]


def test_broken_pixels_repeat_the_frame_before_or_after(folder, grey):
    """The header of a truncated file is fine, so the damage shows only when it is decoded."""
    noise = np.random.default_rng(0).integers(0, 256, (8, 10, 3), dtype=np.uint8)
    for name in ("frame1.png", "frame12.png"):
        Image.fromarray(noise).save(folder / name)
        (folder / name).write_bytes((folder / name).read_bytes()[:60])
    source = FolderSource(folder)
    with pytest.warns(UserWarning, match="broken"):
        frames = source.read([0, 11])
    assert grey(frames) == [1, 10]


def test_folder_without_usable_pictures_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="no pictures in this folder"):
        open_visual(tmp_path)
    (tmp_path / "a.png").write_bytes(b"x")
    with pytest.warns(UserWarning, match="a.png"), pytest.raises(ValueError, match="none of the 1 pictures"):
        open_visual(tmp_path)


def test_lists_and_arrays_are_the_same_video(grey):
    frames = np.stack([np.full((4, 6, 3), 10 * index, np.uint8) for index in range(5)])
    tensor = torch.from_numpy(frames).permute(0, 3, 1, 2)
    for source in (list(frames), frames, tensor, [Image.fromarray(frame) for frame in frames]):
        assert grey(open_visual(source).iterate(4, None, -1)) == [4, 3, 2, 1, 0]


def test_list_with_mixed_sizes_names_both_frames():
    with pytest.raises(ValueError, match="clip: .*frame 0 is 5 x 4 and frame 2 is 5 x 3"):
        MemorySource([np.zeros((4, 5)), np.zeros((4, 5)), np.zeros((3, 5))], "clip")


@pytest.mark.parametrize(
    ("source", "error", "message"),
    [
        ([], ValueError, "at least one frame"),
        (np.zeros((4, 5, 3)), ValueError, "four dimensions"),
        ("absent.mp4", FileNotFoundError, "absent.mp4"),
        (7, TypeError, "got int"),
    ],
)
def test_unusable_sources(source, error, message):
    with pytest.raises(error, match=message):
        open_visual(source, "videos[0]")


def test_a_source_is_passed_through():
    source = MemorySource([np.zeros((4, 5))])
    assert open_visual(source) is source


def test_only_files_are_frames(folder, grey):
    """A folder, a pipe or a dangling link called 3.png rejected all frames with "no such file"; what macOS puts beside
    every file counted as one."""
    (folder / "frame3b.png").mkdir()
    os.mkfifo(folder / "frame4b.png")
    (folder / "frame5b.png").symlink_to(folder / "nowhere.png")
    (folder / "._frame6.png").write_bytes(b"AppleDouble")
    (folder / ".hidden.png").write_bytes((folder / "frame1.png").read_bytes())
    (folder / "frame7b.png").symlink_to(folder / "frame7.png")
    with pytest.warns(UserWarning, match="frame3b.png, frame4b.png, frame5b.png left out") as caught:
        source = FolderSource(folder)
    assert len(caught) == 1
    assert grey(source.iterate()) == [0, 1, 2, 3, 4, 5, 6, 6, 7, 8, 9, 10, 11]


def test_digits_that_int_can_not_read_are_letters(folder):
    """`²` is a digit to `isdigit` and none to `int`."""
    for name in ("²", "frame1²", "٣", "①", "1" * 200):
        (folder / f"{name}.png").write_bytes((folder / "frame1.png").read_bytes())
    assert len(FolderSource(folder)) == 17


@pytest.mark.parametrize("fps", [0, -1.0, float("nan"), float("inf")])
def test_frame_rates_that_are_none_are_refused(fps):
    """Time stamps would run backwards, or be no numbers."""
    with pytest.raises(ValueError, match="must be a positive number"):
        open_visual([np.zeros((4, 4, 3), np.uint8)], fps=fps)


def test_a_rate_for_a_source_that_has_its_own_is_refused(tmp_path, write_video):
    """It was ignored: the times told to the model were not those asked for."""
    write_video(tmp_path / "a.mkv")
    with pytest.raises(ValueError, match="fps=3 is for folders, lists and arrays"):
        open_visual(str(tmp_path / "a.mkv"), fps=3.0)
    with pytest.raises(ValueError, match="this source has its own time"):
        open_visual(MemorySource([np.zeros((4, 4, 3), np.uint8)]), fps=3.0)
