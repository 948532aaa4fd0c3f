"""Small folders in the exact layouts of the public video sets, with the frames and masks of RefShapes videos."""

import json

import numpy as np
from PIL import Image

from desa2va.processing.files import write_index_png
from desa2va.training.data.mask_codes import encode_mask
from desa2va.training.data.records import RecordError
from desa2va.training.data.refshapes.dataset import RefShapes
from desa2va.training.data.refshapes.disk import DEFAULT_KINDS

SIZE = 32
OPTIONS = {"kinds": DEFAULT_KINDS["mevis"], "video_fraction": 1.0, "size": SIZE}


def videos(count):
    """`(frames, index maps)` of RefShapes videos: six frames each, object k has index k + 1."""
    samples = RefShapes("train", "full", length=count, **OPTIONS)
    return [(sample.frames, sample.scene["instance_map"]) for sample in samples]


def dump(content, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")


def load(path):
    return json.loads(path.read_text(encoding="utf-8"))


def edit(path, change):
    """Rewrites a JSON file after `change(content)`."""
    content = load(path)
    change(content)
    dump(content, path)


def write_frames(folder, frames, step=1, first=0, digits=5):
    """JPEG files named by the frame count; returns the names without suffix."""
    folder.mkdir(parents=True)
    names = [f"{first + number * step:0{digits}d}" for number in range(len(frames))]
    for name, frame in zip(names, frames, strict=True):
        Image.fromarray(frame).save(folder / f"{name}.jpg")
    return names


def write_indices(folder, maps, names):
    folder.mkdir(parents=True)
    for name, pixels in zip(names, maps, strict=True):
        write_index_png(pixels, folder / f"{name}.png")


def track(mask):
    """A code per frame, null where nothing is seen."""
    return [encode_mask(frame) if frame.any() else None for frame in mask]


def split_up(found):
    """Records and errors of a reader, apart."""
    found = list(found)
    errors = [item for item in found if isinstance(item, RecordError)]
    return [item for item in found if not isinstance(item, RecordError)], errors


def masks_of(record, dialogue):
    """Bool `(T, H, W)` of the only target."""
    (masks,) = record.masks(dialogue)
    return masks


def by_exp(record):
    return {dialogue.ids["exp_id"]: dialogue for dialogue in record.dialogues}


def same(record, exp_id, mask):
    return np.array_equal(masks_of(record, by_exp(record)[exp_id]), mask)
