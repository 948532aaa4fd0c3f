"""Scores on a fine-tune JSON: how well a model segments what the file asks for, with answers that it generates.

A model and a file of records enter (`desa2va.training.data.readers`); gIoU, cIoU, N-acc, T-acc and
Precision@t at source resolution leave, with the figures of every expression. The model decides by itself whether to
point: nothing is forced, and an answer without `[SEG]` is the verdict "nothing fits". (Paper section 4.1, the measures
of gRefCOCO.)

    python -m desa2va.eval.finetune --model runs/photos --data photos/train.json --json scores.json --overlays pictures
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from desa2va.argument_types import Parser, integer
from desa2va.hub import load
from desa2va.processing.files import check_file_target, output_folder, overlay_masks, write_file, write_json
from desa2va.program import run_program
from desa2va.training.data.record_media import read_frames
from desa2va.training.data.records import Dialogue, Record
from desa2va.training.data.sources import open_source

from .answering import evaluation_mode
from .metrics.generalized import GeneralizedReferring
from .metrics.video import jaccard
from .provenance import describe_run, files_sha256

logger = logging.getLogger(__name__)
TILE_WIDTH = 320


def evaluate(
    model: Any,
    processor: Any,
    records: list[Record],
    overlays: str | os.PathLike | None = None,
    max_new_tokens: int = 128,
) -> dict[str, Any]:
    """Scores a model on checked records.

    Args:
        model: a `DeSa2VAModel`.
        processor: its processor.
        records: checked; those without expressions are passed over.
        overlays: folder for one contact sheet per record: truth above, prediction below.
        max_new_tokens: longest answer.

    Returns:
        `giou`, `ciou`, `n_acc`, `t_acc`, `precision@t` and their standard errors over all expressions; `expressions`:
        a list with `record`, `text`, `answer`, `status`, `iou`. An expression about a video enters with the mean IoU
        of its frames in `video_j`, and with all its pixels in the other figures.

    Raises:
        ValueError: no record holds an expression.
    """
    scores, video_scores, rows = GeneralizedReferring(), [], []
    for number, record in enumerate(records):
        asked = expressions(record)
        if not asked:
            continue
        predictions, results = predict(model, processor, record, max_new_tokens)
        ious = []
        for index, (prediction, result) in enumerate(zip(predictions, results, strict=True)):
            truth = truth_of(record, asked[index])
            per_frame = jaccard(prediction, truth)
            ious.append(float(per_frame.mean()))
            if record.is_video:
                video_scores.append(ious[-1])
            scores.add(prediction, truth)
            rows.append(
                {
                    "record": number,
                    "file": os.path.basename(record.paths[0]),
                    "text": asked[index].ids["text"],
                    "target": bool(asked[index].targets),
                    "answer": result.raw_text,
                    "status": result.status,
                    "iou": round(ious[-1], 4),
                }
            )
        if overlays is not None:
            _save_sheet(Path(overlays) / f"{number:05d}.png", record, predictions, ious)
        logger.info("%s: %s", record.name, ", ".join(f"{iou:.2f}" for iou in ious))
    if not rows:
        raise ValueError("no record holds an expression with a mask; there is nothing to score")
    figures: dict[str, Any] = scores.compute()
    if video_scores:
        figures["video_j"] = float(np.mean(video_scores))
    return {**figures, "expressions": rows}


def expressions(record: Record) -> list[Dialogue]:
    """The dialogues of a record that ask for one mask, or none."""
    return [dialogue for dialogue in record.dialogues if dialogue.kind in ("target", "no_target")]


def truth_of(record: Record, dialogue: Dialogue) -> np.ndarray:
    """Bool `(T, H, W)` of what an expression refers to; empty where nothing fits."""
    return record.masks(dialogue).any(axis=0)


def shown_visual(record: Record) -> dict[str, Any]:
    """The visual of a record, as arguments of the processor."""
    source: Any = list(record.paths) if record.of_pictures else record.paths[0]
    if record.stride > 1:
        source = read_frames(record, list(range(record.num_frames)))
    return {"videos": [source]} if record.is_video else {"images": record.paths[0]}


def predict(
    model: Any, processor: Any, record: Record, max_new_tokens: int = 128
) -> tuple[list[np.ndarray], list[Any]]:
    """Masks bool `(T, H, W)` of every expression of a record, and the results they come from.

    All objects of an answer are united. The texts share one encoding of the visual.
    """
    inputs = processor(
        **shown_visual(record), text=[dialogue.turns[0][0] for dialogue in expressions(record)], task="auto"
    )
    with evaluation_mode(model):
        outputs = model.generate(**inputs, max_new_tokens=max_new_tokens)
    results = processor.post_process(outputs, inputs)
    masks = []
    for result in results:
        united = np.zeros((record.num_frames, *record.size), bool)
        for entry in result.objects:
            united |= entry.masks
        masks.append(united)
    return masks, results


def _save_sheet(path: Path, record: Record, predictions: list[np.ndarray], ious: list[float]) -> None:
    """One column per expression, truth above prediction, on the frame where both together are largest."""
    columns = []
    for index, (dialogue, prediction, iou) in enumerate(zip(expressions(record), predictions, ious, strict=True)):
        truth = truth_of(record, dialogue)
        frame = int((prediction.sum(axis=(1, 2)) + truth.sum(axis=(1, 2))).argmax())
        picture = read_frames(record, [frame])[0]
        height = round(TILE_WIDTH * record.size[0] / record.size[1])
        tiles = [
            Image.fromarray(overlay_masks(picture, [mask[frame]], object_ids=[index])).resize((TILE_WIDTH, height))
            for mask in (truth, prediction)
        ]
        columns.append(
            np.concatenate([np.asarray(tile) for tile in (*tiles, _caption(str(dialogue.ids["text"]), iou))])
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_file(path, Image.fromarray(np.concatenate(columns, axis=1)).save, overwrite=True)


def _caption(text: str, iou: float) -> Image.Image:
    """A strip with the expression and its IoU."""
    strip = Image.new("RGB", (TILE_WIDTH, 36), "white")
    draw, font = ImageDraw.Draw(strip), ImageFont.load_default(size=12)
    words, lines = text.split(), [""]
    for word in words:
        longer = f"{lines[-1]} {word}".strip()
        if draw.textlength(longer, font=font) > TILE_WIDTH - 8:
            lines.append(word)
        else:
            lines[-1] = longer
    draw.multiline_text((4, 2), f"{lines[0]}\n{iou:.2f}  {' '.join(lines[1:])}", font=font, fill="black")
    return strip


def main(arguments: list[str] | None = None) -> int:
    """Command line; see the module docstring."""
    parser = Parser(prog="python -m desa2va.eval.finetune", description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True, help="a model folder, desa2va-tiny, or a Hub id")
    parser.add_argument("--data", required=True, help="a fine-tune file, a folder, or another data set (docs/data.md)")
    parser.add_argument("--images", help="where its file names start from; default: images/ beside it, or its folder")
    parser.add_argument("--json", help="where the figures go")
    parser.add_argument(
        "--overlays",
        help="folder for pictures: truth above, prediction below",
    )
    parser.add_argument("--limit", type=integer(1), metavar="N", help="only the first records")
    parser.add_argument("--device", help="cpu, cuda, ...; default: cuda when present")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if options.json:
        check_file_target("--json", options.json)
    source = open_source(options.data, **({"image_root": options.images} if options.images else {}))
    records = replace(source, published=False).records()  # a training may leave rows out, a score not
    read = [options.model, options.data, *(path for record in records for path in record.paths[:1])]
    # A sheet is named by the number of its record, as pictures often are: it must not land among the user's own.
    sheets = output_folder(options.overlays, replace=True, sources=read) if options.overlays else nullcontext()
    with sheets as folder:
        model, processor = load(options.model, device=options.device)
        started = time.time()
        figures = evaluate(model, processor, records[: options.limit], folder)
    about = {
        "model": options.model,
        "data": options.data,
        "data_sha256": files_sha256(source.files),
        "seconds": round(time.time() - started, 1),
        **describe_run(model),
    }
    if options.json:
        write_json(options.json, {**about, **figures}, overwrite=True)
    summary = {name: value for name, value in {**about, **figures}.items() if name != "expressions"}
    logger.info("%s", json.dumps(summary, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(run_program("desa2va.eval.finetune", main))


__all__ = ["evaluate", "expressions", "main", "predict", "shown_visual", "truth_of"]
