"""The CLUB estimator of mutual information (paper section 3.2, Eq. 5 and 6).

What enters: pairs of decoupled features h_v, h_t (O, C) and samples of their marginals. What leaves: log-likelihoods
`log q(h_t | h_v)` in nats and the estimate `I = E_joint[log q] - E_product[log q]`.

q is a mixture of K diagonal Gaussians; their means are linear in h_v plus what a small network adds, for two linear
maps of one state depend on each other linearly, and a linear map follows moving features sooner than a network.

Two measures keep it bounded. Every dimension of both sides is standardised by running statistics, so neither scale nor
offset changes the estimate. And the log-variance lies within `log_variance_bound`, by a tanh: h_t is a function of the
same state as h_v, and without a bound the likelihood of an exact prediction has no maximum. The bound B remains in the
figure: a residual variance below exp(-B) counts as exp(-B), so the estimate stops near exp(B) nats per dimension. At 3
Gaussians of correlation up to .97 are represented (variance .05), which takes in .9 (variance .19, log -1.66, beyond a
bound of 1) and prompts that explain 95 % of each other.

CLUB is an upper bound, not the mutual information: with the true conditional of jointly Gaussian features of
correlation rho it takes the value `rho^2 / (1 - rho^2)` per dimension, against `-log(1 - rho^2) / 2` for the true
information.
"""

import math

import torch
from torch import Tensor, nn

from .standardisation import RunningStandardisation


class GaussianMixtureCLUB(nn.Module):
    """Variational conditional `q(h_t | h_v)` and the CLUB estimate built on it.

    Args:
        dim: width C of both features.
        num_components: K; 1 is the plain Gaussian of the original estimator.
        hidden: width of the network, `2 * dim` by default.
        log_variance_bound: the log-variance of every component lies within plus and minus this number.
        standardize: brings both sides to mean 0 and variance 1 first, by what `observe` was shown.
    """

    def __init__(
        self,
        dim: int,
        num_components: int = 3,
        hidden: int | None = None,
        log_variance_bound: float = 3.0,
        standardize: bool = True,
    ) -> None:
        super().__init__()
        if num_components < 1 or dim < 1 or log_variance_bound <= 0:
            raise ValueError(
                "CLUB needs dim >= 1, num_components >= 1 and log_variance_bound > 0, "
                f"got {dim}, {num_components}, {log_variance_bound}"
            )
        hidden = hidden or 2 * dim
        self.dim, self.num_components, self.log_variance_bound = dim, num_components, log_variance_bound
        self.visual_statistics = RunningStandardisation(dim) if standardize else None
        self.text_statistics = RunningStandardisation(dim) if standardize else None
        self.trunk = nn.Sequential(nn.Linear(dim, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU())
        self.linear = nn.Linear(dim, dim, bias=False)
        self.mean = nn.Linear(hidden, num_components * dim)
        self.log_variance = nn.Linear(hidden, num_components * dim)
        self.mixture = nn.Linear(hidden, num_components)
        nn.init.zeros_(self.linear.weight)
        if num_components > 1:  # components that start in one place stay together
            nn.init.normal_(self.mean.bias, std=0.5)

    @property
    def ready(self) -> bool:
        """Whether features can be standardised; before that an estimate would be one of offsets and scales."""
        return self.text_statistics is None or self.text_statistics.ready

    def observe(self, h_v: Tensor, h_t: Tensor) -> None:
        """Takes features into the statistics; under data parallelism those of all processes, the same on each.

        Args:
            h_v: `(N, C)`.
            h_t: `(N, C)`.
        """
        if self.text_statistics is not None:
            self.visual_statistics.observe(h_v)
            self.text_statistics.observe(h_t)

    @staticmethod
    def _standard(features: Tensor, statistics: RunningStandardisation | None) -> Tensor:
        features = features if features.dtype == torch.float64 else features.float()
        return features if statistics is None else statistics(features)

    def conditional(self, h_v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Parameters of `q(. | h_v)`.

        Args:
            h_v: `(N, C)`, not yet standardised.

        Returns:
            Log-weights `(N, K)`, means `(N, K, C)` and log-variances `(N, K, C)` in the space of standardised
            features.
        """
        source = self._standard(h_v, self.visual_statistics)
        state = self.trunk(source)
        shape = (len(state), self.num_components, self.dim)
        log_variance = self.log_variance_bound * torch.tanh(self.log_variance(state))
        mean = self.linear(source)[:, None] + self.mean(state).view(shape)
        return self.mixture(state).log_softmax(-1), mean, log_variance.view(shape)

    def log_likelihood(self, h_v: Tensor, h_t: Tensor) -> Tensor:
        """`log q(h_t | h_v)` of pairs, in nats.

        Args:
            h_v: `(N, C)`.
            h_t: `(N, C)`, the partner of each row.

        Returns:
            `(N,)`.
        """
        with torch.autocast(h_v.device.type, enabled=False):
            log_weight, mean, log_variance = self.conditional(h_v)
            squares = (self._standard(h_t, self.text_statistics)[:, None] - mean).square() * (-log_variance).exp()
            return self._mix(log_weight, squares.sum(-1), log_variance)

    def pairwise_log_likelihood(self, h_v: Tensor, h_t: Tensor) -> Tensor:
        """`log q(h_t[m] | h_v[n])` of all pairs without a tensor of size N x M x C.

        Args:
            h_v: `(N, C)`.
            h_t: `(M, C)`.

        Returns:
            `(N, M)`.
        """
        with torch.autocast(h_v.device.type, enabled=False):
            log_weight, mean, log_variance = self.conditional(h_v)
            target, precision = self._standard(h_t, self.text_statistics), (-log_variance).exp()
            squares = torch.einsum("nkc,mc->nmk", precision, target.square())
            squares = squares - 2.0 * torch.einsum("nkc,mc->nmk", precision * mean, target)
            squares = squares + (precision * mean.square()).sum(-1)[:, None]
            return self._mix(log_weight[:, None], squares, log_variance[:, None])

    def _mix(self, log_weight: Tensor, squares: Tensor, log_variance: Tensor) -> Tensor:
        """Log-density of the mixture; `squares` are the scaled distances `(..., K)` to the components."""
        constant = self.dim * math.log(2.0 * math.pi)
        return (log_weight - 0.5 * (squares + log_variance.sum(-1) + constant)).logsumexp(-1)

    def mutual_information(self, h_v: Tensor, h_t: Tensor, negatives: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """The CLUB estimate of Eq. 6 in nats, raw: it may be negative by chance or while q is not fitted.

        Args:
            h_v: `(O, C)`.
            h_t: `(O, C)`.
            negatives: text and visual features `(Q, C)` of other objects, without gradient. Each h_v meets every other
                text, and each h_t every other visual. Without them all pairs (i, j), i != j, of the batch stand for
                the product of the marginals. They also stand for the population when the statistics are derived, so
                with them the estimate and its gradient are means over objects: parts of a step add up.

        Returns:
            Scalar; an exact, connected zero where there is no pair (O = 0, or O = 1 without negatives).
        """
        if len(h_v) == 0 or (negatives is None and len(h_v) < 2):
            return 0.0 * (h_v.float().sum() + h_t.float().sum())
        if negatives is None:
            return self._of_all_pairs(h_v, h_t) + self._through_statistics(h_v, h_t, h_v, h_t)
        text, visual = negatives
        joint = self.log_likelihood(h_v, h_t).mean()
        product = self.pairwise_log_likelihood(h_v, text).mean() + self.pairwise_log_likelihood(visual, h_t).mean()
        # Either mean estimates the product, but its gradient reaches one side only: values average, gradients add.
        estimate = joint - (product - 0.5 * product.detach())
        return estimate + self._through_statistics(h_v, h_t, visual, text)

    def _of_all_pairs(self, h_v: Tensor, h_t: Tensor) -> Tensor:
        """The estimate of rows among themselves: the product is that of all pairs (i, j), i != j."""
        pairs = self.pairwise_log_likelihood(h_v, h_t)
        other = ~torch.eye(len(h_v), dtype=torch.bool, device=pairs.device)
        return self.log_likelihood(h_v, h_t).mean() - pairs[other].mean()

    def _through_statistics(self, h_v: Tensor, h_t: Tensor, visual: Tensor, text: Tensor) -> Tensor:
        """A zero with the gradient that rows have by the statistics, of which `visual`, `text` (Q, C) are samples."""
        learns = torch.is_grad_enabled() and (h_v.requires_grad or h_t.requires_grad)
        if self.text_statistics is None or len(text) < 2 or not learns:
            return h_t.new_zeros(())
        own, samples = [self._standard(rows, None) for rows in (h_v, h_t)], [visual.detach(), text.detach()]
        samples = [rows.to(own[0].dtype).requires_grad_() for rows in samples]
        gradients = torch.autograd.grad(self._of_all_pairs(*samples), samples)
        sides = zip((self.visual_statistics, self.text_statistics), own, samples, gradients, strict=True)
        return sum(statistics.pull(rows, old.detach(), gradient) for statistics, rows, old, gradient in sides)


__all__ = ["GaussianMixtureCLUB"]
