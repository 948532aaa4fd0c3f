"""What SAM-2's frozen encoder makes of a picture, kept on disk: encoded in the first epoch, read in the others.

Enters: a segmenter whose encoder does not learn, and pictures that come again as they were. Leaves: the same
features. They are many times as large as the picture, so this pays where encoding is slow and pictures are few;
docs/performance.md has figures. (Engineering; no paper section.)
"""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from desa2va.modeling_desa2va.outputs import ImageFeatures
from desa2va.modeling_desa2va.segmenter import DeSa2VASegmenter
from desa2va.processing.files import write_file

from .data.record_dataset import RecordDataset
from .start_weights import digest

LEVELS = ("high0", "high1", "low")
GIB = 2**30


class FeatureCache:
    """`encode_frames` of a segmenter, by way of a folder.

    A file per picture, named by a hash of its pixels, in a folder named by a hash of the encoder's weights and the
    type it computes in. Files are written under another name and moved, so any number of processes may share them.
    Frames are encoded one by one: what is kept does not depend on which others were in the batch.

    Args:
        segmenter: whose encoder does not learn. folder: of the cache.
    """

    def __init__(self, segmenter: DeSa2VASegmenter, folder: str | os.PathLike) -> None:
        self.encode, self.folder = segmenter.encode_frames, Path(folder)
        weights = [digest(value) for value in segmenter.sam.vision_encoder.state_dict().values()]
        self.weights = hashlib.sha256("".join(weights).encode()).hexdigest()[:16]
        self.position: torch.Tensor | None = None

    @torch.no_grad()
    def __call__(self, pixel_values: torch.Tensor, batch_size: int | None = None) -> ImageFeatures:
        """Features of (F, 3, S, S) pixels; see `DeSa2VASegmenter.encode_frames`."""
        device = pixel_values.device
        if self.position is None:
            self.position = self.encode(pixel_values[:1]).position
        frames = [self._features(frame) for frame in pixel_values.split(1)]
        levels = (torch.cat([frame[name] for frame in frames]).to(device) for name in LEVELS)
        return ImageFeatures(*levels, position=self.position)

    def _features(self, frame: torch.Tensor) -> dict[str, torch.Tensor]:
        path = self.folder / self._computed(frame.device.type) / f"{digest(frame)}.safetensors"
        if path.is_file():
            return load_file(path)
        encoded = self.encode(frame)
        features = {name: getattr(encoded, name).contiguous() for name in LEVELS}
        path.parent.mkdir(parents=True, exist_ok=True)
        write_file(path, lambda place: save_file(features, place), overwrite=True)
        return features

    def _computed(self, device: str) -> str:
        autocast = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else "as_stored"
        return f"{self.weights}-{str(autocast).removeprefix('torch.')}"


def keep_features(segmenter: DeSa2VASegmenter, folder: str, datasets: list[Any]) -> None:
    """Lets a segmenter read its features from a folder, and write them there.

    Raises:
        ValueError: the encoder learns, or pictures that do not come again. OSError: no room for the features of all.
    """
    if any(parameter.requires_grad for parameter in segmenter.sam.vision_encoder.parameters()):
        raise ValueError(
            "data.feature_cache keeps what a frozen encoder makes, and SAM-2's encoder learns: leave it out"
        )
    check_room(segmenter, folder, datasets)
    segmenter.encode_frames = FeatureCache(segmenter, folder)


def check_room(segmenter: DeSa2VASegmenter, folder: str, datasets: list[Any]) -> str:
    """How large the cache will be at most, as a sentence; nothing is written.

    Args:
        segmenter: may be on the meta device. folder: of the cache. datasets: that the training reads.

    Raises:
        ValueError: pictures that do not come again. OSError: the disk has less room.
    """
    count, size = sum(map(count_frames, datasets)), frame_bytes(segmenter)
    place = next(path for path in (Path(folder).absolute(), *Path(folder).absolute().parents) if path.exists())
    there = sum(path.stat().st_size for path in Path(folder).rglob("*.safetensors"))
    free = shutil.disk_usage(place).free
    sentence = (
        f"data.feature_cache: {count:,} frames of {size / 1e6:.1f} MB are {count * size / GIB:.1f} GiB at most; "
        f"{place} has {free / GIB:.1f} GiB free, and {there / GIB:.1f} GiB are there"
    )
    if count * size > free + there:
        raise OSError(f"{sentence}: name a larger disk, or leave it out")
    return sentence


def count_frames(dataset: Any) -> int:
    """Frames of all records of a data set, or of the parts of a mixture.

    Raises:
        ValueError: they are drawn, changed or streamed, so that none comes again as it was.
    """
    total = 0
    for part in getattr(dataset, "parts", [dataset]):
        if not isinstance(part, RecordDataset):
            raise ValueError(
                "data.feature_cache needs data sets of files, which come again; RefShapes and streams do not"
            )
        changed = [name for name in ("flip", "crop", "color") if getattr(part.augmentation, name)]
        if changed:
            raise ValueError(
                f"data.feature_cache keeps pictures as they are, and {part.name} changes them: leave it or "
                f"{' and '.join(changed)} out"
            )
        total += sum(record.num_frames for record in part.records)
    return total


@torch.no_grad()
def frame_bytes(segmenter: DeSa2VASegmenter) -> int:
    """Bytes that the features of one frame take, in the type of the weights; autocast to half precision halves it."""
    side, device = segmenter.sam.image_size, next(segmenter.parameters()).device
    features = segmenter.encode_frames(torch.zeros(1, 3, side, side, device=device))
    return sum(getattr(features, name).nbytes for name in LEVELS)


__all__ = ["FeatureCache", "check_room", "count_frames", "frame_bytes", "keep_features"]
