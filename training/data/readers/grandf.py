"""Grounded conversation: the four variants of GranD-f for training, and the files that scores are computed on.

Enters: captions whose phrases have masks, each variant in a form of its own. Leaves: one record per caption.
(Paper section 4: grounded conversation generation.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from desa2va.processing.files import Code
from desa2va.training.data.records import Record, RecordError

from .annotation_files import check_split
from .grounded_text import Span, grounded_dialogue
from .json_entries import FieldError, named_field
from .pictures import PictureFolders, look_at, picture_record, segmentation_code
from .rows import attempt, by_id, list_rows, need, read_object
from .status import Reader, Status

PAGE = "https://github.com/mbzuai-oryx/groundingLMM"
HOMES = ("glamm_data/annotations", "GranDf/annotations/train", "annotations", ".")
TRUTH_HOMES = (
    "glamm_data/annotations/gcg_val_test",
    "GranDf/annotations/val_test",
    "annotations/gcg_val_test",
    "annotations/val_test",
)
TRUTH_FOLDERS = (
    "glamm_data/images/grandf/val_test",
    "GranDf/GranDf_HA_images/val_test",
    "GranDf_HA_images/val_test",
    "images/grandf/val_test",
)
# name: (file, folders of the pictures, fewest pictures, splits)
VARIANTS: dict[str, tuple[str, tuple[str, ...], int, tuple[str, ...]]] = {
    "grandf": (
        "GranDf_HA_GCG_{}.json",
        (
            "glamm_data/images/grandf/train",
            "GranDf/GranDf_HA_images/train",
            "GranDf_HA_images/train",
            "images/grandf/train",
        ),
        1000,
        ("train",),
    ),
    "grandf_openpsg": (
        "OpenPsgGCG_{}.json",
        ("glamm_data/images/coco2017", "coco_2017", "coco2017"),
        48000,
        ("train", "val"),
    ),
    "grandf_refcocog": (
        "RefCOCOg_GCG_{}.json",
        ("glamm_data/images/coco2014/train2014", "coco_2014/train2014", "coco2014/train2014"),
        25799,
        ("train", "val"),
    ),
    "grandf_flickr": (
        "flickr_mergedGT_GCG_{}.json",
        ("glamm_data/images/flickr30k/Flickr30K", "flikcr_30k/train", "flickr30k/Flickr30K"),
        31014,
        ("train", "val"),
    ),
}
TRUTH_SPLITS = ("val", "test")
FEWEST_WORDS, SMALLEST_SIDE = 3, 32  # of Flickr30k's captions and pictures


def read_grandf(root: Path, split: str, dataset: str = "grandf") -> Iterator[Record | RecordError]:
    """The captions of a variant, in the order of its file; those without a mask are left out.

    Args:
        root: the data folder. split: one of the variant's. dataset: one of `VARIANTS`.

    Raises:
        FileNotFoundError, ValueError: no such split, or a file that is missing or broken.
    """
    pattern, folders, _, splits = VARIANTS[dataset]
    check_split(dataset, split, splits)
    root = Path(root)
    file = _first(root, HOMES, pattern.format(split))
    pictures = PictureFolders(root, folders)
    if dataset == "grandf_flickr":
        yield from _flickr(file, pictures)
        return
    make: Callable[..., Record | None] = _expressed if dataset == "grandf_refcocog" else _grounded
    for name, row in list_rows(file):
        yield from attempt(name, make, name, row, pictures, file)


def _first(root: Path, homes: tuple[str, ...], name: str) -> Path:
    return next((root / home / name for home in homes if (root / home / name).is_file()), root / homes[0] / name)


def _grounded(name: str, row: Any, pictures: PictureFolders, file: Path) -> Record | None:
    """GranD-f's own and OpenPSG: offsets into the caption without its quotes, codes to be united."""
    image = need(row, "file_name", str)
    stated = need(row, "height", int), need(row, "width", int)
    path, size = pictures.measured(image, f"train2017/{image}", image.removeprefix("train2017/"), stated=stated)
    caption = bare_caption(need(row, "caption", str))
    spans = []
    for phrase, grounding in need(row, "groundings", dict).items():
        if grounding is None:
            continue
        with named_field(f"groundings {phrase!r:.40}"):
            start, end = _offsets(need(grounding, "token_positives", list))
            spans.append(Span(start, end, segmentation_code(need(grounding, "rle_masks", list), size)))
    return _record(name, image, caption, spans, (path, size), file)


def bare_caption(text: str) -> str:
    """A caption without the quotes around it; offsets count from here, so in this order and no further."""
    return text.strip('"').strip()


def _offsets(pair: Any) -> tuple[int, int]:
    if not isinstance(pair, list) or len(pair) != 2 or not all(type(place) is int for place in pair):
        raise ValueError(f"expected [first character, character behind the last], got {pair!r:.60}")
    return pair[0], pair[1]


def _record(
    name: str, image: str, caption: str, spans: list[Span], opened: tuple[str, tuple[int, int]], file: Path
) -> Record | None:
    dialogue = grounded_dialogue(caption, spans, {"image_id": Path(image).stem})
    return picture_record(f"{name} ({image})", *opened, [] if dialogue is None else [dialogue], str(file))


def _expressed(name: str, row: Any, pictures: PictureFolders, file: Path) -> Record | None:
    """RefCOCOg: an object with one key; expressions without offsets are looked for in lower case."""
    if not isinstance(row, dict) or len(row) != 1:
        raise FieldError("record", f"a row is an object with one key, the number of the picture, got {row!r:.60}")
    (entry,) = row.values()
    image = need(entry, "img_file_name", str)
    path, size = pictures.measured(image)
    caption = bare_caption(need(entry, "caption", str)).lower()
    spans = []
    for reference in need(entry, "refs", list):
        phrase = need(reference, "sentence", str).strip().lower()
        start = caption.find(phrase) if phrase else -1
        if start >= 0:
            code = segmentation_code(need(reference, "segmentation", list | dict), size)
            spans.append(Span(start, start + len(phrase), code))
    return _record(name, image, caption, spans, (path, size), file)


def _flickr(file: Path, pictures: PictureFolders) -> Iterator[Record | RecordError]:
    """Flickr30k: a COCO file in which every caption is an image of its own."""
    table = read_object(file)
    boxes: dict[Any, list[Any]] = {}
    for annotation in by_id(file, table, "annotations").values():
        boxes.setdefault(annotation.get("image_id"), []).append(annotation)
    for image_id, image in by_id(file, table, "images").items():
        name = f"{file.name}, image {image_id}"
        yield from attempt(name, _boxed, name, image, boxes.get(image_id, []), pictures, file)


def _boxed(name: str, row: Any, boxes: list[Any], pictures: PictureFolders, file: Path) -> Record | None:
    caption, stated = need(row, "caption", str), (_pixels(row, "height"), _pixels(row, "width"))
    kept = [box for box in boxes if _counts(box, stated)]
    if len(caption.split(" ")) < FEWEST_WORDS or min(stated) < SMALLEST_SIDE or not kept:
        return None
    image = need(row, "file_name", str)
    path, size = pictures.measured(image, image.rsplit("_", 1)[-1], stated=stated)
    spans = []
    for box in kept:
        with named_field(f"annotation {box['id']}"):
            start, end = _offsets(next(iter(need(box, "tokens_positive", list)), None))
            spans.append(Span(start, end, segmentation_code(need(box, "sam_mask", dict | list), size)))
    return _record(name, image, caption, spans, (path, size), file)


def _pixels(row: Any, key: str) -> int:
    """A side of a picture, which some rows hold as text."""
    with named_field(key):
        return int(need(row, key, int | str))


def _counts(box: Any, size: tuple[int, int]) -> bool:
    """Whether a box lies in the picture and covers some of it, and is not to be ignored."""
    sides = need(box, "bbox", list)
    if len(sides) != 4 or not all(isinstance(side, int | float) for side in sides):
        raise FieldError("bbox", f"is [x, y, width, height], got {sides!r:.60}")
    x, y, width, height = sides
    inside_x = min(x + width, size[1]) - max(x, 0)
    inside_y = min(y + height, size[0]) - max(y, 0)
    covers = inside_x > 0 and inside_y > 0 and need(box, "area", int | float) > 0 and min(width, height) >= 1
    return covers and not box.get("ignore")


def read_gcg(root: Path, split: str) -> Iterator[Record | RecordError]:
    """The pictures that grounded conversation is scored on: caption, phrases and masks of each.

    The i-th phrase belongs to the i-th mask. `ids` hold the caption and the picture's number; the answer names the
    phrases in their order, since the files say nothing of their places.

    Raises:
        FileNotFoundError, ValueError: no such split, or a file that is missing or broken.
    """
    check_split("gcg", split, TRUTH_SPLITS)
    root = Path(root)
    mask_file = _first(root, TRUTH_HOMES, f"{split}_gcg_coco_mask_gt.json")
    caption_file = _first(root, TRUTH_HOMES, f"{split}_gcg_coco_caption_gt.json")
    masks: dict[Any, list[Any]] = {}
    for annotation in by_id(mask_file, read_object(mask_file), "annotations").values():
        masks.setdefault(annotation.get("image_id"), []).append(annotation)
    pictures = PictureFolders(root, TRUTH_FOLDERS)
    for number, row in by_id(caption_file, read_object(caption_file), "annotations").items():
        own = masks.get(row.get("image_id"), [])
        yield from attempt(f"{caption_file.name}, caption {number}", _truth, row, own, pictures, caption_file)


def _truth(row: Any, masks: list[Any], pictures: PictureFolders, file: Path) -> Record | None:
    image_id, labels = need(row, "image_id", str | int), need(row, "labels", list)
    if not all(isinstance(label, str) for label in labels) or len(labels) != len(masks) or not masks:
        raise FieldError("labels", f"{len(labels)} phrases for {len(masks)} masks; the i-th belongs to the i-th")
    path, size = pictures.measured(f"{image_id}.jpg", f"{image_id}.png")
    caption = bare_caption(need(row, "caption", str))
    codes: list[Code] = [segmentation_code(need(mask, "segmentation", list | dict), size) for mask in masks]
    spans, text = [], ""
    for label, code in zip(labels, codes, strict=True):
        text += f"{', ' if text else ''}{label}"
        spans.append(Span(len(text) - len(label), len(text), code))
    dialogue = grounded_dialogue(text, spans, {"caption": caption, "image_id": image_id})
    return picture_record(str(image_id), path, size, [] if dialogue is None else [dialogue], str(file))


def present(root: Path, dataset: str) -> Status:
    """What of a variant is there."""
    pattern, folders, count, splits = VARIANTS[dataset]
    files = ["|".join(f"{home}/{pattern.format(split)}" for home in HOMES[:2]) for split in splits]
    return look_at(root, files, {"|".join(folders): count}, PAGE)


def truth_present(root: Path) -> Status:
    """What of the evaluation files is there."""
    names = [f"{split}_gcg_coco_{kind}_gt.json" for split in TRUTH_SPLITS for kind in ("mask", "caption")]
    files = ["|".join(f"{home}/{name}" for home in TRUTH_HOMES[:2]) for name in names]
    return look_at(root, files, {"|".join(TRUTH_FOLDERS[:2]): 5000}, PAGE)


GRANDF_READERS = {
    **{
        name: Reader(partial(read_grandf, dataset=name), partial(present, dataset=name), splits)
        for name, (_, _, _, splits) in VARIANTS.items()
    },
    "gcg": Reader(read_gcg, truth_present, TRUTH_SPLITS),
}

__all__ = ["GRANDF_READERS", "bare_caption", "read_gcg", "read_grandf"]
