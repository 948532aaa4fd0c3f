"""Regions put into words: the five files of Osprey-724K, and RefCOCOg's expressions as captions of regions.

Enters: masks of regions with dialogues or descriptions. Leaves: one record per row, regions as visual prompts; region
`k` is what the text calls `region {k + 1}`. (Paper section 4: region understanding.)
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from desa2va.processing.files import Code, decode_mask
from desa2va.training.data.records import Dialogue, Record, RecordError

from .annotation_files import check_split
from .chat import chat_turns, clean
from .json_entries import FieldError
from .pictures import PictureFolders, look_at, picture_record, segmentation_code
from .rows import attempt, by_id, list_rows, need, read_object
from .status import Reader, Status

HOMES = ("osprey-724k/Osprey-724K", "Osprey-724K", ".")
FOLDERS = tuple(
    f"{home}/{year}"
    for home in ("osprey-724k/coco", "coco")
    for year in ("train2014", "val2014", "train2017", "val2017")
)
# name of the set: the file's names
FILES = {
    "osprey_conversation": ("osprey_conversation.json", "osprey_conversations.json"),
    "osprey_detail_description": ("osprey_detail_description.json",),
    "osprey_short_form": ("osprey_short_form.json",),
    "osprey_part_level": ("osprey_part_level.json",),
    "osprey_lvis_positive_negative": ("osprey_lvis_positive_negative.json",),
}
SPLITS, CAPTION_SPLITS = ("train",), ("train", "val")
BRIEF = ("osprey_short_form", "osprey_part_level")
BRIEFLY = "Answer the question using a single word or phrase."
DETAIL_REQUEST = "Describe region 1 in detail."
CAPTION_REQUEST = "Describe region 1."
GRID, FEWEST_CELLS = 16, 4  # Sa2VA shows a region as the cells of a picture of 16 x 16, and takes none of less than 4
_PREFIX = re.compile(r"^\s*<?region\s*\d+>?\s*:?\s*", re.IGNORECASE)
CAPTION_HOME = "region_caption/refcocog"
CAPTION_FILE = "finetune_refcocog_{}_with_mask.json"
CAPTION_FOLDERS = ("glamm_data/images/coco2014/train2014", "ref_seg/refcocog/coco2014/train2014", "coco2014/train2014")


def read_osprey(
    root: Path, split: str = "train", dataset: str = "osprey_conversation"
) -> Iterator[Record | RecordError]:
    """The rows of one file, in its order; left out are those that ask nothing or show a region too small to be seen.

    Args:
        root: the data folder, or that of the set. split: there is `"train"` alone. dataset: one of `FILES`.

    Raises:
        FileNotFoundError, ValueError: a file that is missing or no JSON list.
    """
    check_split(dataset, split, SPLITS)
    root = Path(root)
    files = [root / home / name for home in HOMES for name in FILES[dataset]]
    file = next((file for file in files if file.is_file()), files[0])
    pictures = PictureFolders(root, FOLDERS)
    for name, row in list_rows(file):
        yield from attempt(name, _record, name, row, pictures, dataset, file)


def _record(name: str, row: Any, pictures: PictureFolders, dataset: str, file: Path) -> Record | None:
    described = dataset == "osprey_detail_description"
    turns = () if described else chat_turns(row)
    if not described and not turns:
        return None
    image = need(row, "file_name", str)
    stated = need(row, "height", int), need(row, "width", int)
    path, size = pictures.measured(*_spellings(image), stated=stated)
    codes = [segmentation_code(need(entry, "segmentation", list | dict), size) for entry in _regions(row)]
    if described:
        dialogues = list(_descriptions(row, codes))
    elif all(map(is_visible, codes)):
        dialogues = [Dialogue("region", _brief(turns) if dataset in BRIEF else turns, regions=tuple(codes))]
    else:
        dialogues = []
    return picture_record(f"{name} ({image})", path, size, dialogues, str(file))


def _regions(row: Any) -> list[Any]:
    regions = need(row, "annotation", list)
    if not regions:
        raise FieldError("annotation", "marks no region")
    return regions


def _spellings(name: str) -> list[str]:
    """COCO's pictures of 2014 carry their folder in their name, those of 2017 do not, and the files name either."""
    bare = name.rsplit("_", 1)[-1]
    return [name, bare, *(f"COCO_{folder}_{bare}" for folder in ("train2014", "val2014"))]


def _descriptions(row: Any, codes: list[Code]) -> Iterator[Dialogue]:
    """One dialogue for every region that is seen; each shows its own alone."""
    texts = need(row, "description" if "description" in row else "descriptions", list)
    if len(texts) != len(codes):
        raise FieldError("description", f"{len(texts)} descriptions of {len(codes)} regions")
    for number, (text, code) in enumerate(zip(texts, codes, strict=True)):
        words = _PREFIX.sub("", text) if isinstance(text, str) else ""
        if clean(words) and is_visible(code):
            yield Dialogue("region", ((DETAIL_REQUEST, clean(words)),), regions=(code,), ids={"region": number})


def _brief(turns: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    return tuple((question if BRIEFLY in question else f"{question} {BRIEFLY}", answer) for question, answer in turns)


def is_visible(code: Code) -> bool:
    """Whether a region covers enough cells, sampled at their nearest pixels."""
    mask = decode_mask(code)
    rows, columns = (np.arange(GRID) * side // GRID for side in mask.shape)
    return int(mask[np.ix_(rows, columns)].sum()) >= FEWEST_CELLS


def read_region_captions(root: Path, split: str) -> Iterator[Record | RecordError]:
    """RefCOCOg's expressions as captions of their objects; one record per expression, as scores are counted.

    Raises:
        FileNotFoundError, ValueError: a file that is missing or no COCO file.
    """
    check_split("refcocog_regions", split, CAPTION_SPLITS)
    root, name = Path(root), CAPTION_FILE.format(split)
    file = next(
        (file for file in (root / CAPTION_HOME / name, root / name) if file.is_file()), root / CAPTION_HOME / name
    )
    table = read_object(file)
    annotations = by_id(file, table, "annotations")
    pictures = PictureFolders(root, CAPTION_FOLDERS)
    for image_id, image in by_id(file, table, "images").items():
        yield from attempt(f"{name}, image {image_id}", _captioned, image, annotations, pictures, file)


def _captioned(image: Any, annotations: dict[int | str, Any], pictures: PictureFolders, file: Path) -> Record | None:
    number, image_name = image["id"], need(image, "file_name", str)
    if number not in annotations:
        raise FieldError("annotations", "none has the id of the image, which is how the two belong together")
    path, size = pictures.measured(
        *_spellings(image_name), stated=(need(image, "height", int), need(image, "width", int))
    )
    code = segmentation_code(need(annotations[number], "segmentation", list | dict), size)
    caption = need(image, "caption", str).strip()
    dialogue = Dialogue("region", ((CAPTION_REQUEST, caption),), regions=(code,), ids={"image_id": number})
    return picture_record(f"{image_name}, image {number}", path, size, [dialogue], str(file))


def present(root: Path, dataset: str) -> Status:
    """What of one of Osprey's files is there."""
    names = [f"{home}/{name}" for home in HOMES[:2] for name in FILES[dataset]]
    folders = {"|".join(f"{home}/train2017" for home in ("osprey-724k/coco", "coco")): 118287}
    return look_at(root, ["|".join(names)], folders, "https://huggingface.co/datasets/AntGroup-MI/Osprey-724K")


def captions_present(root: Path) -> Status:
    """What of the region captions is there."""
    file = f"{CAPTION_HOME}/{CAPTION_FILE.format('val')}"
    pictures = {"|".join(CAPTION_FOLDERS[:2]): 1300}
    return look_at(root, [file], pictures, "https://github.com/mbzuai-oryx/groundingLMM")


OSPREY_READERS = {
    **{name: Reader(partial(read_osprey, dataset=name), partial(present, dataset=name), SPLITS) for name in FILES},
    "refcocog_regions": Reader(read_region_captions, captions_present, CAPTION_SPLITS),
}

__all__ = ["CAPTION_REQUEST", "OSPREY_READERS", "is_visible", "read_osprey", "read_region_captions"]
