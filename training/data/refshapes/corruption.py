"""RefShapes, part seven: pictures made worse for scoring.

A sample and a kind of damage enter, the sample with the same scene and the same requests leaves, in a worse picture.
What is drawn for it is keyed by the sample's name, so the same sample is damaged in the same way everywhere.

* `noise`: Gaussian noise of the strength's standard deviation, of 255 (a clean picture has 3-14).
* `dark`: brightness times the strength.
* `occlusion`: a grey bar across every object, which hides the strength's share of its visible pixels at most, and
  nearly that. On every object, lest the bar tell the target; on its own object and the background alone, so that
  none loses more. As everywhere in RefShapes a mask is what can be seen: the bar is cut out of it.
"""

from __future__ import annotations

import zlib
from dataclasses import replace

import numpy as np

from desa2va.argument_types import unknown_name
from desa2va.training.data.sample import Sample

CORRUPTIONS = ("noise", "dark", "occlusion")
# Hard, not hopeless: cIoU of the shipped model falls from .82 to .54, .47 and .59 (500 scenes).
STRENGTHS = {"noise": 80.0, "dark": 0.6, "occlusion": 0.4}
RANGES = {"noise": (0.0, 255.0), "dark": (0.0, 1.0), "occlusion": (0.0, 0.4)}
GREY = (60, 150)


def corrupt(sample: Sample, corruption: str, strength: float | None = None) -> Sample:
    """The sample in a worse picture.

    Args:
        sample: a picture of `RefShapes`.
        corruption: "noise", "dark" or "occlusion".
        strength: within `RANGES`; by default as in `STRENGTHS`.

    Raises:
        ValueError: an unknown corruption, a strength outside its range, or a video.
    """
    if corruption not in CORRUPTIONS:
        raise ValueError(f"corruption {unknown_name(corruption, CORRUPTIONS)}")
    strength = STRENGTHS[corruption] if strength is None else strength
    low, high = RANGES[corruption]
    if not low <= strength <= high:
        raise ValueError(f"strength of {corruption} must be in [{low:g}, {high:g}], got {strength}")
    if sample.is_video:
        raise ValueError(f"only pictures can be made worse, sample {sample.name!r} is a video")
    rng = np.random.default_rng(zlib.crc32(f"{sample.name} {corruption}".encode()))
    if corruption == "occlusion":
        return _behind_bars(sample, rng, strength)
    frames = sample.frames.astype(np.float32)
    if corruption == "noise":
        frames += np.float32(strength) * rng.standard_normal(frames.shape, dtype=np.float32)
    else:
        frames *= np.float32(strength)
    return replace(sample, frames=np.clip(frames, 0, 255).astype(np.uint8))


def _behind_bars(sample: Sample, rng: np.random.Generator, share: float) -> Sample:
    """The sample with a bar on every object; masks, regions and the instance map without what is hidden."""
    instances = sample.scene["instance_map"]
    hidden = np.zeros(instances.shape, bool)
    for number in range(1, len(sample.scene["objects"]) + 1):
        own = instances[0] == number
        hidden[0] |= _bar(own, rng, share) & (own | (instances[0] == 0))
    frames = np.where(hidden[..., None], np.uint8(rng.integers(*GREY)), sample.frames)
    conversations = tuple(
        replace(
            conversation,
            masks=conversation.masks & ~hidden,
            regions=None if conversation.regions is None else conversation.regions & ~hidden,
        )
        for conversation in sample.conversations
    )
    scene = {**sample.scene, "instance_map": np.where(hidden, 0, instances)}
    return replace(sample, frames=frames, conversations=conversations, scene=scene)


def _bar(own: np.ndarray, rng: np.random.Generator, share: float) -> np.ndarray:
    """A bar through the bounding box of a mask, upright or flat: bool `(H, W)`, over `share` of the mask at most."""
    upright = rng.random() < 0.5
    mask = own.T if upright else own
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    first, last = rows[0], rows[-1] + 1
    before = np.concatenate([[0], mask[first:last].sum(1).cumsum()])  # pixels above each edge between two rows
    most = share * before[-1]
    ends = np.searchsorted(before, before + most, side="right") - 1  # the widest bar that may start at each edge
    # A bar that reaches the last row would be shorter than it may be; of several as good any will do.
    covered = before[ends] - before
    starts = np.flatnonzero(covered >= 0.9 * covered.max())
    start = int(starts[rng.integers(len(starts))])
    bar = np.zeros(mask.shape, bool)
    bar[first + start : first + ends[start], columns[0] : columns[-1] + 1] = True
    return bar.T if upright else bar


__all__ = ["CORRUPTIONS", "RANGES", "STRENGTHS", "corrupt"]
