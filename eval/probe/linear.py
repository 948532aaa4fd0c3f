"""Linear probes: which factors can be read off a representation by one linear map?

Representations and factors of the same objects enter, held-out scores leave. Everything is closed form: ridge
regression for values, and for classes its counterpart, linear discriminant analysis with a ridge on the covariance
(regression on class indicators hides a class that lies between two others). A probe is fitted on half of the scenes,
its penalty is chosen by cross-validation there, and it is scored on the other half. (Measures the claim of paper
section 3.2; the paper itself shows no probe.)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from .resampling import balanced_accuracy, class_columns, estimate_with_error

PENALTIES = tuple(10.0**power for power in range(-4, 3))  # in units of the features' variance
FOLDS = 4

Predictor = Callable[[torch.Tensor], torch.Tensor]


def fit_ridge(features: torch.Tensor, targets: torch.Tensor, penalty: float) -> Predictor:
    """Ridge regression with an unpenalised offset.

    Args:
        features: (n, D). targets: (n, K). penalty: added to the covariance's diagonal.

    Returns:
        A function (m, D) -> (m, K).
    """
    center, offset = features.mean(dim=0), targets.mean(dim=0)
    rows = features - center
    covariance = rows.T @ rows / len(rows)
    covariance.diagonal().add_(penalty)
    weight = torch.linalg.solve(covariance, rows.T @ (targets - offset) / len(rows))
    return lambda other: (other - center) @ weight + offset


def fit_discriminant(features: torch.Tensor, classes: torch.Tensor, penalty: float) -> Predictor:
    """Linear discriminant analysis with equal priors, so that rare classes count like frequent ones.

    Args:
        features: (n, D). classes: (n,) long, any numbers. penalty: added to the diagonal of the covariance within
            classes.

    Returns:
        A function (m, D) -> (m,) long, classes among those seen here.
    """
    known, row = classes.unique(return_inverse=True)
    member = torch.nn.functional.one_hot(row, len(known)).to(features.dtype)
    means = member.T @ features / member.sum(dim=0)[:, None]
    rows = features - means[row]
    covariance = rows.T @ rows / len(rows)
    covariance.diagonal().add_(penalty)
    weight = torch.linalg.solve(covariance, means.T)
    bias = -0.5 * (means.T * weight).sum(dim=0)
    return lambda other: known[(other @ weight + bias).argmax(dim=1)]


def probe_classes(
    features: torch.Tensor, classes: torch.Tensor, scene: torch.Tensor, fit: torch.Tensor, seed: int
) -> dict[str, float | None] | None:
    """Held-out balanced accuracy of a linear classifier.

    Args:
        features: (n, D). classes: (n,) long from 0. scene: (n,) long. fit: (n,) bool. seed: of folds and errors.

    Returns:
        `balanced_accuracy`, `se`, `penalty`, and `constant`: what always the same answer scores. `None` where fewer
        than two classes occur in both halves.
    """
    shared = classes[fit].unique()
    shared = shared[torch.isin(shared, classes[~fit])]
    if len(shared) < 2:
        return None
    rows = torch.isin(classes, shared)
    features, classes, scene, fit = features[rows], classes[rows], scene[rows], fit[rows]
    num_classes = int(classes.max()) + 1

    def score(predicted: torch.Tensor, truth: torch.Tensor) -> float:
        return float(balanced_accuracy(class_columns(predicted, truth, num_classes).sum(dim=0, keepdim=True)))

    predicted, penalty = _fit_and_predict(fit_discriminant, score, features, classes, scene, fit, seed)
    columns = class_columns(predicted, classes[~fit], num_classes)
    figure, error = estimate_with_error(balanced_accuracy, columns, scene[~fit], seed)
    return {"balanced_accuracy": figure, "se": error, "penalty": penalty, "constant": 1 / len(shared)}


def probe_values(
    features: torch.Tensor, values: torch.Tensor, scene: torch.Tensor, fit: torch.Tensor, seed: int
) -> dict[str, float | None] | None:
    """Held-out R² of a linear regression; below zero where the mean would have been the better guess.

    Args:
        features: (n, D). values: (n,) or (n, K), whose columns are scored together by their variance; rows with NaN
            are left out. scene: (n,) long. fit: (n,) bool. seed: of folds and errors.

    Returns:
        `r2`, `se`, `penalty`; `None` where the values do not vary in both halves.
    """
    values = values.reshape(len(values), -1)
    rows = ~values.isnan().any(dim=1)
    features, values, scene, fit = features[rows], values[rows], scene[rows], fit[rows]
    if any(int(half.sum()) < FOLDS or not _varies(values[half]) for half in (fit, ~fit)):
        return None

    def score(predicted: torch.Tensor, truth: torch.Tensor) -> float:
        return -float((predicted - truth).square().sum())

    predicted, penalty = _fit_and_predict(fit_ridge, score, features, values, scene, fit, seed)
    truth = values[~fit]
    error = (predicted - truth).square().sum(dim=1, keepdim=True)
    columns = torch.cat([error, truth.square().sum(dim=1, keepdim=True), torch.ones_like(error), truth], dim=1)
    figure, deviation = estimate_with_error(_r2, columns, scene[~fit], seed)
    return {"r2": figure, "se": deviation, "penalty": penalty}


def _varies(values: torch.Tensor) -> bool:
    """Whether (n, K) values are more than one row repeated, by the measure of `_r2`."""
    values = values.double()
    return bool((values - values.mean(dim=0)).square().sum() > 1e-8 * values.square().sum())


def _r2(sums: torch.Tensor) -> torch.Tensor:
    """(R, 3 + K): squared error, squares, count, values -> (R,), NaN where the values do not vary."""
    total = sums[:, 1] - sums[:, 3:].square().sum(dim=1) / sums[:, 2]
    return torch.where(total > 1e-9 * sums[:, 1], 1.0 - sums[:, 0] / total, torch.nan)


def without_class_means(values: torch.Tensor, classes: torch.Tensor, fit: torch.Tensor) -> torch.Tensor:
    """What the class does not tell: (n,) values minus the mean of their class, taken over the fit half."""
    residual = torch.empty_like(values)
    for name in classes.unique():
        rows = classes == name
        known = rows & fit
        residual[rows] = values[rows] - values[known if known.any() else fit].mean()
    return residual


def _fit_and_predict(
    fit_probe: Any,
    score: Any,
    features: torch.Tensor,
    truth: torch.Tensor,
    scene: torch.Tensor,
    fit: torch.Tensor,
    seed: int,
) -> tuple[torch.Tensor, float]:
    """Standardises, chooses the penalty on the fit half, and predicts the held-out half."""
    mean, deviation = features[fit].mean(dim=0), features[fit].std(dim=0)
    features = (features - mean) / torch.where(deviation > 0, deviation, 1.0)
    known, answers = features[fit], truth[fit]
    numbers, row = scene[fit].unique(return_inverse=True)
    order = torch.randperm(len(numbers), generator=torch.Generator().manual_seed(seed))
    fold = (order % FOLDS)[row]
    scores = []
    for penalty in PENALTIES:
        parts = [fold == number for number in range(FOLDS)]
        scores.append(
            sum(score(fit_probe(known[~part], answers[~part], penalty)(known[part]), answers[part]) for part in parts)
        )
    penalty = PENALTIES[max(range(len(scores)), key=scores.__getitem__)]
    return fit_probe(known, answers, penalty)(features[~fit]), penalty


__all__ = ["fit_discriminant", "fit_ridge", "probe_classes", "probe_values", "without_class_means"]
