"""Auxiliary networks of the decoupling phase (paper section 3.2, Eq. 3 to 6).

What enters: a dict of features with one row per object of this process (O may be 0): `text` (O, C) = h_t, `visual`
(O, C) = h_v; and samples of the real modalities, in numbers of their own: `real_text` (L, C) = h_l of the labels,
`real_visual` (M, C) = W_v(pooled image-token states). What leaves: terms for the model (`model_terms`), for the
auxiliary networks (`update_terms`), and figures to log (`metrics`).

The networks live outside the wrapped model and have their own optimizer: the paper alternates the two, and in one
joint backward pass data parallelism would silently not synchronise one of them. Terms are added to the model's loss
with the networks frozen. Reversing the gradient in front of a frozen discriminator gives the decoupling exactly the
gradient it would receive from a reversal layer in a joint pass; `non_saturating` asks the frozen discriminators for
the opposite answer instead, which has a gradient where they are certain.

One training step, as the trainer tells it: `model_terms` joins the loss; after the optimizer step `gather` brings the
detached features of all processes together; every k steps `update_terms` on them trains the networks, and
`club_update` q some more; then `remember` feeds the queue and the statistics. `gather` alone talks to other
processes, so every process has to call it. Terms for the model are means over objects that know nothing of each other,
only of the queue and the statistics as the step found them: micro-batches and processes add up to one batch.
"""

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import ParametrizationList

from .club import GaussianMixtureCLUB
from .discriminators import Discriminator
from .drift import FeatureDrift
from .feature_queue import FeatureQueue, gather_rows
from .gradient_reversal import adversarial_strength, reverse_gradient, scale_gradient
from .host_numbers import HostNumbers
from .offline import offline_estimate

PAIRINGS = ("crossed", "matched", "literal")
ADVERSARIAL_LOSSES = ("reversal", "non_saturating")
FEATURES = ("text", "visual", "real_text", "real_visual")
# Pairs that stand for the marginals now; older ones are of prompts that were elsewhere: CLUB would measure the move.
RECENT_ROWS = 128
REMEMBERED_ROWS = 64  # of those, how many q learns from beside those of the step


@contextmanager
def frozen(module: nn.Module) -> Iterator[nn.Module]:
    """Within the block no parameter of `module` takes a gradient, while its inputs do, and the power iteration of a
    spectral norm rests: it would go on with every micro-batch, and the next one meet other networks.
    """
    before = [parameter.requires_grad for parameter in module.parameters()]
    norms = [part for part in module.modules() if isinstance(part, ParametrizationList)]
    training = [norm.training for norm in norms]
    module.requires_grad_(False)
    for norm in norms:
        norm.eval()
    try:
        yield module
    finally:
        for parameter, flag in zip(module.parameters(), before, strict=True):
            parameter.requires_grad_(flag)
        for norm, flag in zip(norms, training, strict=True):
            norm.train(flag)


class AuxiliaryNetworks(HostNumbers):
    """The two discriminators, the CLUB estimator and the queue of recent features.

    Args:
        dim: width C of the features.
        pairing: `"crossed"` (Eq. 4: D_v tells real visual features from h_t, D_t real textual ones from h_v),
            `"matched"` (D_v against h_v, D_t against h_t), or `"literal"` (Eq. 3 to the letter).
        adversarial_loss: `"reversal"` (the paper's: the gradient of the discriminators' own loss, reversed) or
            `"non_saturating"` (their loss for the opposite answer, -log D(h) where they say -log(1 - D(h))).
        num_components: mixture components of CLUB.
        queue_size: pairs of features kept; the 128 most recent are negatives, all serve the offline estimate.
        hidden: width of the hidden layers of all three networks, `2 * dim` by default.
        log_variance_bound: see `GaussianMixtureCLUB`.
        club_start: steps (calls of `remember`) in which q learns and gives no gradient.
        discriminator: further options of `Discriminator`: `spectral_norm`, `instance_noise`, `label_smoothing`,
            `gradient_penalty`.

    Raises:
        ValueError: for an unknown pairing or loss.
    """

    def __init__(
        self,
        dim: int,
        pairing: str = "crossed",
        adversarial_loss: str = "reversal",
        num_components: int = 3,
        queue_size: int = 512,
        hidden: int | None = None,
        log_variance_bound: float = 3.0,
        club_start: int = 0,
        **discriminator: Any,
    ) -> None:
        super().__init__()
        if pairing not in PAIRINGS:
            raise ValueError(f"adversarial pairing must be one of {PAIRINGS}, got {pairing!r}")
        if pairing == "literal":
            warnings.warn(
                "adversarial pairing 'literal' is degenerate: in Eq. 3 each discriminator sees one class only and is "
                "maximised by a constant; use 'crossed' (Eq. 4) or 'matched'",
                stacklevel=2,
            )
        if adversarial_loss not in ADVERSARIAL_LOSSES:
            raise ValueError(f"adversarial loss must be one of {ADVERSARIAL_LOSSES}, got {adversarial_loss!r}")
        self.pairing, self.adversarial_loss = pairing, adversarial_loss
        self.visual_discriminator = Discriminator(dim, hidden, **discriminator)
        self.text_discriminator = Discriminator(dim, hidden, **discriminator)
        self.club = GaussianMixtureCLUB(dim, num_components, hidden, log_variance_bound)
        self.club_start = club_start
        self.register_buffer("steps", torch.zeros((), dtype=torch.long))
        self.queue = FeatureQueue(queue_size, dim)
        self.drift = FeatureDrift(dim)

    def model_terms(
        self, features: dict[str, Tensor], strength: float = 1.0, num_objects: float | Tensor | None = None
    ) -> dict[str, Tensor]:
        """Terms the model minimises; the gradient reaches `text` and `visual` only.

        Args:
            features: see the module docstring; `text` and `visual` with their graph.
            strength: of the adversarial gradient, see `adversarial_strength`; it leaves the value alone.
            num_objects: normaliser, O by default; the mean number per process under data parallelism.

        Returns:
            `adversarial`: the discriminators' loss on decoupled features. `"reversal"`: for their own answer, the
            gradient arrives reversed, 0 where they are certain; `"non_saturating"`: for the opposite answer, large
            where they are certain. Both are log 4 where they are undecided. `club`: the estimate of Eq. 6 in nats per
            dimension, 0 while that of the remembered pairs is below: there q errs, and following it further would
            only turn the sign of a correlation. Above `2 exp(bound)`, where standardised features cannot take it, no
            gradient. A connected zero before the statistics are known, and no gradient before `club_start`.

        Raises:
            ValueError: where a feature is missing or has the wrong shape.
        """
        features = self._checked(features)
        number = len(features["text"])
        share = 1.0 if num_objects is None else number / num_objects
        with frozen(self):
            adversarial = self._adversarial(features, strength, num_objects)
            club = self._club(features["visual"], features["text"])
        return {"adversarial": adversarial, "club": share * club}

    def _club(self, visual: Tensor, text: Tensor) -> Tensor:
        """The term of the estimate, see `model_terms`."""
        if not self.club.ready:
            return 0.0 * (visual.sum() + text.sum())
        negatives = self.queue.negatives(RECENT_ROWS)
        estimate = self.club.mutual_information(visual, text, negatives)
        with torch.no_grad():  # of one micro-batch the sign is chance, and another division would have another
            known = estimate if negatives is None else self.club.mutual_information(*reversed(negatives))
        most = self.club.dim * 2.0 * math.exp(self.club.log_variance_bound)
        learns = known < (most if self.known("steps") >= self.club_start else -math.inf)
        # Chosen where the numbers are: a device would be waited for.
        estimate = torch.where(learns, estimate, estimate.detach())
        return torch.where(known <= 0, torch.zeros_like(estimate), estimate) / self.club.dim

    def update_terms(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        """Terms the auxiliary networks minimise; features are detached, so no gradient reaches the model.

        Args:
            features: see the module docstring.

        Returns:
            `discriminators`: their `training_loss` on real and decoupled features (Eq. 3, or its literal form);
            `club_nll`: see `club_update`.
        """
        features = {key: value.detach() for key, value in self._checked(features).items()}
        text, visual = features["text"], features["visual"]
        game = self._game(text, visual)
        if self.pairing == "literal":  # minus the objective of Eq. 3: `-E[log D_v(h_t) + log(1 - D_t(h_v))]`
            adversarial = sum(network.loss(rows, answer) for network, rows, answer in game)
        else:
            real = features["real_visual"], features["real_text"]
            adversarial = sum(
                network.training_loss(own, rows) for own, (network, rows, _) in zip(real, game, strict=True)
            )
        return {"discriminators": adversarial, "club_nll": self.club_update(features)}

    def club_update(self, features: dict[str, Tensor]) -> Tensor:
        """What q minimises: its negative log-likelihood in nats per dimension, features detached.

        The mean over the pairs of the step and `REMEMBERED_ROWS` drawn from the queue: the pairs of one step are too
        few to follow, and fresh draws let several updates of a step differ.

        Args:
            features: see the module docstring; `text` and `visual` are read.

        Returns:
            Scalar; 0 without objects, or before the statistics are known.
        """
        features = {key: value.detach() for key, value in self._checked(features).items()}
        text, visual = features["text"], features["visual"]
        if len(text) == 0 or not self.club.ready:
            return 0.0 * sum(parameter.sum() for parameter in self.club.parameters())
        negatives = self.queue.negatives(RECENT_ROWS)
        if negatives is not None:
            drawn = torch.randint(len(negatives[0]), (REMEMBERED_ROWS,), device=text.device)
            text, visual = (torch.cat([own, old[drawn]]) for own, old in zip((text, visual), negatives, strict=True))
        return -self.club.log_likelihood(visual, text).mean() / self.club.dim

    def _game(self, text: Tensor, visual: Tensor) -> tuple[tuple[Discriminator, Tensor, bool], ...]:
        """D_v and D_t, each with the decoupled features it looks at and what it learns to call them ("real" or not).

        Only Eq. 3 to the letter lets D_v call h_t real; otherwise decoupled features are what is not real.
        """
        seen_by_visual, seen_by_text = (visual, text) if self.pairing == "matched" else (text, visual)
        return (
            (self.visual_discriminator, seen_by_visual, self.pairing == "literal"),
            (self.text_discriminator, seen_by_text, False),
        )

    def _adversarial(self, features: dict[str, Tensor], strength: float, normaliser: float | Tensor | None) -> Tensor:
        """What the model plays: the discriminators' loss on decoupled features alone, never smoothed."""
        opposite = self.adversarial_loss == "non_saturating"
        entrance = scale_gradient if opposite else reverse_gradient
        text, visual = (entrance(features[key], strength) for key in ("text", "visual"))
        game = self._game(text, visual)
        return sum(network.loss(rows, answer != opposite, normaliser) for network, rows, answer in game)

    def gather(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        """The features of all processes, detached, the same everywhere. A collective call."""
        return {key: gather_rows(value) for key, value in self._checked(features).items()}

    def remember(self, features: dict[str, Tensor]) -> None:
        """Adds the decoupled features of all processes to the queue, the statistics, and what is known of their drift.

        Once per step, everywhere, with what `gather` gave.
        """
        text, visual = self.queue.add(features["text"], features["visual"])
        self.club.observe(visual, text)
        self.tell("steps", self.known("steps") + 1)
        self.drift.update(text, visual)

    def offline(self) -> dict[str, float]:
        """`club_offline`, `club_offline_r2` of the remembered pairs, see `offline_estimate`; the same everywhere."""
        negatives = self.queue.negatives()
        if negatives is None:
            return {}
        text, visual = negatives
        return offline_estimate(visual, text, self.club.log_variance_bound)

    @torch.no_grad()
    def metrics(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        """Figures to log, without noise; weight them by O when averaging over processes.

        Args:
            features: see the module docstring.

        Returns:
            `accuracy_visual`, `accuracy_text`: of the discriminators (about 0.5 is equilibrium; always 0.5 for
            `"literal"`, which has no second class); `drift_text`, `drift_visual`: see `FeatureDrift`, missing until
            its start is known; `mutual_information`: the raw estimate of Eq. 6, nats per
            dimension; `club_nll`: nats per dimension, of the pairs given; both missing until the statistics are
            known. Neutral values (0.5 and 0) for O = 0.
        """
        features = self._checked(features)
        text, visual = features["text"], features["visual"]
        was_training = self.training
        self.eval()
        try:
            pair = [text[:0] if self.pairing == "literal" else rows for _, rows, _ in self._game(text, visual)]
            return {
                "accuracy_visual": self.visual_discriminator.accuracy(features["real_visual"], pair[0]),
                "accuracy_text": self.text_discriminator.accuracy(features["real_text"], pair[1]),
                **(self._club_figures(visual, text) if self.club.ready else {}),
                **self.drift.values(),
            }
        finally:
            self.train(was_training)

    def _club_figures(self, visual: Tensor, text: Tensor) -> dict[str, Tensor]:
        estimate = self.club.mutual_information(visual, text, self.queue.negatives(RECENT_ROWS))
        likelihood = self.club.log_likelihood(visual, text).sum() / max(len(text), 1)
        return {"mutual_information": estimate / self.club.dim, "club_nll": -likelihood / self.club.dim}

    def parameter_groups(self, club_rate: float, discriminator_rate: float) -> list[dict[str, Any]]:
        """Parameters with their learning rates, as an optimizer takes them."""
        rows = ((self.visual_discriminator, discriminator_rate), (self.text_discriminator, discriminator_rate))
        return [{"params": list(net.parameters()), "lr": rate} for net, rate in (*rows, (self.club, club_rate))]

    def _checked(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        """The four features in float32 at least; raises where one is missing or of another width."""
        missing = [key for key in FEATURES if key not in features]
        if missing:
            raise ValueError(f"auxiliary features lack {missing}; all of {list(FEATURES)} are needed")
        for key in FEATURES:
            if features[key].ndim != 2 or features[key].shape[1] != self.club.dim:
                raise ValueError(
                    f"feature {key!r} must be (rows, {self.club.dim}), got shape {tuple(features[key].shape)}"
                )
        if len(features["text"]) != len(features["visual"]):
            raise ValueError(
                f"text and visual features are paired by object, got {len(features['text'])} and "
                f"{len(features['visual'])} rows"
            )
        return {
            key: features[key] if features[key].dtype == torch.float64 else features[key].float() for key in FEATURES
        }


__all__ = [
    "ADVERSARIAL_LOSSES",
    "AuxiliaryNetworks",
    "Discriminator",
    "FeatureQueue",
    "GaussianMixtureCLUB",
    "adversarial_strength",
    "frozen",
    "reverse_gradient",
]
