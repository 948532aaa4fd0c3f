"""DAVIS 2017 by object: the semi-supervised and the unsupervised protocol of davis2017-evaluation.

Index maps of whole sequences enter (0 background, 1 to n objects, 255 void), J and F of every object leave, with mean,
recall and decay over its frames and the mean over all objects (paper section 4.1: the unsupervised protocol is what
ReferFormer and its followers report on Ref-DAVIS17).

| protocol | frames | void | matching |
|---|---|---|---|
| semi-supervised | without first and last | is background | by index; one above the number of objects is an error |
| unsupervised | all | taken out of everything | Hungarian on (J + F) / 2 of whole sequences; at most 20 proposals |

In both, the objects are those up to the highest index of the first true frame.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import linear_sum_assignment

from .boundary import boundary_accuracy, boundary_box, boundary_map, boundary_radius, dilate, harmonic_mean
from .collected import Collected, one_of, require_unique
from .uncertainty import exact_mean, mean_with_error
from .video import jaccard, sequence_statistics

PROTOCOLS = ("semi-supervised", "unsupervised")
VOID = 255
MAX_PROPOSALS = 20


def semi_supervised_scores(prediction: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """J and F of every object and frame but the first and the last.

    Args:
        prediction: int `(T, H, W)`, the index of the object at every pixel. truth: likewise.

    Returns:
        J and F, float64 `(O, T - 2)`.

    Raises:
        ValueError: other shapes, fewer than three frames, no object, or an index above the number of objects.
    """
    prediction, truth, count = _checked(prediction, truth)
    if len(truth) < 3:
        raise ValueError(f"the first and the last frame do not count, so three are needed, got {len(truth)}")
    prediction, truth = prediction[1:-1], truth[1:-1]
    if prediction.max() > count:
        raise ValueError(f"the prediction holds index {prediction.max()}, the sequence has {count} objects")
    pairs = [(prediction == index, truth == index) for index in range(1, count + 1)]
    return np.stack([jaccard(*pair) for pair in pairs]), np.stack([boundary_accuracy(*pair) for pair in pairs])


def unsupervised_scores(prediction: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """J and F of every object and frame, with the proposals of the best one-to-one matching.

    Args:
        prediction: int `(T, H, W)`, the index of the proposal at every pixel. truth: likewise, 255 is void.

    Returns:
        J and F, float64 `(O, T)`, in the order of the true indices (the official script orders its list of objects by
        the proposals matched to them; its means are the same).

    Raises:
        ValueError: other shapes, no frame, no object, or more than 20 proposals.
    """
    prediction, truth, count = _checked(prediction, truth)
    if prediction.max() > MAX_PROPOSALS:
        raise ValueError(
            f"the prediction holds index {prediction.max()}, at most {MAX_PROPOSALS} proposals are allowed"
        )
    proposals = max(int(prediction.max()), count)
    radius = boundary_radius(*truth.shape[1:])
    frames = [_frame_scores(*pair, proposals, count, radius) for pair in zip(prediction, truth, strict=True)]
    regions, boundaries = (np.stack(scores, axis=-1) for scores in zip(*frames, strict=True))
    rows, columns = linear_sum_assignment(-(regions.mean(axis=2) + boundaries.mean(axis=2)) / 2)
    order = np.argsort(columns)
    return regions[rows[order], columns[order]], boundaries[rows[order], columns[order]]


def _checked(prediction: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    """Both maps and the number of objects."""
    prediction, truth = np.asarray(prediction), np.asarray(truth)
    if prediction.shape != truth.shape or truth.ndim != 3 or not len(truth):
        raise ValueError(
            "prediction and truth must be index maps (frames, height, width) alike, with a frame at least, got "
            f"{prediction.shape} and {truth.shape}"
        )
    for name, array in (("prediction", prediction), ("truth", truth)):
        if array.dtype.kind not in "iu" or array.min() < 0:
            raise ValueError(f"the {name} must hold indices from 0 on, got {array.dtype} from {array.min()} on")
    first = truth[0][truth[0] != VOID]
    count = int(first.max()) if first.size else 0
    if not count:
        raise ValueError("the first true frame shows no object, so there is none to score")
    return prediction, truth, count


def _frame_scores(
    prediction: np.ndarray, truth: np.ndarray, proposals: int, count: int, radius: int
) -> tuple[np.ndarray, np.ndarray]:
    """J and F of every proposal with every object of one frame: index maps `(H, W)` to float64 `(P, O)` twice."""
    keep = truth != VOID
    box = boundary_box(keep & ((prediction > 0) | (truth > 0)))
    keep, prediction, truth = keep[box], prediction[box], truth[box]
    found = [(prediction == index) & keep for index in range(1, proposals + 1)]
    real = [(truth == index) & keep for index in range(1, count + 1)]
    inside = _shared(found, real)
    union = _sizes(found)[:, None] + _sizes(real) - inside
    regions = np.divide(inside, union, out=np.ones_like(union), where=union > 0)
    found_edges, real_edges = [boundary_map(mask) for mask in found], [boundary_map(mask) for mask in real]
    hits = _shared(found_edges, [dilate(edge, radius) for edge in real_edges])
    met = _shared([dilate(edge, radius) for edge in found_edges], real_edges)
    return regions, _edge_scores(hits, met, _sizes(found_edges)[:, None], _sizes(real_edges))


def _edge_scores(hits: np.ndarray, met: np.ndarray, found: np.ndarray, real: np.ndarray) -> np.ndarray:
    """F `(P, O)` from matched pixels `(P, O)` and boundary pixels `(P, 1)`, `(O,)`."""
    precision = np.divide(hits, found, out=np.ones_like(hits), where=found > 0)
    recall = np.divide(met, real, out=np.ones_like(met), where=real > 0)
    scores = harmonic_mean(precision, recall)
    return np.where((found > 0) & (real > 0), scores, ((found > 0) == (real > 0)).astype(np.float64))


def _shared(one: list[np.ndarray], other: list[np.ndarray]) -> np.ndarray:
    """Common pixels of all pairs, float64 `(len(one), len(other))`; float32 products are exact below 2^24 pixels."""
    left, right = (np.stack(masks).reshape(len(masks), -1) for masks in (one, other))
    exact = np.float32 if left.shape[1] < 2**24 else np.float64
    return (left.astype(exact) @ right.astype(exact).T).astype(np.float64)


def _sizes(masks: list[np.ndarray]) -> np.ndarray:
    """Pixels of every mask, float64."""
    return np.asarray([np.count_nonzero(mask) for mask in masks], np.float64)


class DavisSegmentation(Collected):
    """Collects sequences and computes DAVIS' figures over objects.

    Args:
        protocol: "semi-supervised" or "unsupervised".

    Raises:
        ValueError: unknown protocol.
    """

    def __init__(self, protocol: str = "semi-supervised") -> None:
        super().__init__()
        self.protocol = one_of("protocol", protocol, PROTOCOLS)

    def add(self, sequence: str, prediction: np.ndarray, truth: np.ndarray) -> None:
        """Add one sequence by its name; arguments and errors as in the protocol's function."""
        score = semi_supervised_scores if self.protocol == "semi-supervised" else unsupervised_scores
        for index, (regions, boundaries) in enumerate(zip(*score(prediction, truth), strict=True), start=1):
            values = [sequence_statistics(part) for part in (regions, boundaries)]
            self.rows.append((sequence, index, *(part[key] for part in values for key in ("mean", "recall", "decay"))))

    def compute(self) -> dict[str, float | int | None | dict[str, dict[str, float]]]:
        """The measures.

        Returns:
            `n` objects; `jf`, `j`, `f` with standard errors over objects; `j_recall`, `j_decay`, `f_recall`,
            `f_decay`; `per_object`: `j` and `f` by `SEQUENCE_INDEX`.

        Raises:
            ValueError: no sequence was added, or one twice.
        """
        sequences, indices, j, j_recall, j_decay, f, f_recall, f_decay = self.columns()
        require_unique("object", (f"{name}_{index}" for name, index in zip(sequences, indices, strict=True)))
        figures = {"n": len(self)}
        for name, values in (("jf", (np.asarray(j) + np.asarray(f)) / 2), ("j", j), ("f", f)):
            figures[name], figures[f"{name}_se"] = mean_with_error(values)
        figures |= {"j_recall": exact_mean(j_recall), "j_decay": exact_mean(j_decay)}
        figures |= {"f_recall": exact_mean(f_recall), "f_decay": exact_mean(f_decay)}
        objects = sorted(zip(sequences, indices, j, f, strict=True))
        figures["per_object"] = {f"{name}_{index}": {"j": one, "f": other} for name, index, one, other in objects}
        return figures


__all__ = [
    "MAX_PROPOSALS",
    "PROTOCOLS",
    "VOID",
    "DavisSegmentation",
    "semi_supervised_scores",
    "unsupervised_scores",
]
