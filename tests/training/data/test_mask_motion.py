"""Masks of other frames are found, masks in place are let be."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from desa2va.processing.files import encode_mask
from desa2va.training.data.mask_motion import misplaced_masks
from desa2va.training.data.records import Record, expression_dialogue

CLIP = Path(__file__).resolve().parents[3].parent / "shared" / "real_data" / "davis_car-shadow"


def record(paths, masks):
    codes = tuple(encode_mask(mask) if mask.any() else None for mask in masks)
    return Record(
        "dog", tuple(map(str, paths)), True, masks[0].shape, len(paths), (expression_dialogue("it", codes),), "s"
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A textured ball that speeds up over a textured ground, under a camera that shakes."""
    folder, rng = tmp_path_factory.mktemp("clip"), np.random.default_rng(0)
    ground = np.kron(rng.integers(60, 120, (30, 40)), np.ones((6, 6)))
    rows, columns = np.mgrid[:120, :160]
    masks = []
    for t in range(30):
        shake = rng.integers(0, 3, 2)
        picture = ground[shake[0] : shake[0] + 120, shake[1] : shake[1] + 160].copy()
        mask = (rows - 60 - 20 * np.sin(t / 4)) ** 2 + (columns - 20 - 2 * t - 0.06 * t**2) ** 2 < 14**2
        picture[mask] = 170 + 30 * np.sin(columns[mask] / 3)
        noisy = picture + rng.normal(0, 3, picture.shape)
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).convert("RGB").save(folder / f"{t:05d}.jpg")
        masks.append(mask)
    return sorted(folder.iterdir()), np.stack(masks)


@pytest.fixture(scope="module")
def real():
    if not CLIP.is_dir():
        pytest.skip("the DAVIS clip is not here")
    paths = sorted((CLIP / "JPEGImages" / "480p" / "car-shadow").glob("*.jpg"))
    labels = sorted((CLIP / "Annotations" / "480p" / "car-shadow").glob("*.png"))
    return paths, np.stack([np.asarray(Image.open(label)) > 0 for label in labels])


@pytest.mark.parametrize("clip", ["made", "real"])
@pytest.mark.parametrize("offset", [-3, -2, -1, 0, 1, 2, 3])
def test_a_planted_offset_is_found_and_nothing_else(clip, offset, request):
    """Guards both ways: masks that are off by a frame, and good data that would be doubted."""
    paths, masks = request.getfixturevalue(clip)
    count = len(paths) - 3
    shown, own = (paths[:count], masks[-offset : -offset + count]) if offset < 0 else (paths[offset:], masks)
    problems = misplaced_masks(record(shown[:count], own[:count]))
    if offset == 0:
        assert not problems
    else:  # masks of an earlier frame than shown come too late
        (problem,) = problems
        word = "late" if offset > 0 else "early"
        assert f"masks are {abs(offset)} frame{'s' * (abs(offset) > 1)} too {word}" in str(problem)


@pytest.mark.parametrize("clip", ["made", "real"])
def test_drift_is_found(clip, request):
    """Guards against masks of another frame rate, which are right at the start."""
    paths, masks = request.getfixturevalue(clip)
    slower = masks[(np.arange(len(paths)) * 0.85).astype(int)]
    (problem,) = misplaced_masks(record(paths, slower))
    assert "masks drift" in str(problem)


def test_what_does_not_move_is_not_doubted(made):
    """Guards against a verdict on a mask that stands still."""
    paths, masks = made
    assert not misplaced_masks(record(paths, np.stack([masks[0]] * len(paths))))
