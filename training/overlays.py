"""A few validation samples as the model draws them now: truth, text, visual and fused mask side by side, words above.

Enters: an objective of phase 2 or 3 and samples that are the same at every validation. Leaves: a PNG, which
TensorBoard, W&B and trackio get where a run reports to them. The true answers are read, as in training.
(Paper section 3.4.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw, ImageFont
from transformers import Trainer

from desa2va.processing.files import overlay_masks, write_file

from .data.sample import Sample
from .objectives.base import Objective, model_inputs

SIDE, LINE, SEARCHED = 240, 18, 64


def fixed_samples(dataset: Any, count: int) -> list[Sample]:
    """The first `count` samples with a mask among the first `SEARCHED`, each with one conversation that has one; none
    of a stream.
    """
    found: list[Sample] = []
    for index in range(min(SEARCHED, len(dataset)) if hasattr(dataset, "__len__") else 0):
        if len(found) == count:
            break
        sample = dataset[index]
        asked = [talk for talk in sample.conversations if talk.masks.any()]
        if asked:
            found.append(replace(sample, conversations=(asked[0],)))
    return found


@torch.no_grad()
def draw_overlays(objective: Objective, samples: Sequence[Sample], prepare: Callable, path: Path) -> Path:
    """Draws a row per sample, of a video the frame that shows most.

    Args:
        objective: in eval mode. samples: of `fixed_samples`. prepare: from a list of samples to a batch on the device.
        path: of the PNG; its folder is made.

    Returns:
        `path`.
    """
    rows = []
    for sample in samples:
        batch = prepare([sample])
        output = objective.model(**model_inputs(batch), num_reprompts=objective.num_reprompts)
        last = output.passes[-1]
        truth = sample.conversations[0].masks
        time = int(truth.sum(axis=(0, 2, 3)).argmax())
        here = output.pair_frame == time
        drawn = {"truth": truth[:, time]}
        for name, part in (("text", last.text), ("visual", last.visual), ("fused", output.masks)):
            if part is not None:
                logits = F.interpolate(part.logits[here][:, None].float(), truth.shape[-2:], mode="bilinear")
                drawn[name] = (logits[:, 0] > 0).cpu().numpy()
        rows.append(_row(sample, time, drawn))
    width = max(row.shape[1] for row in rows)
    canvas = np.concatenate([np.pad(row, ((0, 0), (0, width - row.shape[1]), (0, 0))) for row in rows])
    path.parent.mkdir(parents=True, exist_ok=True)
    write_file(path, Image.fromarray(canvas).save, overwrite=True)
    return path


def _row(sample: Sample, time: int, drawn: dict[str, np.ndarray]) -> np.ndarray:
    frame = sample.frames[time]
    height = max(1, round(SIDE * frame.shape[0] / frame.shape[1]))
    tiles = [
        Image.fromarray(overlay_masks(frame, list(masks))).resize((SIDE, height), Image.Resampling.BILINEAR)
        for masks in drawn.values()
    ]
    talk = sample.conversations[0]
    words = f"{talk.turns[0][0]}  ({'; '.join(talk.labels)})"
    head = _text([words], SIDE * len(drawn)), _text(drawn, SIDE)
    return np.concatenate([*head, np.concatenate([np.asarray(tile) for tile in tiles], axis=1)])


def _text(columns: Iterable[str], width: int) -> np.ndarray:
    """One line of text per column."""
    strips, font = [], ImageFont.load_default(size=12)
    for words in columns:
        strip = Image.new("RGB", (width, LINE), "white")
        ImageDraw.Draw(strip).text((4, 2), words.replace("\n", " "), font=font, fill="black")
        strips.append(np.asarray(strip))
    return np.concatenate(strips, axis=1)


def report_picture(trainer: Trainer, path: Path) -> None:
    """Hands a PNG to what the run reports to."""
    step = trainer.state.global_step
    for callback in trainer.callback_handler.callbacks:
        name = type(callback).__name__
        if name == "TensorBoardCallback" and callback.tb_writer is not None:
            callback.tb_writer.add_image("overlays", np.asarray(Image.open(path)), step, dataformats="HWC")
        for kind, library in (("WandbCallback", "_wandb"), ("TrackioCallback", "_trackio")):
            if name == kind and callback._initialized:
                log = getattr(callback, library)
                log.log({"overlays": log.Image(str(path)), "train/global_step": step})


__all__ = ["draw_overlays", "fixed_samples", "report_picture"]
