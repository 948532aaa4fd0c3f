"""How far the decoupled features have moved since the training began: the price of the adversarial game.

What enters: the decoupled features of every step, of all processes. What leaves: one number per modality. A model can
please its discriminators by giving up what its prompts mean; accuracies near 1/2 do not tell that from success.
"""

import torch
from torch import Tensor

from .host_numbers import HostNumbers


class FeatureDrift(HostNumbers):
    """Distance of today's features to those of the start, in units of the variance they started with.

    Each is described by the mean and the standard deviation of every dimension; the distance is the squared
    2-Wasserstein distance of the two diagonal Gaussians over the summed variance of the start. 0: the same; 1: the
    mean has moved by one standard deviation in every dimension. What permutes objects or rotates features and keeps
    those moments is not seen, and masks and language losses move features too: compare with a run without the game.

    Args:
        dim: width C of the features.
        horizon: objects, of all processes, that make up the start; today's moments forget over as many. The noise
            of the measure is about `2.3 / horizon`, .02 at the default.
    """

    def __init__(self, dim: int, horizon: int = 128) -> None:
        super().__init__()
        self.horizon = horizon
        self.register_buffer("seen", torch.zeros(()))
        self.register_buffer("weight", torch.zeros(()))
        self.register_buffer("sums", torch.zeros(2, 2, dim))
        self.register_buffer("start", torch.zeros(2, 2, dim))

    @torch.no_grad()
    def update(self, text: Tensor, visual: Tensor) -> None:
        """Takes in the features of one step; under data parallelism those of all processes, the same on each.

        Args:
            text: `(O, C)`; O may be 0.
            visual: `(O, C)`.
        """
        rows = torch.stack([text, visual], dim=1).to(self.sums)
        sums = torch.stack([rows.sum(0), rows.square().sum(0)])
        number, seen = float(len(rows)), self.known("seen")
        # Every object of the start counts alike; later the past fades.
        keep = 1.0 if seen < self.horizon else (1.0 - 1.0 / self.horizon) ** number
        self.weight.mul_(keep).add_(number)
        self.sums.mul_(keep).add_(sums)
        begins = seen < self.horizon <= seen + number
        self.tell("seen", seen + number)
        if begins:
            self.start.copy_(self._moments())

    def _moments(self) -> Tensor:
        """Mean and standard deviation of every dimension, each `(2, C)` for text and visual."""
        mean, square = self.sums / self.weight
        return torch.stack([mean, (square - mean.square()).clamp(min=0.0).sqrt()])

    def values(self) -> dict[str, Tensor]:
        """`drift_text` and `drift_visual`, scalars; nothing while the start is not known."""
        if self.known("seen") < self.horizon:
            return {}
        moved = (self._moments() - self.start).square().sum(dim=(0, 2))
        text, visual = moved / self.start[1].square().sum(dim=1).clamp(min=1e-12)
        return {"drift_text": text, "drift_visual": visual}


__all__ = ["FeatureDrift"]
