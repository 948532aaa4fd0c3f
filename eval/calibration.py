"""When to say "there is none": a score per request and its threshold, fitted on a user's own validation set.

Answers of a model and what is true enter; leaves what `DeSa2VAConfig.target_calibration` holds: weights of a logistic
score, and the threshold with the highest no-target accuracy at a wanted true-answer rate. The threshold of the object
score, which says on which frames of a video an object is, is chosen the same way. (The paper has neither.)
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np
import torch
from tqdm.auto import tqdm

from desa2va.configuration.configuration_desa2va import TARGET_EVIDENCE
from desa2va.modeling_desa2va.answering import target_scores
from desa2va.training.data.refshapes import PICTURE_KINDS, VIDEO_KINDS

from .answering import MAX_NEW_TOKENS, evaluation_mode
from .finetune import expressions, shown_visual, truth_of
from .refshapes_samples import draw_samples

RIDGE = 1.0  # of the weights of standardised evidence: keeps them finite where both sides are told apart
LEAST_FRAMES = 20  # with and without an object, for a threshold of frames
SHOWN_RATES = (0.999, 0.995, 0.99, 0.98, 0.97, 0.95, 0.9)


@dataclass
class Asked:
    """Requests about one visual, or one request about each of several.

    Attributes:
        visuals: for the processor: `images=` or `videos=`. texts: the requests.
        on_frame: for each request bool `(T,)`: on which frames what it asks for is; nowhere: it has no target.
    """

    visuals: dict[str, Any]
    texts: list[str]
    on_frame: list[np.ndarray]


@dataclass
class Observed:
    """What a model made of many requests; one entry per request, and per frame of a video with an answer and a target.

    Attributes:
        evidence: `(3,)` each, see `target_evidence`. marked: whether the answer marks anything. drawn: whether any
            frame got a pixel. has_target: what is true.
        frame_scores: highest object score of the request's objects, a logit. on_frame: what is true.
    """

    evidence: list[np.ndarray] = field(default_factory=list)
    marked: list[bool] = field(default_factory=list)
    drawn: list[bool] = field(default_factory=list)
    has_target: list[bool] = field(default_factory=list)
    frame_scores: list[float] = field(default_factory=list)
    on_frame: list[bool] = field(default_factory=list)

    def check(self, name: str) -> None:
        """Raises `ValueError` unless both sides are there."""
        fits = sum(self.has_target)
        if not fits or fits == len(self.has_target):
            raise ValueError(
                f"{name} holds {fits} requests with a target and {len(self.has_target) - fits} without; a threshold "
                "between them needs both (docs/calibration.md)"
            )


def observe(model: Any, processor: Any, asked: Iterable[Asked], total: int | None = None) -> Observed:
    """Lets a model answer (`task="auto"`) and keeps what it tells of itself.

    Args:
        model: a `DeSa2VAModel`. processor: its own. asked: the requests. total: how many there are.
    """
    seen = Observed()
    with evaluation_mode(model), tqdm(total=total, desc="calibrate", disable=None) as bar:
        for entry in asked:
            inputs = processor(**entry.visuals, text=entry.texts, task="auto")
            outputs = model.generate(**inputs, max_new_tokens=MAX_NEW_TOKENS)
            results = processor.post_process(outputs, inputs, target_threshold=0.0)
            owners = outputs.object_sequence.tolist()
            for row, (result, truth) in enumerate(zip(results, entry.on_frame, strict=True)):
                seen.evidence.append(outputs.target_evidence[row].double().numpy())
                seen.marked.append(bool(result.objects))
                seen.drawn.append(result.status == "ok")
                seen.has_target.append(bool(truth.any()))
                scores = [outputs.track_object_score[n] for n, owner in enumerate(owners) if owner == row]
                if scores and truth.any() and result.num_frames > 1:
                    seen.frame_scores += torch.stack(scores).max(dim=0).values.tolist()
                    seen.on_frame += truth.tolist()
            bar.update(len(results))
    return seen


def fit_weights(evidence: np.ndarray, has_target: np.ndarray) -> dict[str, float]:
    """Logistic regression by Newton's method.

    Args:
        evidence: float `(N, 3)` of requests that mark something. has_target: bool `(N,)`.

    Returns:
        `TARGET_EVIDENCE` and `bias`, for evidence as it is.
    """
    if not len(evidence):
        return {**dict.fromkeys(TARGET_EVIDENCE, 0.0), "bias": 0.0}
    mean, scale = evidence.mean(axis=0), evidence.std(axis=0) + 1e-6
    rows = np.column_stack([(evidence - mean) / scale, np.ones(len(evidence))])
    weights = np.zeros(rows.shape[1])
    for _ in range(50):
        chance = 1 / (1 + np.exp(-np.clip(rows @ weights, -30, 30)))
        gradient = rows.T @ (chance - has_target) + RIDGE * weights
        curvature = (rows * (chance * (1 - chance))[:, None]).T @ rows + RIDGE * np.eye(len(weights))
        step = np.linalg.solve(curvature, gradient)
        weights -= step
        if np.abs(step).max() < 1e-9:
            break
    plain = weights[:-1] / scale
    fitted = dict(zip(TARGET_EVIDENCE, plain.tolist(), strict=True))
    return {**fitted, "bias": float(weights[-1] - plain @ mean)}


def curve(scores: np.ndarray, positive: np.ndarray, counted: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """Both rates at every threshold that separates two scores.

    Args:
        scores: float `(N,)`; what reaches the threshold is accepted. positive: bool `(N,)`, what should be.
        counted: bool `(N,)`, what can be accepted at all; the rest is refused at every threshold.

    Returns:
        `threshold` (rising; the first refuses nothing, as the lowest score is it), `true` (share of the positives that
        are accepted) and `none` (share of the others that are refused), float arrays of one length.
    """
    counted = np.ones(len(scores), bool) if counted is None else counted
    values = np.unique(scores[counted])
    thresholds = np.concatenate([values[:1], (values[1:] + values[:-1]) / 2]) if len(values) else np.zeros(1)
    accepted = {}
    for side, rows in (("true", positive), ("none", ~positive)):
        own = np.sort(scores[rows & counted])
        accepted[side] = (len(own) - np.searchsorted(own, thresholds)) / max(1, int(rows.sum()))
    return {"threshold": thresholds, "true": accepted["true"], "none": 1 - accepted["none"]}


def choose(points: dict[str, np.ndarray], least: float) -> int | None:
    """Place of the point with the highest `none` among those with `true` >= `least`; of equal ones the lowest
    threshold. `None` where no point has it.
    """
    allowed = np.flatnonzero(points["true"] >= least)
    return int(allowed[points["none"][allowed].argmax()]) if len(allowed) else None


def calibrate(seen: Observed, least: float, object_score_threshold: float = 0.0) -> dict[str, Any]:
    """Fits score and thresholds.

    Args:
        seen: both sides. least: wanted true-answer rate, in (0, 1]. object_score_threshold: of the model, today.

    Returns:
        `fields` (of the configuration), `before` and `after` (`n_acc`, `t_acc`), `curve` (at most one row per rate of
        `SHOWN_RATES`), `n_target`, `n_no_target`, and where the set has enough frames of either kind `frames`
        (`threshold`, `before`, `after`, `n_present`, `n_absent`, `worth`). A threshold of frames that sets no more
        of them right than wrong is not `worth` being written, and is none of the fields.

    Raises:
        ValueError: the model answers too few of the requests with a target; no threshold reaches the rate.
    """
    evidence, fits = np.array(seen.evidence), np.array(seen.has_target)
    marked, drawn = np.array(seen.marked), np.array(seen.drawn)
    weights = fit_weights(evidence[marked], fits[marked])
    scores = target_scores(torch.from_numpy(evidence).float(), weights).double().numpy()
    frames = _frames(seen, least, object_score_threshold)
    kept, moved = drawn, frames is not None and frames["worth"]
    if moved:  # the same threshold empties pictures
        present = marked & (evidence[:, TARGET_EVIDENCE.index("object_score")] > frames["threshold"])
        kept = present & (drawn | (frames["threshold"] < object_score_threshold))
    points = curve(scores, fits, kept)
    place = choose(points, least)
    if place is None:
        raise ValueError(
            f"the model answers {points['true'][0]:.3f} of the requests with a target, so no threshold keeps the rate "
            f"at {least:g}; ask for less (--true-answers)"
        )
    threshold = float(points["threshold"][place]) if place else 0.0
    fields: dict[str, Any] = {"target_calibration": {**weights, "threshold": threshold}}
    report = {
        "before": {"n_acc": float((~drawn)[~fits].mean()), "t_acc": float(drawn[fits].mean())},
        "after": _rates(points, place),
        "curve": _shown_points(points),
        "n_target": int(fits.sum()),
        "n_no_target": int((~fits).sum()),
    }
    if moved:
        fields["object_score_threshold"] = frames["threshold"]
    if frames is not None:
        report["frames"] = frames
    return {"fields": fields, **report}


def _shown_points(points: dict[str, np.ndarray]) -> list[dict[str, float]]:
    """The best point of each of `SHOWN_RATES` that is reached, each once."""
    found = [choose(points, rate) for rate in SHOWN_RATES]
    places = dict.fromkeys(place for place in found if place is not None)
    return [{**_rates(points, place), "threshold": float(points["threshold"][place])} for place in places]


def _rates(points: dict[str, np.ndarray], place: int) -> dict[str, float]:
    return {"n_acc": float(points["none"][place]), "t_acc": float(points["true"][place])}


def _frames(seen: Observed, least: float, today: float) -> dict[str, Any] | None:
    """The threshold of frames, `None` where there are too few frames with or without what was asked for."""
    scores, there = np.array(seen.frame_scores), np.array(seen.on_frame, bool)
    present, absent = int(there.sum()), int((~there).sum())
    if min(present, absent) < LEAST_FRAMES:
        return None
    points = curve(scores, there)
    place = choose(points, least)
    above = scores > today
    before = {"n_acc": float((~above)[~there].mean()), "t_acc": float(above[there].mean())}
    after = _rates(points, place)
    worth = (after["n_acc"] - before["n_acc"]) * absent > (before["t_acc"] - after["t_acc"]) * present
    figures = {"threshold": float(points["threshold"][place]), "before": before, "after": after, "worth": worth}
    return {**figures, "n_present": present, "n_absent": absent}


def refshapes_requests(limit: int, videos: int, batch_size: int = 32) -> Iterable[Asked]:
    """Held-out requests of RefShapes' level `full`, validation split: half with a target, half without; then videos.

    Args:
        limit: requests about pictures. videos: requests about videos, in the level's own mix. batch_size: of pictures.
    """
    kinds = {kind: share for kind, share in PICTURE_KINDS["full"].items() if kind != "no_target"}
    for shares, count in ((kinds, limit - limit // 2), ({"no_target": 1.0}, limit // 2)):
        yield from _batches(draw_samples("validation", "full", 0, shares, count), batch_size)
    if videos:
        yield from _batches(draw_samples("validation", "full", 0, VIDEO_KINDS["full"], videos, videos=True), 4)


def _batches(samples: Iterable[Any], size: int) -> Iterable[Asked]:
    source = iter(samples)
    while batch := list(islice(source, size)):
        if batch[0].is_video:
            visuals = {"videos": [sample.frames for sample in batch]}
        else:
            visuals = {"images": [sample.frames[0] for sample in batch]}
        said = [sample.conversations[0] for sample in batch]
        yield Asked(visuals, [one.turns[0][0] for one in said], [one.masks.any(axis=(0, 2, 3)) for one in said])


def record_requests(records: Iterable[Any]) -> Iterable[Asked]:
    """The requests of records that ask for one mask, or none; see `desa2va.eval.finetune`."""
    for record in records:
        dialogues = expressions(record)
        if dialogues:
            truths = [truth_of(record, dialogue).any(axis=(1, 2)) for dialogue in dialogues]
            yield Asked(shown_visual(record), [dialogue.turns[0][0] for dialogue in dialogues], truths)


def summarise(report: dict[str, Any], least: float) -> str:
    """The curve and the chosen point as a few lines of text."""
    lines = [
        f"{report['n_target']} requests with a target, {report['n_no_target']} without",
        f"{'':12}{'threshold':>10}{'no-target accuracy':>20}{'true-answer rate':>18}",
    ]
    for name, row in [("today", report["before"]), *((" ", row) for row in report["curve"])]:
        threshold = f"{row['threshold']:10.4f}" if "threshold" in row else f"{'':10}"
        lines.append(f"{name:12}{threshold}{row['n_acc']:20.3f}{row['t_acc']:18.3f}")
    chosen = report["fields"]["target_calibration"]["threshold"]
    lines.append(f"{'chosen':12}{chosen:10.4f}{report['after']['n_acc']:20.3f}{report['after']['t_acc']:18.3f}")
    if "frames" in report:
        frames = report["frames"]
        before, after = frames["before"], frames["after"]
        lines.append(
            f"frames of videos: object score threshold {frames['threshold']:.3f} tells {before['n_acc']:.3f} -> "
            f"{after['n_acc']:.3f} of {frames['n_absent']} absent ones and keeps {before['t_acc']:.3f} -> "
            f"{after['t_acc']:.3f} of {frames['n_present']} others"
            + ("" if frames["worth"] else ": more wrong than right, it is not written")
        )
    return "\n".join(lines)


__all__ = [
    "Asked",
    "Observed",
    "calibrate",
    "choose",
    "curve",
    "fit_weights",
    "observe",
    "record_requests",
    "refshapes_requests",
    "summarise",
]
