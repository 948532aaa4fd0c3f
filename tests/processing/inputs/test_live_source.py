"""Videos whose length nobody knows: first frames buffered, the others once and in order."""

import numpy as np
import pytest

from desa2va.processing.inputs.frame_source import FrameSource
from desa2va.processing.inputs.live_source import LiveSource


def camera(count, height=8):
    for number in range(count):
        yield np.full((height, 6, 3), number, np.uint8)


def values(frames):
    return [int(frame[0, 0, 0]) for frame in frames]


def test_buffers_the_first_frames_and_passes_the_others_once():
    """Reading ahead of the buffer at the start would make a camera wait; keeping what passed would fill the memory."""
    taken = []

    def watched():
        for frame in camera(9):
            taken.append(int(frame[0, 0, 0]))
            yield frame

    source = LiveSource(watched(), buffered=3, fps=2.0)
    assert isinstance(source, FrameSource)
    assert taken == [0, 1, 2, 3]
    assert not source.ended
    assert (len(source), source.height, source.width) == (3, 8, 6)
    assert source.timestamps == [0.0, 0.5, 1.0]
    assert source.timestamp(7) == 3.5
    assert values(source.read([2, 0])) == [2, 0]
    assert values(source.iterate(1, 3)) == [1, 2]
    rest = source.iterate(2)
    assert values([next(rest), next(rest)]) == [2, 3]
    rest.close()
    assert values(source.iterate(4)) == [4, 5, 6, 7, 8]


def test_a_short_video_has_a_known_length():
    assert LiveSource(camera(3), buffered=3).ended
    assert len(LiveSource(camera(2), buffered=5)) == 2


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (lambda source: source.read([3]), "frames 0 to 2 are kept"),
        (lambda source: next(source.iterate(4)), "once, in order"),
        (lambda source: next(source.iterate(2, None, -1)), "once, in order"),
    ],
)
def test_frames_that_are_not_there_are_refused(action, message):
    with pytest.raises(ValueError, match=message):
        action(LiveSource(camera(9), buffered=3))


def test_frames_of_another_size_and_no_frames_are_named():
    def growing():
        yield from camera(3)
        yield from camera(1, height=9)

    source = LiveSource(growing(), buffered=2, name="door")
    with pytest.raises(ValueError, match=r"door.*frame 0 is 6 x 8.*frame 3 is 6 x 9"):
        list(source.iterate(0))
    with pytest.raises(ValueError, match="at least one frame"):
        LiveSource(camera(0), buffered=2)
