"""What videos promise: straight motion, late objects, occlusion, exact masks in every frame."""

import numpy as np
import pytest

from desa2va.training.data.refshapes.dataset import RefShapes
from desa2va.training.data.refshapes.geometry import inside_shape

STEPS = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}


def own_mask(item, frame, size):
    """The whole shape in one frame on the full grid."""
    grid = np.arange(size, dtype=np.float32) + 0.5
    step_x, step_y = STEPS[item["motion"]]
    travelled = item["speed"] * (frame - item["first_frame"])
    dx = grid[None, :] - (item["center_x"] + step_x * travelled)
    dy = grid[:, None] - (item["center_y"] + step_y * travelled)
    return inside_shape(item["shape"], item["radius"], item["angle"], dx, dy)


def visible_shares(sample, target):
    """Visible share of an object's area per frame, from masks alone; NaN while it is not there."""
    item, size = sample.scene["objects"][target], sample.frames.shape[1]
    shares = []
    for frame, labels in enumerate(sample.scene["instance_map"]):
        whole = own_mask(item, frame, size)
        seen = labels == target + 1
        assert np.count_nonzero(seen & ~whole) <= 1
        shares.append(seen.sum() / whole.sum() if frame >= item["first_frame"] else np.nan)
    return np.array(shares)


def test_centroids_move_as_the_factors_say():
    """Guards swapped axes: "up" must lower the row of the pixels."""
    moved = 0
    for sample in RefShapes("train", length=15, conversations=1, video_fraction=1.0):
        for target, item in enumerate(sample.scene["objects"]):
            clear = np.flatnonzero(visible_shares(sample, target) > 0.999)
            inside = [t for t in clear if not _touches_edge(sample.scene["instance_map"][t] == target + 1)]
            if len(inside) < 2:
                continue
            first, last = inside[0], inside[-1]
            centers = [np.argwhere(sample.scene["instance_map"][t] == target + 1).mean(0) for t in (first, last)]
            row_step, column_step = (centers[1] - centers[0]) / (last - first)
            step_x, step_y = STEPS[item["motion"]]
            assert 4 <= item["speed"] <= 9
            assert abs(column_step - step_x * item["speed"]) < 0.3
            assert abs(row_step - step_y * item["speed"]) < 0.3
            moved += 1
    assert moved > 10


def _touches_edge(mask):
    return mask[0].any() or mask[-1].any() or mask[:, 0].any() or mask[:, -1].any()


def test_late_targets_are_absent_first_and_then_there():
    """Guards late objects that leak into the first frame, where a first-frame prompt would find them."""
    for sample in RefShapes("train", length=15, conversations=1, kinds={"late": 1.0}, video_fraction=1.0):
        (conversation,) = sample.conversations
        (target,) = conversation.targets
        start = sample.scene["objects"][target]["first_frame"]
        there = conversation.masks[0].any((1, 2))
        assert 1 <= start <= 3
        assert not there[:start].any()
        assert there[start]


def test_occluded_targets_start_visible_and_get_covered():
    """Guards "occlusion" without any: the target must lose half of its area, not of the picture's part of it."""
    behind_panel = 0
    for sample in RefShapes("train", length=25, conversations=1, kinds={"occlusion": 1.0}, video_fraction=1.0):
        (conversation,) = sample.conversations
        (target,) = conversation.targets
        shares = visible_shares(sample, target)
        assert shares[0] >= 0.59
        assert shares.min() < 0.51
        hidden = own_mask(sample.scene["objects"][target], int(shares.argmin()), 128)
        behind_panel += bool((hidden & (sample.scene["instance_map"][int(shares.argmin())] == 0)).any())
    assert 0 < behind_panel < 25, "both ways of hiding occur"


def test_targets_of_other_kinds_are_visible_in_the_first_frame():
    """Guards unanswerable first frames."""
    data = RefShapes("train", "full", length=25, video_fraction=1.0)
    for sample in data:
        assert sample.is_video
        for conversation in sample.conversations:
            if conversation.kind != "late":
                assert conversation.masks[:, 0].any((1, 2)).all()


@pytest.mark.parametrize("num_frames", [2, 6, 24])
def test_any_length_keeps_objects_in_the_picture(num_frames):
    """Guards long videos, in which 9 px a frame would carry everything out of view."""
    data = RefShapes("train", "full", length=5, video_fraction=1.0, num_frames=num_frames)
    for sample in data:
        assert sample.frames.shape == (num_frames, 128, 128, 3)
        for target, item in enumerate(sample.scene["objects"]):
            assert own_mask(item, num_frames - 1, 128).any()
            assert (sample.scene["instance_map"][item["first_frame"]] == target + 1).any()


def test_video_fraction_mixes_pictures_and_videos():
    """Guards a mix in which pictures carry more than one frame."""
    samples = list(RefShapes("train", length=40, conversations=1, video_fraction=0.5))
    frames = {(sample.is_video, len(sample.frames)) for sample in samples}
    assert frames == {(True, 6), (False, 1)}
