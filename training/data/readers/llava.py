"""LLaVA's instruction mix of 665,298 dialogues, most about a picture, about 40,000 of text alone.

Enters: `llava_v1_5_mix665k.json`. Leaves: one record per dialogue. (Paper section 4: keeps the model able to talk.)
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from desa2va.training.data.records import Dialogue, Record, RecordError

from .annotation_files import check_split
from .chat import chat_turns
from .pictures import PictureFolders, look_at, picture_record
from .rows import attempt, list_rows, need
from .status import Reader, Status

HOMES = ("llava_data/LLaVA-Instruct-150K", "LLaVA-Instruct-150K", ".")
SPLITS = ("train",)
FILE = "llava_v1_5_mix665k.json"
PICTURES = ("llava_data/llava_images", "llava_images", ".")
ENDINGS = (".jpg", ".gif", ".png", ".jpeg")  # downloads of OCR-VQA differ
COUNTS = {
    "coco/train2017": 118287,
    "gqa/images": 148854,
    "ocr_vqa/images": 80000,  # of 207,572; those the mix names
    "textvqa/train_images": 25119,
    "vg/VG_100K": 64346,
    "vg/VG_100K_2": 43903,
}


def read_llava(root: Path, split: str = "train") -> Iterator[Record | RecordError]:
    """The dialogues, in the order of the file.

    Args:
        root: the data folder, or that of the set. split: there is `"train"` alone.

    Raises:
        FileNotFoundError, ValueError: a file that is missing or no JSON list.
    """
    check_split("llava", split, SPLITS)
    root = Path(root)
    file = next((root / home / FILE for home in HOMES if (root / home / FILE).is_file()), root / HOMES[0] / FILE)
    pictures = PictureFolders(root, PICTURES)
    for name, row in list_rows(file):
        yield from attempt(name, _record, name, row, pictures, file)


def _record(name: str, row: Any, pictures: PictureFolders, file: Path) -> Record | None:
    turns = chat_turns(row)
    ids = {"id": row["id"]} if isinstance(row.get("id"), str | int) else {}
    dialogues = [Dialogue("chat", turns, ids=ids)] if turns else []
    if not row.get("image"):
        return Record(name, (), False, (0, 0), 0, tuple(dialogues), str(file)) if dialogues else None
    image = need(row, "image", str)
    stem = str(Path(image).with_suffix(""))
    path, size = pictures.measured(image, *(stem + ending for ending in ENDINGS))
    return picture_record(f"{name} ({image})", path, size, dialogues, str(file))


def present(root: Path) -> Status:
    """What of the set is there."""
    files = ["|".join(f"{home}/{FILE}" for home in HOMES[:2])]
    folders = {"|".join(f"{home}/{folder}" for home in PICTURES[:2]): count for folder, count in COUNTS.items()}
    page = "https://github.com/haotian-liu/LLaVA#visual-instruction-tuning"
    return look_at(root, files, folders, page, "CC BY 4.0 (texts), pictures see their pages")


LLAVA_READERS = {"llava": Reader(read_llava, present, SPLITS)}

__all__ = ["LLAVA_READERS", "read_llava"]
