"""What a visitor takes home: the overlay, the masks, COCO JSON.

What enters: a `SegmentationResult` with its source. What leaves: files in a folder. (Engineering; no paper section.)
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any


def write_files(result: Any, folder: Path) -> list[str]:
    """Writes `overlay.png` and `masks.png` of a picture, `overlay.mp4` and `masks.zip` of a video, and `coco.json`.

    Args:
        result: a `SegmentationResult`. folder: files of an earlier call are replaced.

    Returns:
        The three paths.
    """
    masks = folder / "masks"
    shutil.rmtree(masks, ignore_errors=True)
    paths = result.save_png(masks)
    if result.num_frames == 1:
        overlay, packed = folder / "overlay.png", folder / "masks.png"
        shutil.copy(paths[0], packed)
    else:
        overlay = folder / "overlay.mp4"
        packed = Path(shutil.make_archive(str(masks), "zip", masks))
    result.save_overlay(overlay, overwrite=True)
    result.to_coco(folder / "coco.json", overwrite=True)
    return [str(path) for path in (overlay, packed, folder / "coco.json")]


__all__ = ["write_files"]
