"""Where two prompts could be worth more than one: sets of single requests on which models are compared.

A model and its processor enter; for every set and every branch cIoU, gIoU and the pixels of each scene leave, so that
two models can be compared scene by scene. Answers are teacher-forced ("Sure, it is [SEG].") and masks are cut at
their logits alone: something always fits here, and whether a model refuses is another question, which
`evaluate_refshapes` asks. One request a scene, so scenes are independent. (Paper sections 4.1, 4.3 and figure 4.)

* `in_distribution`: attributes, relations and superlatives, under the restrictions of training.
* `held_out`: the same kinds; the target is a combination of size, colour and shape that training never showed.
* `unasked`: the same kinds; the target is named by a word that the requests of training never said.
* `negation`, `look_alike`: these kinds alone, under the restrictions of training.
* `noise`, `dark`, `occlusion`: the first scenes of `in_distribution` in worse pictures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import torch

from desa2va.argument_types import unknown_name
from desa2va.processing.files import resize_logits
from desa2va.training.data.refshapes import CORRUPTIONS, PICTURE_KINDS, corrupt
from desa2va.training.data.sample import Sample

from .answering import evaluation_mode, read_answers
from .metrics.referring import ReferringSegmentation
from .refshapes_samples import draw_samples

LEVEL = "full"
IN_DISTRIBUTION = "in_distribution"
DRAWN = dict.fromkeys((IN_DISTRIBUTION, "held_out", "unasked"), PICTURE_KINDS["standard"])
DRAWN |= {kind: {kind: 1.0} for kind in ("negation", "look_alike")}
SETS = (*DRAWN, *CORRUPTIONS)
SCENES = {name: 1000 if name == IN_DISTRIBUTION else 500 for name in SETS}


def score_decoupling(
    model: Any,
    processor: Any,
    *,
    held_out: Sequence[str] = (),
    unasked: Sequence[str] = (),
    scenes: Mapping[str, int] | None = None,
    split: str = "test",
    seed: int = 0,
    batch_size: int = 64,
    progress: Callable[[int], Any] | None = None,
) -> dict[str, dict[str, dict[str, Any]]]:
    """Scores a model on the named sets.

    Args:
        model: a `DeSa2VAModel` in any mode; put into eval mode and back.
        processor: its `DeSa2VAProcessor`.
        held_out: labels that its training never showed, see `RefShapes`.
        unasked: words that the requests of its training never said.
        scenes: set -> number of scenes; `SCENES` when omitted.
        split: as in `RefShapes`.
        seed: of the data set.
        batch_size: scenes read together; changes no more than last bits of logits.
        progress: called with the number of scenes read since the last call.

    Returns:
        set -> branch (`fused`; with two prompts also `text` and `visual`) -> `ciou`, `giou`, and `intersections` and
        `unions`: pixels, one int for each scene, in an order that is the same for every model.

    Raises:
        ValueError: an unknown set, fewer than one scene, or `held_out` or `unasked` to be scored and not given.
    """
    scenes = dict(SCENES if scenes is None else scenes)
    for name, count in scenes.items():
        if name not in SETS:
            raise ValueError(f"set {unknown_name(name, SETS)}")
        if count < 1:
            raise ValueError(f"scenes of {name} must be at least 1, got {count}")
    options = {"held_out": tuple(held_out), "unasked": tuple(unasked), "split": split, "seed": seed}
    source = scored_samples(scenes, **options)
    found: dict[str, dict[str, ReferringSegmentation]] = {name: {} for name in scenes}
    with evaluation_mode(model):
        while batch := list(islice(source, batch_size)):
            names, samples = zip(*batch, strict=True)
            for branch, counts in _read(model, processor, samples).items():
                for name, (intersection, union) in zip(names, counts, strict=True):
                    found[name].setdefault(branch, ReferringSegmentation()).add_counts(intersection, union)
            if progress is not None:
                progress(len(batch))
    return {name: {branch: _figures(score) for branch, score in parts.items()} for name, parts in found.items()}


def scored_samples(
    scenes: Mapping[str, int], *, held_out: Sequence[str], unasked: Sequence[str], split: str, seed: int
) -> Iterator[tuple[str, Sample]]:
    """Set and sample of everything that is scored; scenes that several sets show are drawn once.

    Args:
        scenes: set -> number of scenes. held_out, unasked, split, seed: as in `score_decoupling`.
    """
    worse = [name for name in scenes if name in CORRUPTIONS]
    for drawn, kinds in DRAWN.items():
        shown = [name for name in (drawn, *(worse if drawn == IN_DISTRIBUTION else ())) if name in scenes]
        if not shown:
            continue
        restrictions = {"held_out": held_out, "unasked": unasked}
        if drawn in restrictions:
            restrictions[f"targets_{drawn}"] = True
        count = max(scenes[name] for name in shown)
        for number, sample in enumerate(draw_samples(split, LEVEL, seed, kinds, count, **restrictions)):
            for name in shown:
                if number < scenes[name]:
                    yield name, corrupt(sample, name) if name in CORRUPTIONS else sample


def _read(model: Any, processor: Any, samples: Sequence[Sample]) -> dict[str, list[tuple[int, int]]]:
    """Branch -> intersection and union of every sample's one target."""
    batch = processor.collate(samples)
    output = read_answers(model, batch)
    newest = output.passes[-1]
    truth = torch.stack(batch["mask_labels"])[:, 0].bool()
    counts = {}
    for branch, prediction in (("fused", output.masks), ("text", newest.text), ("visual", newest.visual)):
        if prediction is None or (branch == "visual" and newest.text is None):
            continue
        mask = resize_logits(prediction.logits, truth.shape[1:]).cpu() > model.config.mask_threshold
        pixels = [(found.flatten(1).sum(1)).tolist() for found in (mask & truth, mask | truth)]
        counts[branch] = list(zip(*pixels, strict=True))
    return counts


def _figures(score: ReferringSegmentation) -> dict[str, Any]:
    figures = score.compute()
    return {
        "ciou": figures["ciou"],
        "giou": figures["giou"],
        "intersections": score.intersections,
        "unions": score.unions,
    }


__all__ = ["SCENES", "SETS", "score_decoupling", "scored_samples"]
