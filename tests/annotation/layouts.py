"""Small videos with masks, in every layout that is read."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

from desa2va.processing.files import VideoWriter, encode_mask

SHARED = Path(__file__).resolve().parents[3] / "shared" / "real_data"
SAV = SHARED / "sav_annotations" / "sav_000001_manual.json"
DAVIS = SHARED / "davis_car-shadow"
HEIGHT, WIDTH = 48, 64


def squares(num_frames=6):
    """Frames uint8 and numbers of objects: 1, red, moves right; 2, blue, is still; 3 has a single pixel."""
    maps = np.zeros((num_frames, HEIGHT, WIDTH), np.uint8)
    for frame in range(num_frames):
        maps[frame, 4:20, 4 + 6 * frame : 20 + 6 * frame] = 1
        maps[frame, 28:44, 40:56] = 2
        maps[frame, 47, 0] = 3
    colors = np.array([(90, 90, 90), (215, 40, 40), (45, 80, 215), (0, 255, 0)], np.uint8)
    return colors[maps], maps


def write_palettes(root, name="clip", num_frames=6, skip=()):
    """`root/frames/<name>/*.png` and `root/masks/<name>/*.png`; `skip`: frames without a mask."""
    frames, maps = squares(num_frames)
    for number, (frame, labels) in enumerate(zip(frames, maps, strict=True)):
        for kind, pixels in (("frames", frame), ("masks", labels)):
            place = root / kind / name
            place.mkdir(parents=True, exist_ok=True)
            if kind == "frames" or number not in skip:
                Image.fromarray(pixels).save(place / f"{5 * number:05d}.png")
    return root / "frames", root / "masks"


def write_sav(root, name="sav_000001", num_frames=6, frames=None, masklet=None):
    """`root/frames/<name>.mp4` with every frame four times, and `root/masks/<name>_manual.json`."""
    pixels, maps = squares(num_frames)
    for kind in ("frames", "masks"):
        (root / kind).mkdir(parents=True, exist_ok=True)
    with VideoWriter(root / "frames" / f"{name}.mp4", 24) as video:
        for frame in np.repeat(pixels, 4, axis=0) if frames is None else frames:
            video.write(frame)
    codes = [[encode_mask(labels == k) for k in (1, 2, 3)] for labels in maps] if masklet is None else masklet
    (root / "masks" / f"{name}_manual.json").write_text(json.dumps({"masklet": codes, "video_id": name}))
    return root / "frames", root / "masks"
