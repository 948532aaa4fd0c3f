"""What a model makes of objects whose factors are known: decoupled prompts, and the truth about each object.

A model, its processor and held-out RefShapes scenes enter; `Features`, one row per `[SEG]`, leave. The answers are
teacher-forced: every checkpoint reads the same words, so two checkpoints can be compared row by row (paper sections
3.1, 3.2).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from desa2va.eval.answering import read_answers
from desa2va.training.data.refshapes import COLOR_NAMES, SHAPES, SIZES, RefShapes
from desa2va.training.data.sample import Sample
from desa2va.training.label_states import LabelReader

KINDS = {"attribute": 0.5, "relation": 0.3, "superlative": 0.2}
CONVERSATIONS = 4
TEXTUAL_FACTORS = {"color": COLOR_NAMES, "shape": tuple(SHAPES), "size": SIZES}
VISUAL_FACTORS = ("center_x", "center_y", "log_area", "angle")
NUISANCES = ("num_objects",)
ROUND_SHAPES = ("circle", "ring")  # their angle can not be seen


@dataclass(frozen=True)
class Features:
    """One row per object that was asked for; every tensor on the CPU.

    Attributes:
        states: name -> (O, width) float64: `x` the `[SEG]` state, `h_t`, `h_v` its two prompts, `h_l` the prompt of
            the label phrase, `V` the visual anchor of the picture. Mode `sa2va` has no `h_t` and no `h_l`.
        classes: textual factor -> (O,) long, index into `TEXTUAL_FACTORS`.
        values: visual factor or nuisance -> (O,) float64: place in [0, 1], log of the visible area in pixels, angle in
            radians, NaN where there is nothing to see.
        scene: (O,) long, number of the scene.
        target: (O,) long, number of the object in its scene.
    """

    states: dict[str, torch.Tensor]
    classes: dict[str, torch.Tensor]
    values: dict[str, torch.Tensor]
    scene: torch.Tensor
    target: torch.Tensor

    def __len__(self) -> int:
        return len(self.scene)

    def select(self, rows: torch.Tensor) -> Features:
        """The rows of an index or a mask."""
        parts = [{name: value[rows] for name, value in part.items()} for part in self._parts()]
        return Features(*parts, self.scene[rows], self.target[rows])

    def distinct(self) -> Features:
        """The first row of every object: a second request for it is no independent observation."""
        return self.select(_first_rows(self.scene * 256 + self.target))

    def one_per_scene(self) -> Features:
        """The first row of every scene, for what is a property of the scene."""
        return self.select(_first_rows(self.scene))

    def fit_half(self, seed: int) -> torch.Tensor:
        """(O,) bool: rows of a random half of the scenes, to fit on; the others are held out."""
        numbers = self.scene.unique()
        order = torch.randperm(len(numbers), generator=torch.Generator().manual_seed(seed))
        return torch.isin(self.scene, numbers[order[: (len(numbers) + 1) // 2]])

    def _parts(self) -> tuple[dict[str, torch.Tensor], ...]:
        return self.states, self.classes, self.values


def _first_rows(keys: torch.Tensor) -> torch.Tensor:
    """(n,) keys -> rows at which a key appears for the first time, ascending."""
    _, first = np.unique(keys.numpy(), return_index=True)
    return torch.from_numpy(np.sort(first))


@torch.no_grad()
def collect(
    model: Any,
    processor: Any,
    *,
    level: str = "standard",
    split: str = "test",
    seed: int = 0,
    scenes: int = 600,
    batch_size: int = 16,
    progress: Callable[[int], Any] | None = None,
) -> Features:
    """Reads scenes with four requests each.

    Args:
        model: a `DeSa2VAModel` in eval mode; no mask is decoded.
        processor: its `DeSa2VAProcessor`.
        level: "easy", "standard" or "full".
        split: as in `RefShapes`.
        seed: of the data set.
        scenes: how many.
        batch_size: scenes read together.
        progress: called with the number of scenes read since the last call.

    Raises:
        ValueError: the model reads another number of objects than the scenes hold.
    """
    data = RefShapes(split, level, seed=seed, length=scenes, conversations=CONVERSATIONS, kinds=KINDS)
    has_text = model.config.prompt_mode == "desa2va"
    reader = LabelReader(model, processor.tokenizer, shared=True) if has_text else None
    states, truth = [], []
    for start in range(0, scenes, batch_size):
        numbers = range(start, min(start + batch_size, scenes))
        samples = [data[number] for number in numbers]
        states.append(_read(model, processor.collate(samples), reader))
        truth += [row for number, sample in zip(numbers, samples, strict=True) for row in _truth(number, sample)]
        if len(truth) != sum(len(part["x"]) for part in states):
            raise ValueError(
                f"scenes {numbers[0]} to {numbers[-1]}: the model found another number of [SEG] than objects were "
                "asked for; do model and processor belong together?"
            )
        if progress is not None:
            progress(len(samples))
    columns = {name: [row[name] for row in truth] for name in truth[0]}
    return Features(
        {name: torch.cat([part[name] for part in states]) for name in states[0]},
        {name: torch.tensor(columns[name]) for name in TEXTUAL_FACTORS},
        {name: torch.tensor(columns[name], dtype=torch.float64) for name in (*VISUAL_FACTORS, *NUISANCES)},
        torch.tensor(columns["scene"]),
        torch.tensor(columns["target"]),
    )


def _read(model: Any, batch: dict[str, Any], reader: LabelReader | None) -> dict[str, torch.Tensor]:
    """One batch -> states by name, (O, width) float64 on the CPU."""
    output = read_answers(model, batch, "sam_pixel_values")
    # Every sequence shows its picture, so row i of the anchor belongs to sequence i.
    found = {
        "x": output.seg_states[:, 0],
        "h_v": output.visual_prompts[:, 0],
        "V": output.visual_anchor[output.object_sequence.to(output.visual_anchor.device)],
    }
    if reader is not None:
        found["h_t"] = output.text_prompts[:, 0]
        found["h_l"] = model.decoupling.label(reader(batch["object_labels"]))
    return {name: value.double().cpu() for name, value in found.items()}


def _truth(number: int, sample: Sample) -> Iterator[dict[str, float]]:
    """The factors of every object asked for, in the order of the `[SEG]` tokens."""
    objects = sample.scene["objects"]
    height, width = sample.frames.shape[1:3]
    for conversation in sample.conversations:
        for target, mask in zip(conversation.targets, conversation.masks, strict=True):
            item = objects[target]
            yield {
                "scene": number,
                "target": target,
                **{name: known.index(item[name]) for name, known in TEXTUAL_FACTORS.items()},
                "center_x": item["center_x"] / width,
                "center_y": item["center_y"] / height,
                "log_area": float(np.log(mask[0].sum())),
                "angle": float("nan") if item["shape"] in ROUND_SHAPES else item["angle"],
                "num_objects": len(objects),
            }


__all__ = ["CONVERSATIONS", "KINDS", "NUISANCES", "TEXTUAL_FACTORS", "VISUAL_FACTORS", "Features", "collect"]
