"""Ref-DAVIS17: four expressions per object, of two annotators, who saw the first frame or the whole video.

Enters: `video_datas/davis17/`, converted to the shape of Refer-YouTube-VOS (`{train,valid}/{JPEGImages,Annotations}/`,
`meta_expressions/{train,valid}/meta_expressions.json`; masks are palette pictures or `<split>/mask_dict.pkl`), or as
published: `DAVIS/{JPEGImages/480p,Annotations_unsupervised/480p,ImageSets/2017}` and `davis_text_annotations/`.
Leaves: records at 24 frames a second. `exp_id` is 4 * object + k with the objects sorted as text; `ids["annotator"]`
is k: 0 and 1 the first annotator on first frame and whole video, 2 and 3 the second. (Paper section 4.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from desa2va.training.data.records import Record, RecordError

from .annotation_files import check_split, count_videos
from .expression_videos import Clip, Labels, Size, clip_records, read_clips
from .index_labels import index_labels
from .index_masks import read_indices
from .mask_dicts import MaskDict, numbered_labels
from .status import Status, look

SPLITS = ("train", "valid")
_PLACE = "video_datas/davis17"
_VIDEOS = {"train": 60, "valid": 30}
_FPS = 24.0
_TEXTS = {  # in the order of k
    "Davis17_annot1.txt": "utf-8",
    "Davis17_annot1_full_video.txt": "utf-8",
    "Davis17_annot2.txt": "latin-1",
    "Davis17_annot2_full_video.txt": "latin-1",
}
_PAGES = (
    "videos: https://davischallenge.org/davis2017/code.html, expressions: https://www.mpi-inf.mpg.de/departments/"
    "computer-vision-and-machine-learning/research/video-segmentation/"
    "video-object-segmentation-with-language-referring-expressions"
)
_MISSPELT = {"clasic-car": "classic-car", "dog-scale": "dogs-scale", "motor-bike": "motorbike"}


def read_davis(root: Path, split: str) -> Iterator[Record | RecordError]:
    """Records of a split.

    Raises:
        ValueError: no such split, or a file of another shape. FileNotFoundError: an annotation file is missing.
    """
    check_split("ref_davis17", split, SPLITS)
    folder = Path(root) / _PLACE
    words = folder / "meta_expressions" / split / "meta_expressions.json"
    if words.is_file():
        pictures = folder / split / "JPEGImages"
        clips = read_clips(words)
        labels = _converted_labels(folder / split, clips)
    else:
        if not (folder / "davis_text_annotations").is_dir():
            raise FileNotFoundError(f"there is neither {words} nor the folder {folder / 'davis_text_annotations'}")
        pictures = folder / "DAVIS" / "JPEGImages" / "480p"
        clips = _published_clips(folder, split, pictures)
        labels = index_labels(folder / "DAVIS" / "Annotations_unsupervised" / "480p", partly=False)
    yield from clip_records(
        [_with_annotators(clip) for clip in clips.values()],
        [pictures],
        labels,
        source=f"ref_davis17/{split}",
        base_fps=_FPS,
        lower=split == "train",
    )


def read_davis_maps(root: Path, split: str, video: str, frames: list[str]) -> np.ndarray | None:
    """The numbers of all objects of a video, also of those that no expression names: int32 `(T, H, W)`, 255 is void.

    Args:
        root, split: as for `read_davis`. video: its name. frames: names of its frames.

    Returns:
        `None` where the masks are a pickle, which holds the objects that are named.

    Raises:
        FileNotFoundError, ValueError: a mask picture that is missing or none.
    """
    folder = Path(root) / _PLACE
    places = (folder / split / "Annotations", folder / "DAVIS" / "Annotations_unsupervised" / "480p")
    place = next((place for place in places if place.is_dir()), None)
    return None if place is None else np.stack([read_indices(place / video / f"{frame}.png") for frame in frames])


def _converted_labels(folder: Path, clips: Mapping[str, Clip | RecordError]) -> Callable[[Clip, Size], Labels]:
    """From mask pictures, else from the pickle."""
    if (folder / "Annotations").is_dir():
        return index_labels(folder / "Annotations", partly=False)
    return numbered_labels(MaskDict(folder / "mask_dict.pkl"), clips.values())


def _with_annotators(clip: Clip | RecordError) -> Clip | RecordError:
    """The clip with k of every expression, or what speaks against 4 * object + k."""
    if isinstance(clip, RecordError):
        return clip
    objects: dict[int, set[str]] = {}
    expressions = []
    for exp_id, entry in clip.expressions:
        if not exp_id.isdecimal() or not isinstance(entry, dict) or not str(entry.get("obj_id")).isdecimal():
            message = "needs a number as id, its words under 'exp', and the number of its object under 'obj_id'"
            return RecordError(clip.where, f"expression {exp_id}", message)
        objects.setdefault(int(exp_id) // 4, set()).add(str(entry.get("obj_id")))
        expressions.append((exp_id, {**entry, "annotator": int(exp_id) % 4}))
    for first, named in objects.items():
        if len(named) > 1:
            ids = f"{4 * first} to {4 * first + 3}"
            message = f"ids {ids} are of objects {', '.join(sorted(named))}; they must be of one, 4 * object + k"
            return RecordError(clip.where, "expressions", message)
    return replace(clip, expressions=tuple(expressions))


def _published_clips(folder: Path, split: str, pictures: Path) -> dict[str, Clip | RecordError]:
    """Clips of the four text files."""
    said = [_lines(folder / "davis_text_annotations" / name, encoding) for name, encoding in _TEXTS.items()]
    listing = folder / "DAVIS" / "ImageSets" / "2017" / ("val.txt" if split == "valid" else "train.txt")
    clips: dict[str, Clip | RecordError] = {}
    for video in sorted(listing.read_text(encoding="utf-8").split()):
        where = f"{folder / 'davis_text_annotations'}, video {video}"
        entries = [by_video.get(video, {}) for by_video in said]
        if not entries[0] or any(other.keys() != entries[0].keys() for other in entries):
            objects = ", ".join(str(sorted(other)) for other in entries)
            clips[video] = RecordError(
                where, "expressions", f"the four files must name the same objects, got {objects}"
            )
            continue
        frames = tuple(sorted(path.stem for path in (pictures / video).glob("*.jpg")))
        if not frames:
            clips[video] = RecordError(where, "video", f"no frames in {pictures / video}")
            continue
        texts = [{"exp": other[number], "obj_id": number} for number in sorted(entries[0]) for other in entries]
        expressions = sorted((str(exp_id), entry) for exp_id, entry in enumerate(texts))
        clips[video] = Clip(video, where, frames, tuple(expressions), 0)
    return clips


def _lines(path: Path, encoding: str) -> dict[str, dict[str, str]]:
    """Expressions by video and object number."""
    if not path.is_file():
        raise FileNotFoundError(f"there is no annotation file {path}")
    said: dict[str, dict[str, str]] = {}
    for row, line in enumerate(path.read_text(encoding=encoding).splitlines(), 1):
        if not line.strip():
            continue
        parts = line.split(maxsplit=2)
        if len(parts) < 3 or not parts[1].isdecimal():
            raise ValueError(f'{path}, row {row}: expected a video, an object number and a "quoted expression"')
        objects = said.setdefault(_MISSPELT.get(parts[0], parts[0]), {})
        if parts[1] in objects:
            raise ValueError(f"{path}, row {row}: object {parts[1]} of {parts[0]} is described twice")
        objects[parts[1]] = parts[2].strip().strip('"').strip()
    return said


def davis_status(root: Path) -> Status:
    """What of the set is there, in either layout."""
    if (Path(root) / _PLACE / "davis_text_annotations").is_dir():
        names = [f"{_PLACE}/davis_text_annotations/{name}" for name in _TEXTS]
        folders = [f"{_PLACE}/DAVIS/{place}/480p" for place in ("JPEGImages", "Annotations_unsupervised")]
        names += [*folders, *(f"{_PLACE}/DAVIS/ImageSets/2017/{name}.txt" for name in ("train", "val"))]
        counts = dict.fromkeys(folders, sum(_VIDEOS.values()))
    else:
        names, counts = [], {}
        for split, count in _VIDEOS.items():
            folders = [f"{_PLACE}/{split}/{place}" for place in ("JPEGImages", "Annotations")]
            names += [f"{_PLACE}/meta_expressions/{split}/meta_expressions.json", folders[0]]
            names.append(f"{folders[1]}|{_PLACE}/{split}/mask_dict.pkl")
            counts |= dict.fromkeys(folders, count)
    return count_videos(look(Path(root), names, _PAGES), Path(root), counts)


__all__ = ["SPLITS", "davis_status", "read_davis", "read_davis_maps"]
