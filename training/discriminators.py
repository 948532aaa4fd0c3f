"""Modality discriminators (paper section 3.2, Eq. 3 and 4).

What enters: features (O, C). What leaves: logits (O,), positive for "real". Left alone, a discriminator on features
of this size wins outright within some hundred steps and its gradient carries nothing; spectral normalisation,
instance noise and smoothed labels, together with a small learning rate, keep the game open.
"""

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
        label_smoothing: s; targets are s / 2 and 1 - s / 2.
    """

    def __init__(
        self,
        dim: int,
        hidden: int | None = None,
        spectral_norm: bool = True,
        instance_noise: float = 0.1,
        label_smoothing: float = 0.1,
    ) -> None:
        super().__init__()
        if not 0 <= label_smoothing < 1 or instance_noise < 0:
            raise ValueError(
                "a discriminator needs label_smoothing in [0, 1) and instance_noise >= 0, "
                f"got {label_smoothing} and {instance_noise}"
            )
        hidden = hidden or 2 * dim
        self.dim, self.instance_noise, self.label_smoothing = dim, instance_noise, label_smoothing
        layers = [nn.Linear(dim, hidden), nn.Linear(hidden, hidden), nn.Linear(hidden, 1)]
        layers = [with_spectral_norm(layer) if spectral_norm else layer for layer in layers]
        self.network = nn.Sequential(layers[0], nn.LeakyReLU(0.2), layers[1], nn.LeakyReLU(0.2), layers[2])

    def forward(self, features: Tensor) -> Tensor:
        """Logits `(O,)` of "real" for features `(O, C)`; computed in float32 at least."""
        with torch.autocast(features.device.type, enabled=False):
            features = features if features.dtype == torch.float64 else features.float()
            features = F.layer_norm(features, (self.dim,))
            if self.training and self.instance_noise > 0:
                features = features + self.instance_noise * torch.randn_like(features)
            return self.network(features).squeeze(-1)

    def loss(self, features: Tensor, real: bool, normaliser: float | Tensor | None = None) -> Tensor:
        """Binary cross-entropy of calling `features` real or not, with smoothed targets.

        Args:
            features: `(O, C)`.
            real: what they are.
            normaliser: the sum over objects is divided by it; O by default.

        Returns:
            Scalar; an exact, connected zero for O = 0.
        """
        logits = self(features)
        target = torch.full_like(logits, 1.0 - self.label_smoothing / 2 if real else self.label_smoothing / 2)
        values = F.binary_cross_entropy_with_logits(logits, target, reduction="sum")
        return values / (max(len(features), 1) if normaliser is None else normaliser)

    @torch.no_grad()
    def accuracy(self, real: Tensor, other: Tensor) -> Tensor:
        """Balanced share of right answers on real and on other features; 0.5 is chance, and the value without rows."""
        half = [(self(rows) > 0).float() for rows in (real, other)]
        if len(real) == 0 or len(other) == 0:
            return half[0].new_tensor(0.5)
        return 0.5 * (half[0].mean() + 1.0 - half[1].mean())


__all__ = ["Discriminator"]
