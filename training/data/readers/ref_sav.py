"""Ref-SAV: long and short descriptions of objects of SA-V.

Train: `video_datas/Ref-SAV.json` (older: `sam_v_final_v3.json`) names videos, mask files and what is said; both lie
below `video_datas/sam_v_full/`. A video has 24 frames a second, its masks belong to every fourth of them, and an
object's name is its place in the inner lists of the mask file. Valid: `ref_sav_eval/`, in the shape of MeViS with
frames `videos/<video>/<frame>.jpg` named by the 24-fps count; `ids["type"]` is 0 for long, 1 for short.
(Paper section 4.)
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from desa2va.training.data.record_media import measure
from desa2va.training.data.records import Dialogue, Record, RecordError, expression_dialogue, inside

from .annotation_files import check_split, read_file
from .expression_videos import Codes, clip_records, read_clips
from .mask_dicts import MaskDict, annotation_labels, united_frames
from .status import Status, look

SPLITS = ("train", "valid")
STRIDE = 4  # frames of a video per annotated frame
_FPS = 24.0
_TABLES = ("video_datas/Ref-SAV.json", "video_datas/sam_v_final_v3.json")
_MEDIA = "video_datas/sam_v_full"
_EVAL = "ref_sav_eval"
_LICENCE = "CC BY 4.0 (videos and masks)"
_DOUBLED = re.compile(r"(^|/)([^/]+)/sav_train/\2/")
_CAPTIONS = {"long": ("long",), "short": ("short",), "both": ("long", "short")}


def read_ref_sav(
    root: Path, split: str, captions: Literal["long", "short", "both"] = "long"
) -> Iterator[Record | RecordError]:
    """Records of a split.

    Args:
        root: the data folder. split: one of `SPLITS`. captions: which descriptions are read in training; those of one
            object are alternatives. `"long"` is what Sa2VA trains on.

    Raises:
        ValueError: no such split or captions, or a file of another shape. FileNotFoundError: an annotation file is
            missing.
    """
    check_split("ref_sav", split, SPLITS)
    if captions not in _CAPTIONS:
        raise ValueError(f"captions must be one of {list(_CAPTIONS)}, got {captions!r}")
    root = Path(root)
    if split == "train":
        yield from _train(root, _CAPTIONS[captions])
        return
    yield from clip_records(
        read_clips(root / _EVAL / "meta_expressions_valid.json").values(),
        [root / _EVAL / "videos"],
        annotation_labels(MaskDict(root / _EVAL / "mask_dict.json"), num_kinds=len(_CAPTIONS["both"])),
        source="ref_sav/valid",
        licence=_LICENCE,
        base_fps=_FPS,
    )


def _train(root: Path, captions: tuple[str, ...]) -> Iterator[Record | RecordError]:
    path = next((root / name for name in _TABLES if (root / name).is_file()), root / _TABLES[0])
    table = read_file(path)
    if not isinstance(table, dict):
        raise ValueError(f"{path}: expected an object of videos by id, got {type(table).__name__}")
    for video in sorted(table):
        where = f"{path}, video {video}"
        try:
            yield from _video(video, where, table[video], root / _MEDIA, captions)
        except (ValueError, OSError) as error:
            yield RecordError(where, "video", str(error))


def _video(
    name: str, where: str, entry: Any, folder: Path, captions: tuple[str, ...]
) -> Iterator[Record | RecordError]:
    """The record of a video, after what is wrong with single objects."""
    if not isinstance(entry, dict) or not isinstance(entry.get("objects"), dict):
        raise ValueError("needs 'video_path', 'anno_path' and an object 'objects'")
    path, annotation = (inside(folder, _media_name(entry, key)) for key in ("video_path", "anno_path"))
    size, length = measure((path,), True)
    masklet = read_masklet(annotation, length)
    dialogues: list[Dialogue] = []
    for group, (number, said) in enumerate(sorted(entry["objects"].items())):
        try:
            texts = _texts(said, captions)
            codes = masklet_codes(masklet, number, size)
        except ValueError as error:
            yield RecordError(where, f"object {number}", str(error))
            continue
        for kind, text in texts:
            ids = {"video": name, "obj_id": number, "exp": text, "type": 0 if kind == "long" else 1}
            dialogues.append(expression_dialogue(text, codes, group, ids))
    if dialogues:
        yield Record(
            name=name,
            paths=(path,),
            is_video=True,
            size=size,
            num_frames=len(masklet),
            dialogues=tuple(dialogues),
            source="ref_sav/train",
            fps=_FPS / STRIDE,
            licence=_LICENCE,
            stride=STRIDE,
        )


def _media_name(entry: dict[str, Any], key: str) -> str:
    """A file's name without the folder that the table has twice: `sav_000/sav_train/sav_000/x.mp4`."""
    value = entry.get(key)
    if not isinstance(value, str):
        raise ValueError(f"needs a file name under {key!r}")
    return _DOUBLED.sub(r"\1sav_train/\2/", value)


def read_masklet(path: str, length: int) -> list[list[Any]]:
    """Per annotated frame the codes of all objects.

    Args:
        path: an annotation file of SA-V. length: frames of its video.

    Raises:
        FileNotFoundError: no such file. ValueError: of another shape, or masks of another number of frames than every
            fourth of the video.
    """
    content = read_file(Path(path))
    masklet = content.get("masklet") if isinstance(content, dict) else None
    if not isinstance(masklet, list) or not all(isinstance(frame, list) for frame in masklet):
        raise ValueError(f"{path}: expected 'masklet', a list over frames of lists over objects")
    annotated = -(-length // STRIDE)
    if len(masklet) != annotated:
        raise ValueError(
            f"{path} has masks of {len(masklet)} frames, but every {STRIDE}th of the {length} of the video "
            f"makes {annotated}"
        )
    return masklet


def masklet_codes(masklet: list[list[Any]], number: str, size: tuple[int, int]) -> Codes:
    """One checked code per annotated frame of one object, `None` where it is not seen.

    Args:
        masklet: of `read_masklet`. number: of the object, its place in the inner lists. size: (height, width).

    Raises:
        ValueError: no object of this number, or what is no code of this size; the frame is named.
    """
    if not number.isdecimal() or any(int(number) >= len(frame) for frame in masklet):
        fewest = min(map(len, masklet), default=0)
        raise ValueError(f"the mask file has objects 0 to {fewest - 1}, none of number {number:.40}")
    return united_frames([[frame[int(number)] for frame in masklet]], size)


def _texts(said: Any, captions: tuple[str, ...]) -> list[tuple[str, str]]:
    """`(kind, description)`; short ones lose the article they begin with, as in Sa2VA's training."""
    texts = []
    if isinstance(said, dict) and "long" in captions and isinstance(said.get("formated"), str):
        texts.append(("long", said["formated"]))
    if isinstance(said, dict) and "short" in captions and isinstance(said.get("short_caps"), list):
        texts += [("short", text.removeprefix("A ")) for text in said["short_caps"] if isinstance(text, str)]
    texts = [(kind, " ".join(text.split())) for kind, text in texts if text.strip()]
    if not texts:
        wanted = " or ".join({"long": "'formated'", "short": "'short_caps'"}[kind] for kind in captions)
        raise ValueError(f"needs a description under {wanted}")
    return texts


def ref_sav_status(root: Path) -> Status:
    """What of the set is there."""
    names = ["|".join(_TABLES), f"{_MEDIA}/sav_train|{_MEDIA}"]
    names += [f"{_EVAL}/{name}" for name in ("videos", "meta_expressions_valid.json", "mask_dict.json")]
    where = "descriptions: https://github.com/bytedance/Sa2VA, videos: https://ai.meta.com/datasets/segment-anything-video/"
    return look(root, names, where, licence=_LICENCE)


__all__ = ["SPLITS", "STRIDE", "masklet_codes", "read_masklet", "read_ref_sav", "ref_sav_status"]
