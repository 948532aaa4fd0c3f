"""The data set that leaves: Ref-SAV's JSON and our JSONL for training and for validation, and a row per masklet.

    dataset/annotations.jsonl                            every masklet: expressions or reason, provenance of every word
    dataset/{train,validation}/expressions.jsonl         the fine-tune format: `data.dataset=.../expressions.jsonl`
    dataset/{train,validation}/video_datas/Ref-SAV.json  `data.dataset=ref_sav data.options.root=.../train`
    dataset/{train,validation}/video_datas/sam_v_full/sav_train/   links to the videos; masks in SA-V's form

Links are symbolic. Ref-SAV's form has masks on every fourth frame of a video: of clips with a mask on each, it holds
every fourth. (Sa2VA, section 3.3.)
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from desa2va.processing.files import encode_mask, mask_area
from desa2va.training.data.readers import STRIDE

from .masklets import Clip, read_clip
from .rows import Decision, clip_rows, is_validation, row_line
from .run import Run
from .store import Answers

SPLITS = ("train", "validation")
_MEDIA = Path("video_datas") / "sam_v_full" / "sav_train"


def write_dataset(
    run: Run, answers: Answers, decisions: Mapping[tuple[str, str], Decision], share: float, folder: Path
) -> Iterator[tuple[Clip, list[dict[str, Any]]]]:
    """Writes everything into an empty folder, clip by clip.

    Args:
        run, answers: what was asked and answered. decisions: of a review. share: of the videos for validation.
        folder: exists.

    Yields:
        Every clip with its rows, once they are written; the files are complete when the last was taken.
    """
    tables: dict[str, dict[str, Any]] = {split: {} for split in SPLITS}
    for split in SPLITS:
        (folder / split / _MEDIA).mkdir(parents=True)
    with (folder / "annotations.jsonl").open("w", encoding="utf-8") as lines:
        for source in run.sources:
            clip = read_clip(source)
            rows = clip_rows(run, answers, clip, decisions)
            lines.writelines(map(row_line, rows))
            complete = [row for row in rows if row["status"] == "complete"]
            if complete:
                split = SPLITS[is_validation(complete[0]["split_key"], share)]
                place = _linked(folder / split, clip)
                with (folder / split / "expressions.jsonl").open("a", encoding="utf-8") as file:
                    file.write(row_line(_record(clip, complete, place)))
                entry = _ref_sav_entry(folder / split, clip, complete)
                if entry is not None:
                    tables[split][clip.source.name] = entry
            yield clip, rows
    for split, table in tables.items():
        path = folder / split / "video_datas" / "Ref-SAV.json"
        path.write_text(json.dumps(table, ensure_ascii=False), encoding="utf-8")
        (folder / split / "expressions.jsonl").touch()


def _linked(folder: Path, clip: Clip) -> str | list[str]:
    """Links to a video's file, or to its frames; their names below the folder."""
    record, name = clip.record, _MEDIA / clip.source.name
    if record.of_pictures:
        names = [name / Path(path).name for path in record.paths]
    else:
        path = Path(record.paths[0])
        names = [name.with_name(name.name + path.suffix) if path.is_file() else name]
    for link, path in zip(names, record.paths, strict=True):
        (folder / link).parent.mkdir(parents=True, exist_ok=True)
        (folder / link).symlink_to(os.path.abspath(path))
    return [link.as_posix() for link in names] if record.of_pictures else names[0].as_posix()


def _record(clip: Clip, rows: list[dict[str, Any]], place: str | list[str]) -> dict[str, Any]:
    """One record of the fine-tune format: the long expressions and the short ones, each with its mask."""
    codes = {masklet.number: list(masklet.codes) for masklet in clip.masklets}
    said = [(row["object"], kind, row[kind]) for row in rows for kind in ("long", "short") if row[kind]]
    return {
        "video": place,
        **({"stride": clip.record.stride} if clip.record.stride > 1 else {}),
        "text": [text for _, _, text in said],
        "mask": [codes[number] for number, _, _ in said],
        "object": [number for number, _, _ in said],
        "kind": [kind for _, kind, _ in said],
    }


def _ref_sav_entry(folder: Path, clip: Clip, rows: list[dict[str, Any]]) -> dict[str, Any] | None:
    """A video of Ref-SAV's table, its masks in SA-V's form; `None` where every fourth frame shows no object."""
    record, name = clip.record, _MEDIA / clip.source.name
    masks = folder / name.with_name(f"{name.name}.json")
    places = {masklet.number: place for place, masklet in enumerate(clip.masklets)}
    if clip.source.kind == "sav":
        masks.symlink_to(os.path.abspath(clip.source.masks))
        shown = {number: number for number in places}
    else:
        empty = encode_mask(np.zeros(record.size, bool))
        tracks = [[code or empty for code in masklet.codes[::STRIDE]] for masklet in clip.masklets]
        shown = {number: str(place) for number, place in places.items() if any(map(mask_area, tracks[place]))}
        frames = [list(frame) for frame in zip(*tracks, strict=True)]
        content = {"video_id": clip.source.name, "masklet_id": list(range(len(tracks))), "masklet": frames}
        masks.write_text(json.dumps(content), encoding="utf-8")
    objects = {
        shown[row["object"]]: {"formated": row["long"], "short_caps": [row["short"]] if row["short"] else []}
        for row in rows
        if row["object"] in shown
    }
    below = folder / "video_datas" / "sam_v_full"
    video = record.paths[0] if not record.of_pictures else ""
    named = name.with_name(name.name + (Path(video).suffix if video and Path(video).is_file() else ""))
    paths = {"video_path": folder / named, "anno_path": masks}
    entry = {key: path.relative_to(below).as_posix() for key, path in paths.items()}
    return {**entry, "objects": objects} if objects else None


__all__ = ["SPLITS", "write_dataset"]
