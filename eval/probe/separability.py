"""Can a fresh discriminator tell two kinds of features apart?

Features of both kinds enter, held-out accuracy leaves: 0.5 is indistinguishable, 1 is worlds apart. The networks have
the shape of the discriminators of training (paper section 3.2, Eq. 3, 4) but none of their handicaps (spectral
normalisation, noise, smoothed labels, a rival that runs away), so they say what is there to be found.
"""

from __future__ import annotations

import torch

from desa2va.training.disentangling import Discriminator

from .resampling import balanced_accuracy, class_columns, estimate_with_error

STEPS = 300
CHECK_EVERY = 10
LEARNING_RATE = 2e-3
WEIGHT_DECAY = 1e-2


def separability(
    first: torch.Tensor, second: torch.Tensor, scene: torch.Tensor, fit: torch.Tensor, seed: int
) -> dict[str, float | None]:
    """Held-out balanced accuracy of a discriminator between two kinds of features.

    A quarter of the fit half decides when to stop. Both kinds are brought to a common scale per coordinate; what the
    discriminator's LayerNorm then takes away (an offset that all coordinates share) does not count.

    Args:
        first: (n, C) "real". second: (n, C) "other", of the same objects. scene: (n,) long. fit: (n,) bool.
        seed: of weights, stopping set and errors.

    Returns:
        `accuracy` and `se`.
    """
    both = torch.cat([first[fit], second[fit]])
    mean, deviation = both.mean(dim=0), both.std(dim=0)
    kinds = [((rows - mean) / deviation.clamp(min=1e-9)).float() for rows in (first, second)]
    numbers = scene[fit].unique()
    order = torch.randperm(len(numbers), generator=torch.Generator().manual_seed(seed))
    checking = fit & torch.isin(scene, numbers[order[: max(len(numbers) // 4, 1)]])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = Discriminator(first.shape[1], spectral_norm=False, instance_noise=0.0, label_smoothing=0.0)
    _train(network, [rows[fit & ~checking] for rows in kinds], [rows[checking] for rows in kinds])
    with torch.no_grad():
        answers = torch.cat([(network(rows[~fit]) > 0).long() for rows in kinds])
    truth = torch.arange(2).flip(0).repeat_interleave(int((~fit).sum()))
    columns = class_columns(answers, truth, 2)
    figure, error = estimate_with_error(balanced_accuracy, columns, scene[~fit].repeat(2), seed)
    return {"accuracy": figure, "se": error}


def _train(network: Discriminator, known: list[torch.Tensor], check: list[torch.Tensor]) -> None:
    """Full batches with AdamW; the weights with the lowest loss on `check` stay."""
    optimizer = torch.optim.AdamW(network.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    best, kept = float("inf"), None
    for step in range(STEPS):
        if step % CHECK_EVERY == 0:
            with torch.no_grad():
                loss = float(network.loss(check[0], True) + network.loss(check[1], False))
            if loss < best:
                best, kept = loss, {name: value.clone() for name, value in network.state_dict().items()}
        optimizer.zero_grad()
        (network.loss(known[0], True) + network.loss(known[1], False)).backward()
        optimizer.step()
    network.load_state_dict(kept)


__all__ = ["separability"]
