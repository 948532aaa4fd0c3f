import tracemalloc
import warnings

import av
import numpy as np
import pytest

from desa2va.processing.inputs import video_decoding
from desa2va.processing.inputs.frame_source import FrameSource
from desa2va.processing.inputs.video_decoding import VideoFileSource


def damage(path, packets, broken):
    """Overwrites the packets of some frames with zeros."""
    data = bytearray(path.read_bytes())
    for index in broken:
        position, size = packets[index]
        data[position : position + size] = bytes(size)
    path.write_bytes(data)


@pytest.mark.parametrize(("codec", "name"), [("mjpeg", "a.avi"), ("mpeg4", "a.mp4"), ("libx264", "b.mp4")])
def test_every_way_of_reading_gives_the_same_frames(tmp_path, write_video, codec, name, monkeypatch, grey):
    """Seeking with B-frames easily lands one frame beside; backwards it crosses chunk borders."""
    if codec not in av.codecs_available:
        pytest.skip(f"this FFmpeg has no {codec}")
    monkeypatch.setattr(video_decoding, "REVERSE_CHUNK_BYTES", 5 * 32 * 48 * 3)
    write_video(tmp_path / name, 14, codec)
    source = VideoFileSource(tmp_path / name)
    assert isinstance(source, FrameSource)
    assert (len(source), source.height, source.width, source.fps) == (14, 32, 48, 10.0)
    assert source.timestamps == pytest.approx([index / 10 for index in range(14)])
    assert grey(source.iterate()) == list(range(14))
    assert grey(source.iterate(13, None, -1)) == list(range(13, -1, -1))
    assert grey(source.iterate(9, 2, -1)) == list(range(9, 2, -1))
    assert grey(source.iterate(5, 8)) == [5, 6, 7]
    assert grey(source.read([11, 2, 2, 5])) == [11, 2, 2, 5]


def test_length_is_counted_without_decoding(tmp_path, write_video, monkeypatch):
    """Decoding an hour of video to learn its length would double the time of every request."""
    write_video(tmp_path / "a.mp4", 12, "mpeg4")
    decoded = []
    original = VideoFileSource._frames_from

    def counting(self, offset):
        for entry in original(self, offset):
            decoded.append(entry[0])
            yield entry

    monkeypatch.setattr(VideoFileSource, "_frames_from", counting)
    assert len(VideoFileSource(tmp_path / "a.mp4")) == 12
    assert decoded == [0]


@pytest.mark.parametrize(
    ("broken", "expected"),
    [
        ([5], [0, 1, 2, 3, 4, 4, 6, 7]),
        ([0], [1, 1, 2, 3, 4, 5, 6, 7]),
        ([6, 7], [0, 1, 2, 3, 4, 5, 5, 5]),
    ],
)
def test_broken_frames_repeat_their_neighbour_and_warn(tmp_path, write_video, broken, expected, grey):
    """A dropped frame would shift every later mask by one; the count must stay, in both directions."""
    path = tmp_path / "a.avi"
    damage(path, write_video(path, 8), broken)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        source = VideoFileSource(path)
    with pytest.warns(UserWarning, match=rf"a.avi: frames? {broken[0]}.* can not be decoded"):
        assert grey(source.iterate()) == expected
    with pytest.warns(UserWarning, match="can not be decoded"):
        assert grey(source.iterate(7, None, -1)) == expected[::-1]
    with pytest.warns(UserWarning, match="can not be decoded"):
        assert grey(source.read([broken[0]])) == [expected[broken[0]]]


def test_video_without_a_good_frame_is_an_error(tmp_path, write_video):
    path = tmp_path / "a.avi"
    damage(path, write_video(path, 4), range(4))
    with pytest.raises(ValueError, match="a.avi: the video holds no frame that can be decoded"):
        VideoFileSource(path)


def test_files_that_are_no_video_are_errors(tmp_path):
    note = tmp_path / "note.mp4"
    note.write_text("hello")
    with pytest.raises(ValueError, match="note.mp4: can not be read as a video"):
        VideoFileSource(note)
    sound = tmp_path / "sound.wav"
    with av.open(str(sound), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with pytest.raises(ValueError, match="sound.wav: the file has no video stream"):
        VideoFileSource(sound)


def test_truncated_video_ends_where_the_file_ends(tmp_path, write_video, grey):
    path = tmp_path / "a.avi"
    packets = write_video(path, 8)
    path.write_bytes(path.read_bytes()[: packets[5][0] - 8])
    assert grey(VideoFileSource(path).iterate()) == [0, 1, 2, 3, 4]


def test_memory_does_not_grow_with_the_video(tmp_path, write_video, monkeypatch):
    """Frames are 4.6 kB here; a hundred of them held at once would show."""
    monkeypatch.setattr(video_decoding, "REVERSE_CHUNK_BYTES", 8 * 32 * 48 * 3)
    write_video(tmp_path / "a.mp4", 100, "mpeg4")
    source = VideoFileSource(tmp_path / "a.mp4")
    for start, stop, step in ((0, None, 1), (99, None, -1)):
        tracemalloc.start()
        count = sum(1 for _ in source.iterate(start, stop, step))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert count == 100
        assert peak < 30 * 32 * 48 * 3


def test_metadata_that_is_no_unicode_does_not_matter(tmp_path, write_video, grey):
    """A byte of a title that is no UTF-8 made a good video unreadable, in an error that named no file."""
    write_video(tmp_path / "a.mp4", codec="mpeg4")
    data = (tmp_path / "a.mp4").read_bytes()
    place = data.index(b"VideoHandler")
    (tmp_path / "a.mp4").write_bytes(data[:place] + b"\x9f\xb6" + data[place + 2 :])
    assert grey(VideoFileSource(tmp_path / "a.mp4").iterate()) == list(range(12))


def test_a_frame_that_a_broken_stream_shows_twice_counts_once(tmp_path, write_video, grey, monkeypatch):
    """A damaged time stamp gave ten frames of a video of eight, and every mask after it slid."""
    write_video(tmp_path / "a.mp4", num_frames=6)
    source = VideoFileSource(tmp_path / "a.mp4")
    good = list(source._frames_from(None))
    order = [0, 1, 1, 0, 2, 4, 3, 4, 5]
    monkeypatch.setattr(source, "_frames_from", lambda offset: iter([good[place] for place in order]))
    with pytest.warns(UserWarning, match="frame 3 can not be decoded"):
        assert grey(source.iterate()) == [0, 1, 2, 2, 4, 5]
