"""Modality discriminators (paper section 3.2, Eq. 3 and 4).

What enters: features (O, C). What leaves: logits (O,), positive for "real". Left alone, a discriminator on features
of this size wins outright within some hundred steps and its gradient carries nothing; spectral normalisation,
instance noise and smoothed labels, together with a small learning rate, soften its certainty.

Labels are smoothed on the real side only, and only where the discriminator learns. A smoothed target s for decoupled
features has its optimum at the logit log(s / (1 - s)): beyond it the sign of the gradient changes, and a model that
plays against it is pushed away from the features it should come to resemble.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm as with_spectral_norm


class Discriminator(nn.Module):
    """MLP with LeakyReLU that tells real features of one modality from decoupled ones.

    Features pass a LayerNorm without parameters first: the two sources are told apart by content, not by scale, and
    the noise has one meaning for all of them.

    Args:
        dim: width C of the features.
        hidden: width of the two hidden layers, `2 * dim` by default.
        spectral_norm: bounds the Lipschitz constant of every layer.
        instance_noise: standard deviation of Gaussian noise on the normalised input, in training mode only.
        label_smoothing: s; in `training_loss` the target of real features is 1 - s, that of others 0.
        gradient_penalty: weight of R1 in `training_loss`.
    """

    def __init__(
        self,
        dim: int,
        hidden: int | None = None,
        spectral_norm: bool = True,
        instance_noise: float = 0.1,
        label_smoothing: float = 0.1,
        gradient_penalty: float = 0.0,
    ) -> None:
        super().__init__()
        if not 0 <= label_smoothing < 1 or instance_noise < 0 or gradient_penalty < 0:
            raise ValueError(
                "a discriminator needs label_smoothing in [0, 1), instance_noise >= 0 and gradient_penalty >= 0, "
                f"got {label_smoothing}, {instance_noise} and {gradient_penalty}"
            )
        hidden = hidden or 2 * dim
        self.dim, self.instance_noise, self.label_smoothing = dim, instance_noise, label_smoothing
        self.gradient_penalty = gradient_penalty
        layers = [nn.Linear(dim, hidden), nn.Linear(hidden, hidden), nn.Linear(hidden, 1)]
        layers = [with_spectral_norm(layer) if spectral_norm else layer for layer in layers]
        self.network = nn.Sequential(layers[0], nn.LeakyReLU(0.2), layers[1], nn.LeakyReLU(0.2), layers[2])

    def forward(self, features: Tensor) -> Tensor:
        """Logits `(O,)` of "real" for features `(O, C)`; computed in float32 at least."""
        return self._decide(self._seen(features))

    def _seen(self, features: Tensor) -> Tensor:
        """What the network looks at: normalised features, with noise in training."""
        features = features if features.dtype == torch.float64 else features.float()
        with torch.autocast(features.device.type, enabled=False):
            features = F.layer_norm(features, (self.dim,))
        if self.training and self.instance_noise > 0:
            features = features + self.instance_noise * torch.randn_like(features)
        return features

    def _decide(self, seen: Tensor) -> Tensor:
        with torch.autocast(seen.device.type, enabled=False):
            return self.network(seen).squeeze(-1)

    def training_loss(self, real: Tensor, other: Tensor) -> Tensor:
        """What the discriminator minimises: the mean loss on each class, and R1, the mean of half the squared gradient
        of the logit at real features, times `gradient_penalty`.

        R1 and not the penalty of WGAN-GP: this is the game of Eq. 4 (a Jensen-Shannon divergence), which R1 makes
        converge locally, while the gradient norm of 1 that WGAN-GP asks for belongs to a Wasserstein critic; and its
        interpolates need as many real rows as others. The gradient is taken at the normalised features.

        Args:
            real: `(M, C)`; `other`: `(O, C)`. Unequal numbers do not tilt the decision.

        Returns:
            Scalar; zero where a class is missing. The network runs in any case: its power iteration has to advance
            alike on every process.
        """
        seen = self._seen(real)
        if self.gradient_penalty > 0:
            seen = seen.detach().requires_grad_()
        logits = self._decide(seen)
        loss = self._cross_entropy(logits, 1.0 - self.label_smoothing) + self.loss(other, False)
        if self.gradient_penalty > 0:
            (slope,) = torch.autograd.grad(logits.sum(), seen, create_graph=True)
            loss = loss + 0.5 * self.gradient_penalty * slope.square().sum() / max(len(real), 1)
        return loss if len(real) and len(other) else 0.0 * loss

    def loss(self, features: Tensor, real: bool, normaliser: float | Tensor | None = None) -> Tensor:
        """Binary cross-entropy of calling `features` real or not, `-log D` or `-log(1 - D)`: its gradient in the logit
        has one sign everywhere.

        Args:
            features: `(O, C)`.
            real: what they are called.
            normaliser: the sum over objects is divided by it; O by default.

        Returns:
            Scalar; an exact, connected zero for O = 0.
        """
        return self._cross_entropy(self(features), float(real), normaliser)

    @staticmethod
    def _cross_entropy(logits: Tensor, target: float, normaliser: float | Tensor | None = None) -> Tensor:
        values = F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, target), reduction="sum")
        return values / (max(len(logits), 1) if normaliser is None else normaliser)

    @torch.no_grad()
    def accuracy(self, real: Tensor, other: Tensor) -> Tensor:
        """Balanced share of right answers on real and on other features; 0.5 is chance, and the value without rows.

        The decision falls at the logit of the optimal discriminator where both are equally likely, log((1 - s) /
        (1 + s)): at 0 one that knows a little would call everything decoupled and look like chance.
        """
        undecided = math.log((1.0 - self.label_smoothing) / (1.0 + self.label_smoothing))
        half = [(self(rows) > undecided).float() for rows in (real, other)]
        if len(real) == 0 or len(other) == 0:
            return half[0].new_tensor(0.5)
        return 0.5 * (half[0].mean() + 1.0 - half[1].mean())


__all__ = ["Discriminator"]
