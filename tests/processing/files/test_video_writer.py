import av
import numpy as np
import pytest

from desa2va.processing.files.video_writer import VideoWriter, check_video_size
from desa2va.processing.inputs.video_decoding import VideoFileSource


def test_written_video_has_every_frame_at_its_rate(tmp_path, grey):
    """Odd sides are what 4:2:0 video can not store; frames must not be lost to the encoder's delay."""
    path = tmp_path / "out.mp4"
    with VideoWriter(path, 29.97) as writer:
        for index in range(7):
            writer.write(np.full((31, 45, 3), 10 * index, np.uint8))
    source = VideoFileSource(path)
    assert grey(source.iterate()) == list(range(7))
    assert source.fps == pytest.approx(29.97, abs=1e-3)
    assert (source.height, source.width) == (32, 46)
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.mp4"]


def test_existing_file_is_kept_unless_asked(tmp_path):
    path = tmp_path / "out.mp4"
    path.write_text("precious")
    with pytest.raises(FileExistsError, match="overwrite=True"):
        VideoWriter(path, 10)
    assert path.read_text() == "precious"
    with VideoWriter(path, 10, overwrite=True) as writer:
        writer.write(np.zeros((8, 8, 3), np.uint8))
    assert len(VideoFileSource(path)) == 1


def write_all(path, frames):
    with VideoWriter(path, 10) as writer:
        for frame in frames:
            writer.write(frame)


def test_nothing_is_left_behind_after_an_error(tmp_path):
    with pytest.raises(ValueError, match=r"frame 1 has shape \(9, 8, 3\)"):
        write_all(tmp_path / "a.mp4", [np.zeros((8, 8, 3), np.uint8), np.zeros((9, 8, 3), np.uint8)])
    with pytest.raises(ValueError, match="no frame was written"):
        write_all(tmp_path / "b.mp4", [])
    assert list(tmp_path.iterdir()) == []


def test_bad_frames_and_rates_are_errors(tmp_path):
    with pytest.raises(ValueError, match="fps=0"):
        VideoWriter(tmp_path / "a.mp4", 0)
    with pytest.raises(ValueError, match="uint8"):
        write_all(tmp_path / "a.mp4", [np.zeros((8, 8, 3))])


def test_written_files_are_readable_like_any_other(tmp_path):
    """A temporary file made private stays private after the move; services then fail on results of another user."""
    import numpy as np

    from desa2va.processing.files.export import write_json

    write_json(tmp_path / "a.json", {})
    with VideoWriter(tmp_path / "a.mp4", fps=2) as writer:
        writer.write(np.zeros((8, 8, 3), np.uint8))
    plain = tmp_path / "plain"
    plain.touch()
    for name in ("a.json", "a.mp4"):
        assert (tmp_path / name).stat().st_mode == plain.stat().st_mode


def test_a_disk_that_fills_up_leaves_nothing(tmp_path, monkeypatch):
    """Closing writes once more, and its error kept the half-written file from being removed."""
    writer = VideoWriter(tmp_path / "a.mp4", 10)
    writer.write(np.zeros((8, 8, 3), np.uint8))

    class FullContainer:
        def mux(self, packets):
            raise OSError(28, "No space left on device")

        close = mux

    container, writer._container = writer._container, FullContainer()
    monkeypatch.setattr(FullContainer, "close", lambda self: self.mux(None))
    with pytest.raises(OSError, match="No space left"):
        writer.close()
    container.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("height", "width"), [(2, 16386), (16386, 2), (16384, 16384)])
def test_sizes_the_encoder_does_not_take_are_known_before(height, width):
    """A video of 16,386 pixels failed at the overlay, after all its frames."""
    with pytest.raises(ValueError, match=f"{width} x {height} pixels at 25 frames a second can not be written"):
        check_video_size(height, width, 25)


@pytest.mark.parametrize(("height", "width", "fps"), [(1, 1, 10), (31, 45, 29.97), (8, 8, 1e9), (8, 8, 1e-9)])
def test_odd_sizes_and_rates_are_written(height, width, fps, tmp_path):
    """A rate below one in a thousand became a rate of zero."""
    check_video_size(height, width, fps)
    with VideoWriter(tmp_path / "a.mp4", fps) as writer:
        writer.write(np.zeros((height, width, 3), np.uint8))
    assert len(VideoFileSource(tmp_path / "a.mp4")) == 1


@pytest.mark.skipif("libx264" not in av.codecs_available, reason="this FFmpeg has no x264")
def test_x264_takes_its_fast_preset(tmp_path):
    """x264's own choice costs twice the time of all networks together; x264 writes into the file what it was told."""
    write_all(tmp_path / "a.mp4", [np.zeros((16, 16, 3), np.uint8)])
    written = (tmp_path / "a.mp4").read_bytes()
    assert b"subme=1 " in written
    assert b"crf=25.5 " in written


def test_frames_are_read_as_they_were_when_written(tmp_path):
    """The encoder reads the caller's memory: a frame that is overwritten for the next one, turned, or read-only."""
    given = [np.full((16, 24, 3), 10 * index, np.uint8) for index in range(12)]
    buffer = np.empty((24, 16, 3), np.uint8)
    with VideoWriter(tmp_path / "one.mp4", 10) as writer:
        for frame in given:
            buffer[...] = frame.swapaxes(0, 1)
            writer.write(buffer.swapaxes(0, 1))
    with VideoWriter(tmp_path / "two.mp4", 10) as writer:
        for frame in given:
            frame.setflags(write=False)
            writer.write(frame)
    reused = np.empty((16, 24, 3), np.uint8)
    with VideoWriter(tmp_path / "three.mp4", 10) as writer:
        for frame in given:
            reused[...] = frame
            writer.write(reused)
    files = [(tmp_path / f"{name}.mp4").read_bytes() for name in ("one", "two", "three")]
    assert files[0] == files[1] == files[2]
    assert len(VideoFileSource(tmp_path / "one.mp4")) == 12
