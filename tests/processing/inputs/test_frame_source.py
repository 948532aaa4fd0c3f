import pytest

from desa2va.processing.inputs.frame_source import check_indices, check_sizes, frame_range


def test_ranges_run_to_the_end_of_their_direction():
    assert list(frame_range(5, 1, None, 1)) == [1, 2, 3, 4]
    assert list(frame_range(5, 3, None, -1)) == [3, 2, 1, 0]
    assert list(frame_range(5, 3, 1, -1)) == [3, 2]
    assert list(frame_range(5, 2, 2, 1)) == []


@pytest.mark.parametrize("arguments", [(5, 0, 6, 1), (5, 5, None, -1), (5, -1, 3, 1), (5, 0, 5, 2)])
def test_ranges_outside_the_video_are_errors(arguments):
    """A negative start would silently read from the end."""
    with pytest.raises(ValueError, match="frames"):
        frame_range(*arguments)


def test_indices_and_sizes_are_named():
    with pytest.raises(ValueError, match="frame 7 is asked for, the video has frames 0 to 4"):
        check_indices(5, [1, 7])
    with pytest.raises(ValueError, match="clip: .*a.png is 3 x 2 and c.png is 4 x 2"):
        check_sizes(["a.png", "b.png", "c.png"], [(2, 3), (2, 3), (2, 4)], "clip")
