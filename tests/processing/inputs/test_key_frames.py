import pytest

from desa2va.processing.inputs.key_frames import key_frame_indices


@pytest.mark.parametrize(
    ("strategy", "num_frames", "count", "expected"),
    [
        ("uniform", 289, 5, [0, 72, 144, 216, 288]),
        ("uniform", 10, 1, [0]),
        ("uniform", 3, 5, [0, 1, 2]),
        ("uniform", 6, 5, [0, 1, 3, 4, 5]),
        ("first", 10, 3, [0, 1, 2]),
        ("all", 4, 2, [0, 1, 2, 3]),
    ],
)
def test_strategies(strategy, num_frames, count, expected):
    assert key_frame_indices(strategy, num_frames, count) == expected


def test_uniform_indices_are_distinct_and_span_the_video():
    """Rounding must neither repeat a frame nor miss an end, for any length."""
    for num_frames in range(1, 40):
        for count in range(2, 12):
            indices = key_frame_indices("uniform", num_frames, count)
            assert len(set(indices)) == len(indices) == min(count, num_frames)
            assert indices == sorted(indices)
            assert (indices[0], indices[-1]) == (0, num_frames - 1)


def test_explicit_indices_are_sorted():
    assert key_frame_indices("uniform", 10, 5, explicit=[7, 2]) == [2, 7]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("middle", 10, 5), "uniform, first, all"),
        (("uniform", 10, 0), "num_key_frames=0"),
        (("uniform", 0, 5), "num_frames=0"),
        (("uniform", 10, 5, [3, 10]), "holds 10; frames of this video are 0 to 9"),
        (("uniform", 10, 5, [-1]), "holds -1"),
        (("uniform", 10, 5, [1.5]), "holds 1.5"),
        (("uniform", 10, 5, [4, 4]), r"\[4\] more than once"),
        (("uniform", 10, 5, []), "empty list"),
    ],
)
def test_impossible_choices_are_errors(arguments, message):
    with pytest.raises(ValueError, match=message):
        key_frame_indices(*arguments)
