"""A real clip through the whole mask-conditioned path, scored: that it runs, not how well.

Enters: a folder of DAVIS' car-shadow and a model with random weights. Leaves: J, F and J&F of the track that starts
from the first true mask. With random weights these are no quality; they show that frames, prompt, tracker, resizing
and scoring fit together.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from desa2va.eval.metrics.video import VideoSegmentation
from desa2va.modeling_desa2va.modeling_desa2va import DeSa2VAModel

from .random_models import EncoderCounter, matching_processor


def car_shadow(model: DeSa2VAModel, folder: Path) -> dict[str, object]:
    """J&F over all frames but the first, which is given.

    Raises:
        FileNotFoundError: the folder lacks `JPEGImages/480p/car-shadow` or its annotations.
    """
    frames = sorted((folder / "JPEGImages/480p/car-shadow").glob("*.jpg"))
    if not frames:
        raise FileNotFoundError(f"{folder} holds no JPEGImages/480p/car-shadow/*.jpg")
    annotations = [folder / "Annotations/480p/car-shadow" / f"{frame.stem}.png" for frame in frames]
    truth = np.stack([np.asarray(Image.open(path)) > 0 for path in annotations])
    processor = matching_processor(model)
    batch = processor(videos=[str(frames[0].parent)], masks=truth[0], key_frames=[0])
    with EncoderCounter(model.segmenter) as counter:
        output = model.generate(**batch)
    result = processor.post_process(output, batch)[0]
    predicted = np.stack([result.objects[0].mask(frame) for frame in range(len(frames))])
    score = VideoSegmentation()
    score.add(predicted[1:], truth[1:])
    figures = {name: round(value, 4) for name, value in score.compute().items() if name in ("j", "f", "jf")}
    return {
        "path_check": {
            "note": "random weights: a check of the path, no quality",
            "frames": len(frames),
            "encoder_calls": counter.count,
            **figures,
        }
    }


__all__ = ["car_shadow"]
