"""Pictures changed at random, masks with them, and only where what is said of them stays true.

Enters: a sample with its frames, masks and regions. Leaves: the same sample seen in a mirror, nearer, or in another
light; all frames of a video alike. Who asks for "the left cup" is not shown a mirror, who asks for "the red cup" no
other colours, and nothing that is asked for is cut away. Words are English. (Engineering; no paper section.)
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torchvision.transforms.v2 import functional as tv

from .sample import Conversation, Sample

LEAST_SIDE = 0.5  # of a crop, as part of the picture's side
MARGIN = 0.1  # of a picture's side, kept around what is asked for
JITTER = 0.3  # brightness, contrast and saturation: most that they change, as a factor
HUE = 0.05  # of the circle


def _words(text: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![a-z])(?:{'|'.join(text.split())})(?![a-z])")


# Sides and turning; and what is written, which nobody reads in a mirror.
_MIRRORED = _words(
    r"left\w* right\w* clockwise counterclockwise anticlockwise east\w* west\w* o'?clock mirror\w* letters? words? "
    r"text written writ\w+ reads? reading numbers? digits? logos? signs? labell?ed? says? spell\w*"
)
_COLORED = _words(
    r"colou?r\w* red\w* green\w* blue\w* yellow\w* orange\w* purple\w* violet\w* pink\w* brown\w* black\w* white\w* "
    r"gr[ae]y\w* beige\w* tan cream\w* gold\w* silver\w* maroon navy teal cyan turquoise magenta lavender ivory khaki "
    r"crimson scarlet olive bronze copper blond\w* brunette bright\w* dark\w* light\w* pale\w* dim\w* shad\w+ shin\w+ "
    r"vivid\w* transparent sunny night\w* day\w* ripe\w* faded"
)
# Where something is in the picture, how it compares with what may be cut away, and how many there are.
_FRAMED = _words(
    r"left\w* right\w* top\w* bottom\w* upper\w* lower\w* middle\w* cent[er]\w* corner\w* edges? sides? front\w* "
    r"back\w* behind near\w* far\w* close\w* next beside between above below under\w* over against around among other "
    r"another both all each every any only first second third fourth fifth last one two three four five six seven "
    r"eight nine ten many most least more less few several \w+est big\w* small\w* large\w* tall\w* short\w* high\w* "
    r"same than foreground background whole full\w* half with without facing away toward\w* beneath along across "
    r"outside inside surround\w* border\w* crowd group row line"
)


@dataclass(frozen=True)
class Augmentation:
    """What may happen to a sample; nothing by default.

    Attributes:
        flip: how often a sample is mirrored, left for right. crop: how often a part of it is shown, sides of at least
            half of the picture's. color: how often brightness, contrast, saturation and hue change. All in [0, 1];
            fewer where words forbid it.

    Raises:
        ValueError: a number outside [0, 1].
    """

    flip: float = 0.0
    crop: float = 0.0
    color: float = 0.0

    def __post_init__(self) -> None:
        for name in ("flip", "crop", "color"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
                raise ValueError(f"{name}={value!r} must be a number in [0, 1]: how often")

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """The sample as it is seen this time, with what `rng` draws; text alone stays as it is."""
        if sample.frames is None or not (self.flip or self.crop or self.color):
            return sample
        said = " ".join(_texts(sample.conversations)).lower()
        # Drawn whether allowed or not, so that a sample's changes do not depend on each other's words.
        flip, crop, color = rng.random(3) < (self.flip, self.crop, self.color)
        if crop and not _FRAMED.search(said):
            sample = _cropped(sample, rng)
        if flip and not _MIRRORED.search(said):
            sample = _cut(sample, (slice(None), slice(None, None, -1)))
        if color and not _COLORED.search(said):
            sample = replace(sample, frames=_jittered(sample.frames, rng))
        return sample


def _texts(conversations: Iterable[Conversation]) -> Iterable[str]:
    for conversation in conversations:
        yield from conversation.labels
        for turn in conversation.turns:
            yield from turn


def _cut(sample: Sample, window: tuple[slice, slice]) -> Sample:
    """Rows and columns of a sample's frames, masks and regions."""
    conversations = tuple(
        replace(
            item,
            masks=np.ascontiguousarray(item.masks[:, :, window[0], window[1]]),
            regions=None if item.regions is None else np.ascontiguousarray(item.regions[:, window[0], window[1]]),
        )
        for item in sample.conversations
    )
    frames = np.ascontiguousarray(sample.frames[:, window[0], window[1]])
    return replace(sample, frames=frames, conversations=conversations)


def _cropped(sample: Sample, rng: np.random.Generator) -> Sample:
    """A part of the picture with everything that is asked for and a margin around it, the same of all frames.

    Of a picture that is only talked about, or about which something is denied, nothing is cut: what the answer is
    about could be anywhere.
    """
    height, width = sample.frames.shape[1:3]
    if not all(len(item.masks) and item.masks.any() or item.regions is not None for item in sample.conversations):
        return sample
    window = []
    for axis, length in ((0, height), (1, width)):
        kept = _extent(sample.conversations, axis, length)
        least = max(kept[1] - kept[0], int(np.ceil(LEAST_SIDE * length)))
        side = int(rng.integers(least, length + 1))
        start = int(rng.integers(max(0, kept[1] - side), min(kept[0], length - side) + 1))
        window.append(slice(start, start + side))
    return _cut(sample, tuple(window))


def _extent(conversations: Iterable[Conversation], axis: int, length: int) -> tuple[int, int]:
    """First and last row (axis 0) or column (axis 1) of all masks and regions, with a margin: `[first, end)`."""
    seen = np.zeros(length, bool)
    for item in conversations:
        for masks in (item.masks, item.regions):
            if masks is not None and masks.size:
                seen |= masks.reshape(-1, *masks.shape[-2:]).any(axis=0).any(axis=1 - axis)
    places = np.flatnonzero(seen)
    margin = int(np.ceil(MARGIN * length))
    return max(0, int(places[0]) - margin), min(length, int(places[-1]) + 1 + margin)


def _jittered(frames: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Frames uint8 `(T, H, W, 3)` in another light, the same for all."""
    pixels: Any = torch.from_numpy(frames).permute(0, 3, 1, 2)
    brightness, contrast, saturation = (float(1 + rng.uniform(-JITTER, JITTER)) for _ in range(3))
    pixels = tv.adjust_brightness(pixels, brightness)
    pixels = tv.adjust_contrast(pixels, contrast)
    pixels = tv.adjust_saturation(pixels, saturation)
    pixels = tv.adjust_hue(pixels, float(rng.uniform(-HUE, HUE)))
    return np.ascontiguousarray(pixels.permute(0, 2, 3, 1).numpy())


__all__ = ["Augmentation"]
