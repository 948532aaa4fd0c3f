"""The frames of a `VideoDecoder` of torchcodec, as `datasets` hands videos over.

In: any object with that interface (`len`, `get_frames_at`, `metadata`); torchcodec itself is not needed here. Out:
`DecoderSource`, a `FrameSource` that asks for frames when they are read (METHOD section 6).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from .frame_source import check_indices, frame_range
from .image_loading import load_image

_CHUNK_FRAMES = 8


def is_decoder(source: Any) -> bool:
    """Whether an object has the interface of torchcodec's `VideoDecoder`."""
    return all(hasattr(source, name) for name in ("get_frames_at", "metadata", "__len__"))


class DecoderSource:
    """Frames of a decoder. Attributes as in `FrameSource`.

    Args:
        decoder: a `torchcodec.decoders.VideoDecoder`; its frames are uint8, channels first or last, on any device.
        name: what errors and results call it.

    Raises:
        ValueError: the decoder holds no frame.
    """

    def __init__(self, decoder: Any, name: str) -> None:
        self.name = name
        self._decoder = decoder
        if not len(decoder):
            raise ValueError(f"{name}: a video needs at least one frame, the decoder holds none")
        rate = getattr(decoder.metadata, "average_fps", None)
        self.fps: float | None = float(rate) if rate else None
        self.timestamps = [index / (self.fps or 1.0) for index in range(len(decoder))]
        (first,) = self.read([0])
        self.height, self.width = first.shape[:2]

    def __len__(self) -> int:
        return len(self.timestamps)

    def read(self, indices: Sequence[int]) -> list[np.ndarray]:
        """Frames at these indices, in the order asked for."""
        check_indices(len(self), indices)
        if not len(indices):
            return []
        # torchcodec asks for rising indices to decode each packet once.
        rising = sorted(set(indices))
        frames = self._decoder.get_frames_at(indices=rising).data
        frames = frames if frames.shape[1] == 3 else frames.permute(0, 3, 1, 2)
        found = {index: load_image(frames[row], f"{self.name} frame {index}") for row, index in enumerate(rising)}
        return [found[index] for index in indices]

    def iterate(self, start: int = 0, stop: int | None = None, step: int = 1) -> Iterator[np.ndarray]:
        """Frames `range(start, stop, step)`, a few decoded at a time."""
        numbers = frame_range(len(self), start, stop, step)
        for offset in range(0, len(numbers), _CHUNK_FRAMES):
            yield from self.read(numbers[offset : offset + _CHUNK_FRAMES])


__all__ = ["DecoderSource", "is_decoder"]
