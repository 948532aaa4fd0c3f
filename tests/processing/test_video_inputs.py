"""Videos as users have them: each is read as `docs/video_inputs.md` says, or refused with one clear error."""

import struct
import warnings
from fractions import Fraction

import av
import numpy as np
import pytest

from desa2va.processing.inputs.video_decoding import VideoFileSource
from desa2va.processing.inputs.video_io import open_visual


def write_frames(path, sizes, times=None, options=None):
    """An mjpeg stream of grey frames (10 * index) with these sizes and time stamps (tenths of a second)."""
    with av.open(str(path), "w", options=options or {}) as container:
        stream = container.add_stream("mjpeg", rate=10)
        stream.height, stream.width = sizes[0]
        stream.pix_fmt = "yuvj420p"
        stream.time_base = Fraction(1, 10)
        for index, (height, width) in enumerate(sizes):
            encoder = av.CodecContext.create("mjpeg", "w")
            encoder.height, encoder.width, encoder.pix_fmt = height, width, "yuvj420p"
            encoder.time_base = Fraction(1, 10)
            frame = av.VideoFrame.from_ndarray(np.full((height, width, 3), 10 * index, np.uint8), format="rgb24")
            for packet in encoder.encode(frame):
                packet.stream, packet.time_base = stream, Fraction(1, 10)
                packet.pts = packet.dts = index if times is None else times[index]
                container.mux(packet)


def test_a_change_of_size_is_resized_and_named(tmp_path, grey):
    """Streams switch resolution half-way; masks of two sizes can not be one result, and silence hides the blur."""
    write_frames(tmp_path / "a.avi", [(32, 48)] * 3 + [(64, 64)] * 2)
    source = VideoFileSource(tmp_path / "a.avi")
    with pytest.warns(UserWarning, match=r"frame 3 is 64 x 64 .* the first frame 48 x 32") as caught:
        frames = list(source.iterate())
    assert len(caught) == 1
    assert {frame.shape for frame in frames} == {(32, 48, 3)}
    assert grey(frames) == [0, 1, 2, 3, 4]


def test_one_frame_is_a_video(tmp_path, grey):
    write_frames(tmp_path / "a.avi", [(32, 48)])
    source = VideoFileSource(tmp_path / "a.avi")
    assert (len(source), source.timestamps) == (1, [0.0])
    assert grey(source.iterate(0, None, -1)) == [0]


def test_time_stamps_of_a_variable_frame_rate_are_kept(tmp_path, grey):
    """Numbering frames by a mean rate moves masks away from what the player shows; a dropped frame is such a gap."""
    write_frames(tmp_path / "a.mov", [(32, 48)] * 5, times=[2, 3, 7, 8, 20])
    source = VideoFileSource(tmp_path / "a.mov")
    assert source.timestamps == pytest.approx([0.0, 0.1, 0.5, 0.6, 1.8])
    assert grey(source.read([4, 2])) == [4, 2]
    assert grey(source.iterate(4, None, -1)) == [4, 3, 2, 1, 0]


@pytest.mark.parametrize(("turn", "place"), [((0, 1, -1, 0), "right"), ((-1, 0, 0, -1), "bottom")])
def test_rotation_in_the_metadata_is_applied(tmp_path, turn, place):
    """Phones store films lying on their side; a mask must stand as the player shows the film."""
    path = tmp_path / "a.mov"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=10)
        stream.height, stream.width, stream.pix_fmt = 32, 48, "yuvj420p"
        frame = np.zeros((32, 48, 3), np.uint8)
        frame[:8] = 255
        container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    data = bytearray(path.read_bytes())
    matrix = data.index(b"tkhd") + 44
    a, b, c, d = (value << 16 for value in turn)
    data[matrix : matrix + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    source = VideoFileSource(path)
    image = source.read([0])[0]
    expected = {"right": ((48, 32), np.s_[:, 26:], np.s_[:, :20]), "bottom": ((32, 48), np.s_[26:], np.s_[:20])}[place]
    assert (source.height, source.width) == image.shape[:2] == expected[0]
    assert image[expected[1]].mean() > 240
    assert image[expected[2]].mean() < 15


@pytest.mark.parametrize("name", ["a.mp4", "a.avi", "a.mkv"])
def test_a_file_of_zero_bytes_is_an_error(tmp_path, name):
    (tmp_path / name).touch()
    with pytest.raises(ValueError, match=f"{name}: can not be read as a video"):
        open_visual(tmp_path / name)


def test_a_download_that_broke_off(tmp_path, write_video, grey):
    """With its index at the end nothing can be read; with the index in front, what is there can."""
    write_video(tmp_path / "a.mp4", 12, "mpeg4")
    data = (tmp_path / "a.mp4").read_bytes()
    (tmp_path / "a.mp4").write_bytes(data[: len(data) // 2])
    with pytest.raises(ValueError, match=r"a.mp4: .*(can not be read as a video|cut off)"):
        open_visual(tmp_path / "a.mp4")
    write_frames(tmp_path / "b.mov", [(32, 48)] * 12, options={"movflags": "faststart"})
    data = (tmp_path / "b.mov").read_bytes()
    (tmp_path / "b.mov").write_bytes(data[: int(len(data) * 0.7)])
    source = open_visual(tmp_path / "b.mov")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the last frame may be cut in two
        shown = grey(source.iterate())
    assert 4 <= len(shown) == len(source) < 12
    assert shown[:4] == [0, 1, 2, 3]


def test_a_long_video_costs_a_few_bytes_per_frame(tmp_path):
    """Two hours are 216,000 frames; lists of Python objects per frame would take as much as their decoding."""
    import tracemalloc

    count = 20_000
    encoder = av.CodecContext.create("mjpeg", "w")
    encoder.height, encoder.width, encoder.pix_fmt, encoder.time_base = 16, 16, "yuvj420p", Fraction(1, 30)
    picture = av.VideoFrame.from_ndarray(np.zeros((16, 16, 3), np.uint8), format="rgb24")
    data = bytes(encoder.encode(picture)[0])
    with av.open(str(tmp_path / "a.avi"), "w") as container:
        stream = container.add_stream("mjpeg", rate=30)
        stream.height = stream.width = 16
        stream.pix_fmt = "yuvj420p"
        for index in range(count):
            packet = av.Packet(data)
            packet.stream, packet.time_base = stream, Fraction(1, 30)
            packet.pts = packet.dts = index
            packet.is_keyframe = index % 100 == 0
            container.mux(packet)
    tracemalloc.start()
    source = VideoFileSource(tmp_path / "a.avi")
    kept, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(source) == count
    assert kept < 80 * count
    assert peak < 200 * count
