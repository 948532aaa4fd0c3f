"""The linear part of a projection as one map: read, written, fitted, corrected.

Enters: a `Projection` and pairs of states and prompts. Leaves: the projection with other weights. A bottleneck holds a
map as the product of two matrices; one that needs more than its width is cut to its strongest directions.
"""

from __future__ import annotations

import torch

from desa2va.modeling_desa2va.decoupling import Projection


@torch.no_grad()
def read_map(projection: Projection) -> torch.Tensor:
    """The matrix (C, F) from the features before the linear part to prompts, bottleneck or not."""
    weight = projection.layers[-1].weight
    return weight if _bottleneck(projection) is None else weight @ _bottleneck(projection).weight


@torch.no_grad()
def write_map(projection: Projection, weight: torch.Tensor, gram: torch.Tensor | None = None) -> torch.Tensor:
    """Writes a matrix (C, F), cut to the bottleneck's width where there is one. Biases stay as they are.

    Args:
        gram: (F, F) second moments of the features: the cut keeps what matters most on such features (reduced-rank
            regression, Izenman 1975); the identity where omitted (truncated SVD).

    Returns:
        The matrix that the projection holds now.
    """
    inner, last = _bottleneck(projection), projection.layers[-1]
    if inner is None:
        last.weight.copy_(weight)
        return weight
    spread = weight @ weight.T if gram is None else weight @ gram @ weight.T
    directions = torch.linalg.eigh(spread)[1][:, -inner.out_features :]
    # The outer directions have unit length whatever the map: a bottleneck that has room left can still learn.
    last.weight.copy_(directions)
    inner.weight.copy_(directions.T @ weight)
    return directions @ inner.weight


@torch.no_grad()
def fit_projection(projection: Projection, states: torch.Tensor, prompts: torch.Tensor, ridge: float = 1e-2) -> None:
    """Starts a projection from the least-squares map of states (O, D) to prompts (O, C).

    Of an MLP the linear part alone is fitted, to what its first layers make of the states: one that was trained
    already (Sa2VA's) keeps its features.
    """
    features, prompts = _features(projection, states), prompts.to(projection.layers[-1].weight.device)
    weight, gram = _least_squares(features, prompts, ridge)
    weight = write_map(projection, weight, gram)
    projection.layers[-1].bias.copy_(prompts.mean(dim=0) - weight @ features.mean(dim=0))


@torch.no_grad()
def correct_projection(projection: Projection, states: torch.Tensor, prompts: torch.Tensor, ridge: float) -> None:
    """Adds the least-squares map from states (L, D) to what is missing to the prompts (L, C).

    A correction, not a fit from nothing: where these states do not differ, they are read as before. Prompts that
    came out of the same bottleneck lose nothing: what is missing lies in its directions.
    """
    features, missing = _features(projection, states), prompts - projection(states)
    change, _ = _least_squares(features, missing, ridge)
    write_map(projection, read_map(projection) + change)
    projection.layers[-1].bias.add_(missing.mean(dim=0) - change @ features.mean(dim=0))


def _least_squares(features: torch.Tensor, prompts: torch.Tensor, ridge: float) -> tuple[torch.Tensor, torch.Tensor]:
    """(C, F) map of centred features to centred prompts, and the ridged second moments (F, F) it was found with."""
    centred = features - features.mean(dim=0)
    gram = centred.T @ centred
    gram.diagonal().add_(ridge * gram.diagonal().mean())
    return torch.linalg.solve(gram, centred.T @ (prompts - prompts.mean(dim=0))).T, gram


def _features(projection: Projection, states: torch.Tensor) -> torch.Tensor:
    """(..., D) -> (..., F): what the linear part reads."""
    return projection.layers[: projection.num_inner](states.to(projection.layers[-1].weight.device))


def _bottleneck(projection: Projection) -> torch.nn.Linear | None:
    return projection.layers[-2] if len(projection.layers) > projection.num_inner + 1 else None


__all__ = ["correct_projection", "fit_projection", "read_map", "write_map"]
