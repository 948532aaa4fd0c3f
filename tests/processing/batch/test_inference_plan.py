import numpy as np
import pytest

from desa2va.processing.batch.inference_plan import (
    check_aspect_ratio,
    describe_visuals,
    plan_inference,
    prompts_of_visuals,
)
from desa2va.processing.batch.user_request import Request
from desa2va.processing.inputs.video_io import MemorySource


@pytest.fixture
def opened():
    """A picture and a video of ten frames."""
    return [
        ("image", MemorySource([np.zeros((8, 12, 3), np.uint8)], "pic")),
        ("video", MemorySource([np.full((8, 12, 3), index, np.uint8) for index in range(10)], "clip")),
    ]


def test_key_frames_per_visual(opened):
    def chosen(key_frames, count=3):
        return [info.key_frames for info in describe_visuals(opened, key_frames, count, None)]

    assert chosen("uniform") == [[0], [0, 5, 9]]
    assert chosen([4, 2]) == [[0], [2, 4]]
    assert chosen([None, [7]]) == [[0], [7]]
    assert chosen(["first", "first"], 2) == [[0], [0, 1]]
    with pytest.raises(ValueError, match="3 entries for 2 visuals"):
        chosen([[0], [1], [2]])
    with pytest.raises(ValueError, match="key_frames holds 7; frames of this video are 0 to 0"):
        chosen([[7], [7]])


def test_prompts_are_drawn_for_the_language_model_only(opened):
    """An outline on SAM-2's picture would be segmented along."""
    visuals = describe_visuals(opened, [None, [3, 6]], 2, None)
    prompts = prompts_of_visuals(None, [None, [2, 2, 9, 6]], None, visuals)
    requests = [Request([("user", "a")], 0), Request([("user", "b")], 1)]
    plan = plan_inference(visuals, requests, prompts, 4)
    assert [int(frame.max()) for frame in plan.images] == [0, 255, 6]
    assert [int(frame.max()) for frame in plan.sam_frames] == [0, 3, 6]
    assert plan.sam_frame_visual == [0, 1, 1]
    assert plan.max_tiles == [4, 1, 1]
    assert [sequence.images for sequence in plan.sequences] == [[0], [1, 2]]


def test_prompts_need_a_visual_and_one_entry_for_each(opened):
    visuals = describe_visuals(opened, "uniform", 2, None)
    with pytest.raises(ValueError, match="boxes= marks objects in a picture"):
        prompts_of_visuals(None, [0, 0, 1, 1], None, [])
    with pytest.raises(ValueError, match="points: |points="):
        prompts_of_visuals([[1, 1]], None, None, visuals)


def test_needles_are_refused_for_qwen(opened):
    thin = [("image", MemorySource([np.zeros((1, 201, 3), np.uint8)], "needle.png"))]
    check_aspect_ratio(describe_visuals(opened, "uniform", 2, None))
    with pytest.raises(ValueError, match="needle.png: 201 x 1 pixels"):
        check_aspect_ratio(describe_visuals(thin, "uniform", 2, None))
