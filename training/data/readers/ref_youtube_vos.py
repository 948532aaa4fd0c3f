"""Refer-YouTube-VOS: one object per expression.

Enters: `video_datas/rvos/` with `meta_expressions/<split>/meta_expressions.json`, `<split>/JPEGImages/<video>/` and,
for train alone, masks: palette pictures `train/Annotations/<video>/<frame>.png`, or, where these are not there,
`mask_dict.pkl` (here or in `train/`). Leaves: records at 6 frames a second, every fifth of 30. Frames without a mask
picture are left out. (Paper section 4.)

The pickle numbers expressions: videos sorted, in each the ids sorted as text (0, 1, 10, 2).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from desa2va.training.data.records import Record, RecordError

from .annotation_files import check_split
from .expression_videos import Clip, Labels, Size, clip_records, read_clips
from .index_labels import index_labels
from .mask_dicts import MaskDict, numbered_labels
from .status import Status, look

SPLITS = ("train", "valid", "test")
_PLACE = "video_datas/rvos"
_FPS = 30.0
_NUM_VALID = 202


def read_ref_youtube_vos(root: Path, split: str) -> Iterator[Record | RecordError]:
    """Records of a split.

    Raises:
        ValueError: no such split, or a file of another shape. FileNotFoundError: an annotation file is missing.
    """
    check_split("ref_youtube_vos", split, SPLITS)
    folder = Path(root) / _PLACE
    clips = read_clips(_words(folder, split))
    if split == "valid":
        clips = _without_test(clips, folder)
    yield from clip_records(
        clips.values(),
        [folder / place / "JPEGImages" for place in ((split, "valid") if split == "test" else (split,))],
        _labels(folder, clips) if split == "train" else None,
        source=f"ref_youtube_vos/{split}",
        base_fps=_FPS,
        lower=split == "train",
    )


def _words(folder: Path, split: str) -> Path:
    return folder / "meta_expressions" / split / "meta_expressions.json"


def _without_test(clips: dict[str, Clip | RecordError], folder: Path) -> dict[str, Clip | RecordError]:
    """Only the videos for validation: the file of valid lists those of test, too."""
    path = _words(folder, "test")
    if path.is_file():
        test = read_clips(path)
        return {name: clip for name, clip in clips.items() if name not in test}
    if len(clips) != _NUM_VALID:
        raise FileNotFoundError(
            f"there is no {path}; without it the {_NUM_VALID} videos of valid cannot be told from those of test, "
            f"as both are among the {len(clips)} of {_words(folder, 'valid')}"
        )
    return clips


def _labels(folder: Path, clips: dict[str, Clip | RecordError]) -> Callable[[Clip, Size], Labels]:
    """From mask pictures, else from the pickle."""
    annotations = folder / "train" / "Annotations"
    if annotations.is_dir():
        return index_labels(annotations, partly=True)
    places = (folder / "mask_dict.pkl", folder / "train" / "mask_dict.pkl")
    pickled = next((path for path in places if path.is_file()), None)
    if pickled is None:
        raise FileNotFoundError(f"there are no masks: neither the folder {annotations} nor {places[0]}")
    return numbered_labels(MaskDict(pickled), clips.values())


def ref_youtube_vos_status(root: Path) -> Status:
    """What of the set is there."""
    names = [f"{_PLACE}/meta_expressions/{split}/meta_expressions.json" for split in SPLITS]
    names += [f"{_PLACE}/train/JPEGImages", f"{_PLACE}/valid/JPEGImages"]
    names.append(
        "|".join(f"{_PLACE}/{name}" for name in ("train/Annotations", "mask_dict.pkl", "train/mask_dict.pkl"))
    )
    return look(root, names, "https://youtube-vos.org/dataset/rvos/")


__all__ = ["SPLITS", "read_ref_youtube_vos", "ref_youtube_vos_status"]
