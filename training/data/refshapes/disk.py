"""RefShapes on disk, in the layouts of the public data sets, to try loaders, evaluation and fine-tuning without them.

A format name and numbers of samples enter, a folder leaves (pixels and masks are those of `RefShapes`):

* `finetune`: `<split>.json`, a list of `{"image": file}` or `{"video": [files]}`, with parallel lists `"mask"` and
  `"text"`; PNG files, named relative to `images/`. A picture's mask is a list of polygons, a video's a list with one
  run-length code or null per frame; an expression without target has the mask null.
* `refcoco`: `instances.json`, `refs(unc).p`, `coco2014/train2014/*.jpg`.
* `mevis`: `<split>/{meta_expressions.json, mask_dict.json, JPEGImages/<video>/<frame>.jpg}`; the splits `valid` and
  `test` hold the words only, as in the public set.
* `gcg`: `annotations/GranDf_HA_GCG_train.json` with `images/grandf/train/`, and for other splits
  `annotations/gcg_val_test/<split>_gcg_coco_{mask,caption}_gt.json` with `images/grandf/val_test/`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from desa2va.processing.files import output_folder

from .dataset import RefShapes
from .kinds import EVENTS, SEGMENT_KINDS, VIDEO_SEGMENT_KINDS
from .writers import write_finetune, write_gcg, write_mevis, write_refcoco

FORMATS = ("finetune", "refcoco", "mevis", "gcg")
DEFAULT_SPLITS = {
    "finetune": {"train": 200, "val": 50},
    "refcoco": {"train": 200, "val": 50, "testA": 50, "testB": 50},
    "mevis": {"train": 50, "valid_u": 20},
    "gcg": {"train": 200, "val": 50, "test": 50},
}
SINGLE_SHARES = {"attribute": 0.5, "relation": 0.3, "superlative": 0.2}
DEFAULT_KINDS = {
    "finetune": {**SINGLE_SHARES, "motion": 0.3, "no_target": 0.1, **dict.fromkeys(EVENTS, 0.15)},
    "refcoco": SINGLE_SHARES,
    "mevis": {kind: 1.0 for kind in VIDEO_SEGMENT_KINDS if kind != "no_target"},
    "gcg": {"caption": 1.0},
}
POSSIBLE_KINDS = {
    "finetune": {*SEGMENT_KINDS, *VIDEO_SEGMENT_KINDS},
    "refcoco": {*SINGLE_SHARES, "negation"},
    "mevis": set(DEFAULT_KINDS["mevis"]),
    "gcg": {"caption"},
}


def write_refshapes(
    out_dir: str | Path,
    format: str,
    *,
    splits: Mapping[str, int] | None = None,
    progress: bool = True,
    **options: Any,
) -> Path:
    """Write RefShapes in one of `FORMATS`; all or nothing.

    Args:
        out_dir: a folder that does not exist yet or is empty.
        format: one of `FORMATS`.
        splits: number of samples per split, by default `DEFAULT_SPLITS[format]`.
        progress: whether to show a progress bar.
        options: arguments of `RefShapes` such as `level`, `seed`, `size`, `conversations` and, for "finetune" only,
            `video_fraction`; `kinds` is decided by the format unless given.

    Returns:
        `out_dir`.

    Raises:
        ValueError: an unknown format, or a split without samples.
        FileExistsError: `out_dir` holds something already.
    """
    if format not in FORMATS:
        raise ValueError(f"format must be one of {list(FORMATS)}, got {format!r}")
    out_dir = Path(out_dir).expanduser()
    splits = dict(DEFAULT_SPLITS[format] if splits is None else splits)
    if not splits or min(splits.values()) < 1:
        raise ValueError(f"every split needs at least one sample, got {splits}")
    sets = {split: _data_set(format, split, length, options) for split, length in splits.items()}
    writers = {"finetune": write_finetune, "refcoco": write_refcoco, "mevis": write_mevis, "gcg": write_gcg}
    with (
        output_folder(out_dir) as folder,
        tqdm(total=sum(splits.values()), desc=f"RefShapes {format}", disable=not progress) as bar,
    ):
        writers[format](folder, sets, bar)
    return out_dir


def _data_set(format: str, split: str, length: int, options: dict[str, Any]) -> RefShapes:
    """The samples of one split, with conversation kinds that the format can hold.

    Raises:
        ValueError: `options["kinds"]` names a kind that it cannot hold.
    """
    chosen = {"kinds": DEFAULT_KINDS[format], "level": "full", **options, "length": length}
    wrong = sorted(set(chosen["kinds"]) - POSSIBLE_KINDS[format])
    if wrong:
        raise ValueError(f"format {format!r} cannot hold the kinds {wrong}, only {sorted(POSSIBLE_KINDS[format])}")
    if format == "mevis":
        chosen["video_fraction"] = 1.0
    elif format != "finetune":
        chosen["video_fraction"] = 0.0
    if format == "gcg":
        chosen["conversations"] = 1
    return RefShapes(split, **chosen)


__all__ = ["DEFAULT_SPLITS", "FORMATS", "write_refshapes"]
