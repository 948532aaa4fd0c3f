"""Referring expressions of pictures: RefCOCO, RefCOCO+, RefCOCOg, RefCLEF and gRefCOCO.

Enters: `refs(<by>).p` (or `grefs(<by>)`) and `instances.json`. Leaves: one record per picture, one dialogue per
sentence. The file name of a reference carries an extra suffix, so the picture is that of `instances.json`. In gRefCOCO
`ann_id` is a list: several objects are one target, and -1 is none. (Paper section 4.)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from desa2va.processing.files import Code, unite_masks
from desa2va.training.data.records import Dialogue, Record, RecordError, expression_dialogue

from .annotation_files import read_file
from .json_entries import FieldError
from .pictures import PictureFolders, look_at, picture_record, segmentation_code
from .plain_pickle import read_pickle
from .rows import attempt, by_id, need, read_object
from .status import Reader, Status

COCO_FOLDERS = (
    "ref_seg/{set}/coco2014/train2014",
    "glamm_data/images/coco2014/train2014",
    "images/mscoco/images/train2014",
    "coco2014/train2014",
    "images/train2014",
    "{set}/images/train2014",
)
CLEF_FOLDERS = ("ref_seg/refclef/saiapr_tc-12", "images/saiapr_tc-12", "refclef/saiapr_tc-12", "saiapr_tc-12")
HOMES = ("ref_seg/{set}", "{set}", ".")  # Sa2VA's layout, the original tool's, the set's own folder
REFER = "https://github.com/lichengunc/refer"
# name: (who split it, all splits, fewest pictures of the whole set, its page)
SETS = {
    "refcoco": ("unc", ("train", "val", "testA", "testB", "test"), 19994, REFER),
    "refcoco+": ("unc", ("train", "val", "testA", "testB", "test"), 19992, REFER),
    "refcocog": ("umd", ("train", "val", "test"), 25799, REFER),
    "refclef": ("unc", ("train", "val", "testA", "testB", "testC", "test"), 17978, REFER),
    "grefcoco": ("unc", ("train", "val", "testA", "testB"), 19994, "https://github.com/henghuiding/gRefCOCO"),
}


def read_refcoco(
    root: Path, split: str, dataset: str = "refcoco", split_by: str | None = None, text: str | None = None
) -> Iterator[Record | RecordError]:
    """The pictures of a split, by their ids.

    Args:
        root: the data folder, the original tool's folder, or that of the set. dataset: one of `SETS`.
        split: as the original tool matches it: `"testA"` is every split with an A in its name, `"test"` every one with
            "test" in it.
        split_by: `"unc"`, `"google"`, `"umd"`: whose splits; by default what results are reported on.
        text: `"raw"`, lower-cased and without a final full stop, is what models are trained on, `"sent"` what they are
            evaluated on; by default the one that fits the split.

    Raises:
        FileNotFoundError, ValueError: a file that is missing or broken, or a split that it does not have.
    """
    text = text or ("raw" if split == "train" else "sent")
    if text not in ("raw", "sent"):
        raise ValueError(f'text must be "raw" or "sent", got {text!r}')
    root = Path(root)
    home = _home(root, dataset)
    file, references = _references(home, dataset, split_by or SETS[dataset][0])
    wanted = _of_split(references, split, file)
    instances_file = home / "instances.json"
    instances = read_object(instances_file)
    images, annotations = (by_id(instances_file, instances, name) for name in ("images", "annotations"))
    folders = CLEF_FOLDERS if dataset == "refclef" else COCO_FOLDERS
    pictures = PictureFolders(root, [folder.format(set=dataset) for folder in folders])
    for image_id in sorted(wanted):
        picture = _Picture(file, images.get(image_id), annotations, pictures, text)
        yield from picture.read(wanted[image_id])


def _home(root: Path, dataset: str) -> Path:
    homes = [root / home.format(set=dataset) for home in HOMES]
    return next((home for home in homes if (home / "instances.json").is_file()), homes[0])


def _references(home: Path, dataset: str, split_by: str) -> tuple[Path, list[Any]]:
    """The file of references, and its content."""
    stem = f"{'grefs' if dataset == 'grefcoco' else 'refs'}({split_by})"
    file = home / f"{stem}.p"
    if not file.is_file() and (home / f"{stem}.json").is_file():
        file = home / f"{stem}.json"
    references = read_file(file) if file.suffix == ".json" else read_pickle(file)
    if not isinstance(references, list) or not all(isinstance(reference, dict) for reference in references):
        raise ValueError(f"{file} must hold a list of references")
    return file, references


def _of_split(references: list[Any], split: str, file: Path) -> dict[int, list[tuple[int, Any]]]:
    """Numbers and references of a split, by picture."""
    found: dict[int, list[tuple[int, Any]]] = {}
    for number, reference in enumerate(references):
        if _matches(str(reference.get("split")), split):
            image_id = reference.get("image_id")
            found.setdefault(image_id if isinstance(image_id, int) else -1, []).append((number, reference))
    if not found:
        names = ", ".join(sorted({str(reference.get("split")) for reference in references}))
        raise ValueError(f"{file} has no split {split!r}, only {names}")
    return found


def _matches(own: str, split: str) -> bool:
    """Whether a reference is of the split asked for."""
    if split in ("testA", "testB", "testC"):
        return split[-1] in own
    return "test" in own if split == "test" else own == split


class _Picture:
    """What is said about one picture."""

    def __init__(
        self, file: Path, image: Any, annotations: dict[int, Any], pictures: PictureFolders, text: str
    ) -> None:
        self.file, self.image, self.annotations, self.pictures, self.text = file, image, annotations, pictures, text
        self.size = (0, 0)
        self.groups: dict[Any, int] = {}

    def read(self, references: list[tuple[int, Any]]) -> Iterator[Record | RecordError]:
        """The record of the picture, and the problems of its references."""
        name = f"{self.file.name}, picture {references[0][1].get('image_id')}"
        opened = list(attempt(name, self.open))
        if opened:
            yield from opened
            return
        dialogues: list[Dialogue] = []
        for number, reference in references:
            yield from attempt(f"{self.file.name}, reference {number}", self.add, reference, dialogues)
        yield from attempt(name, picture_record, self.image["file_name"], self.path, self.size, dialogues, self.source)

    @property
    def source(self) -> str:
        """The file that errors name."""
        return str(self.file)

    def open(self) -> None:
        """Finds and measures the picture."""
        if self.image is None:
            raise FieldError("image_id", "instances.json has no such picture")
        stated = need(self.image, "height", int), need(self.image, "width", int)
        self.path, self.size = self.pictures.measured(need(self.image, "file_name", str), stated=stated)

    def add(self, reference: Any, dialogues: list[Dialogue]) -> None:
        """Adds the sentences of a reference."""
        ann_id = reference.get("ann_id")
        wanted = [number for number in (ann_id if isinstance(ann_id, list) else [ann_id]) if number != -1]
        code = self.union(wanted, may_skip=isinstance(ann_id, list))
        # The sentences of one object say the same; without one each reference says something of its own.
        key = tuple(wanted) or ("no target", reference.get("ref_id"))
        group = self.groups.setdefault(key, len(self.groups))
        ids = {"ref_id": need(reference, "ref_id", int), "image_id": need(reference, "image_id", int)}
        ids |= {"ann_id": wanted[0]} if len(wanted) == 1 else {}
        made = [self.dialogue(sentence, code, group, ids) for sentence in need(reference, "sentences", list)]
        dialogues += [replace(dialogue, kind="several") for dialogue in made] if len(wanted) > 1 else made

    def union(self, wanted: list[Any], may_skip: bool) -> tuple[Code | None, ...] | None:
        """The mask of all these annotations; of several objects crowds are left out."""
        if not wanted:
            return None
        found = []
        for ann_id in wanted:
            if ann_id not in self.annotations:
                raise FieldError("ann_id", f"instances.json has no annotation {ann_id!r:.40}")
            found.append(self.annotations[ann_id])
        kept = [entry for entry in found if not (may_skip and entry.get("iscrowd"))]
        codes = [segmentation_code(need(entry, "segmentation", list | dict), self.size) for entry in kept]
        return (unite_masks(codes) if codes else segmentation_code([], self.size),)

    def dialogue(self, sentence: Any, code: Any, group: int, ids: dict[str, Any]) -> Dialogue:
        """One sentence."""
        words = need(sentence, self.text, str).strip()
        if self.text == "raw":
            words = words.lower().removesuffix(".")
        if not words:
            raise FieldError("sentences", "an expression without a word")
        ids = {**ids, "sent_id": need(sentence, "sent_id", int)}
        return expression_dialogue(words, code, group, ids)


def present(root: Path, dataset: str) -> Status:
    """What of a set is there."""
    split_by, _, count, page = SETS[dataset]
    refs = f"grefs({split_by})" if dataset == "grefcoco" else f"refs({split_by})"
    endings = ("p", "json") if dataset == "grefcoco" else ("p",)
    homes = [home.format(set=dataset) for home in HOMES[:2]]
    files = [
        "|".join(f"{home}/{refs}.{ending}" for home in homes for ending in endings),
        "|".join(f"{home}/instances.json" for home in homes),
    ]
    folders = CLEF_FOLDERS if dataset == "refclef" else COCO_FOLDERS
    return look_at(root, files, {"|".join(folder.format(set=dataset) for folder in folders): count}, page)


REFCOCO_READERS = {
    name: Reader(partial(read_refcoco, dataset=name), partial(present, dataset=name), splits)
    for name, (_, splits, _, _) in SETS.items()
}

__all__ = ["REFCOCO_READERS", "read_refcoco"]
