"""Training arguments: transformers' own, and what DeSa2VA adds. One field per switch, each with its default and
reason.

Enters: a YAML of differences. Leaves: validated dataclasses. The weights of all loss terms live here and meet them
in the trainer.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from transformers import TrainingArguments

from .disentangling import AdversarialSchedule
from .losses import mask_loss

LOSS_TERMS = (
    "language",
    "visual_mask",
    "text_mask",
    "fused_mask",
    "label_mask",
    "alignment",
    "orthogonality",
    "iou",
    "object_score",
    "adversarial",
    "club",
    "motion_invariance",
    "motion_order",
    "dense",
    "presence",
    "prompt_mask",
    "named_mask",
    "memory_mask",
    "reread_mask",
    "grounding",
    "motion",
    "attention",
    "word",
)
WARM_STARTS = (
    "fan_in",
    "pca",
    "copy_decoders",
    "whiten_labels",
    "visual_from_text",
    "fit_text",
    "fit_text_to_clicks",
    "fit_visual_to_clicks",
    "fit_visual_to_labels",
    "favour_visual",
)
PHASES = ("vision", "segmenter", "grounding", "text_pretraining", "decoupling", "fusion")


@dataclass
class MaskLossArguments:
    """How one mask is scored (paper Eq. 8-10).

    Attributes:
        mask_loss: `"bce"` (the text of section 3.4) or `"mse"` (Eq. 9 to the letter).
        bce_weight, dice_weight: 2.0 and 0.5 as in Sa2VA.
        positive_weight: weight of the foreground in the cross-entropy; 1 is the paper's.
        mask_target_size: side R of the targets, pixels; logits are resized to it.
        num_points: points sampled per mask where the loss is computed at uncertain points (12544 in SAM-2), or `None`.
    """

    mask_loss: str = "bce"
    bce_weight: float = 2.0
    dice_weight: float = 0.5
    positive_weight: float | None = None
    mask_target_size: int = 256
    num_points: int | None = None

    def __call__(self, logits: torch.Tensor, targets: torch.Tensor, num_masks: float) -> torch.Tensor:
        """The mask loss of (P, h, w) logits against (P, R, R) targets."""
        return mask_loss(
            logits,
            targets,
            num_masks,
            weights=(self.bce_weight, self.dice_weight),
            kind=self.mask_loss,
            pos_weight=self.positive_weight,
            num_points=self.num_points,
        )


@dataclass
class DataArguments:
    """What is learned from.

    Attributes:
        dataset: `"refshapes"`, a path, `hub:owner/name`, or the name of a published set (see docs/data.md).
        options: keyword arguments of `RefShapes`, or of the reader of that kind and `RecordDataset`.
        parts: a mixture in place of one data set: mappings with `dataset`, `options`, and `share` (how often it is
            drawn, in any unit; 1) or `repeats` (how often it is read in an epoch; 1).
        temperature: of a mixture: its weights to the power of 1 / temperature.
        validation: what the training is validated on: a mapping with `dataset` and `options`; nothing by default.
        seed: of the data alone; runs that compare methods share it.
        feature_cache: a folder that keeps what SAM-2's frozen encoder makes of every picture; none by default.
    """

    dataset: str = "refshapes"
    options: dict[str, Any] = field(default_factory=dict)
    parts: list[dict[str, Any]] = field(default_factory=list)
    temperature: float = 1.0
    validation: dict[str, Any] = field(default_factory=dict)
    seed: int = 0
    feature_cache: str | None = None


def _weights(**values: float) -> Any:
    return field(default_factory=lambda: dict(values))


@dataclass
class DeSa2VATrainingArguments(TrainingArguments):
    """`TrainingArguments` and what DeSa2VA's phases need.

    Changed defaults: `remove_unused_columns=False` (the collator needs everything), `report_to="none"`.

    Attributes:
        phase: one of `PHASES`; METHOD section 5 calls vision, segmenter and grounding phase 0, the others 1, 2, 3.
        weights: weight of every loss term by its name; a term that is missing here counts 0 and is not computed
            where that saves work. Defaults: phase 2 of METHOD section 5.
        muon_learning_rate: rate of Muon on the matrices of `muon_modules`; 0 trains them with AdamW like the rest.
        muon_modules: prefixes of modules whose 2-D weights Muon trains (both vision encoders and the language layers
            learn shape several times faster that way).
        trainable: prefixes of the parameters that learn in place of the phase's own list; `None` keeps the phase's.
        language_model: how the language model learns in phases 2 and 3: `"lora"`, `"full"`, `"frozen"`.
        lora_rank, lora_alpha: 128 as in Sa2VA's code, 256. lora_dropout: of what enters LoRA; 0.05 in Sa2VA's code.
        warm_start: start values computed at the beginning of the phase, in order: any of `WARM_STARTS`; see
            `training/warm_start.py`.
        text_gradient: `"full"` (as the paper's loss reads) or `"isolated"`: losses of the text branch stop at W_t, and
            the fused mask's loss does not reach it; see `DeSa2VAModel.isolate_text`.
        shuffled_share: part of the multi-frame sequences that `motion_invariance` and `motion_order` read a second
            time, with their frames in shuffled order; see `training/objectives/temporal.py`.
        teacher_fraction: part of the steps over which memory training goes from true to own masks.
        adversarial_pairing: `"crossed"` (Eq. 4, the paper's), `"matched"`, or `"literal"` (Eq. 3, degenerate).
        adversarial_loss: `"reversal"` (the paper's) or `"non_saturating"`, which has a gradient where the
            discriminators are certain; see `AuxiliaryNetworks.model_terms`.
        adversarial_start: steps in which the discriminators learn and give no gradient; the paper has no such phase.
        adversarial_warmup: steps from there to full strength; 500, ours (the paper gives no schedule).
        adversarial_anneal, adversarial_anneal_steps: how the strength returns to zero (`"none"`, `"linear"`,
            `"cosine"`) over the last steps (0: from `adversarial_start` to the end). For phase 3; no annealing in
            phase 2, as the paper.
        auxiliary_learning_rate, auxiliary_every: optimizer of CLUB and the discriminators; a step every k steps (the
            paper's k, without a number). 1e-3 and 1, ours: q has to follow the features it describes.
        auxiliary_hidden: width of their hidden layers; twice the prompt width where `None`.
        discriminator_learning_rate: the discriminators' own rate; `None`: that of CLUB. A lower one lets the model
            keep up with them while q still learns fast.
        discriminator_spectral_norm, discriminator_noise, discriminator_label_smoothing: handicaps of the
            discriminators: a bounded slope, the deviation of noise on their normalised input (features have 1), and
            the target 1 - s for real features. On, 0.1, 0.1; the paper has none.
        discriminator_gradient_penalty: weight of R1 on real features (see `Discriminator.training_loss`); 0 is the
            paper's, useful are 1 to 10.
        club_components: K of the Gaussian mixture (Eq. 5; the paper gives no number). queue_size: features remembered
            as negatives, and mask tokens as the other objects of Eq. 7; 0 compares the objects of a batch.
        club_log_variance_bound: bound of q's log-variance. Without one the likelihood of an exact prediction has no
            maximum; 3, ours: correlations up to .97 are represented.
        club_steps: optimizer steps of q for one of the discriminators; 4, ours: with one, q lags and its estimate
            falls while the prompts do not part. club_start: steps in which q learns and gives no gradient; 50, ours.
        orthogonality_center: Eq. 7 on centred features (a linear HSIC). Off, as printed.
        preprocess_device: SAM-2's large resize and normalisation happen on the device, from the frames' bytes, and not
            in the data workers. Off: on a CPU there is nothing to gain.
        overlay_samples: validation samples that every validation of phases 2 and 3 draws, see `training/overlays.py`.
        early_stopping_patience, early_stopping_threshold: validations in a row that may be no better than the best, by
            more than the threshold, before the training ends; `None` never ends one early.
    """

    phase: str = "decoupling"
    weights: dict[str, float] = _weights(
        language=1.0,
        visual_mask=1.0,
        text_mask=1.0,
        fused_mask=1.0,
        adversarial=0.02,
        club=0.01,
        orthogonality=0.05,
        iou=0.1,
        object_score=0.1,
    )
    muon_learning_rate: float = 0.0
    muon_modules: list[str] = field(default_factory=list)
    trainable: list[str] | None = None
    language_model: str = "lora"
    lora_rank: int = 128
    lora_alpha: int = 256
    lora_dropout: float = 0.0
    warm_start: list[str] = field(default_factory=list)
    text_gradient: str = "full"
    shuffled_share: float = 1.0
    teacher_fraction: float = 0.6
    adversarial_pairing: str = "crossed"
    adversarial_loss: str = "reversal"
    adversarial_start: int = 0
    adversarial_warmup: int = 500
    adversarial_anneal: str = "none"
    adversarial_anneal_steps: int = 0
    auxiliary_learning_rate: float = 1e-3
    auxiliary_every: int = 1
    auxiliary_hidden: int | None = None
    discriminator_learning_rate: float | None = None
    discriminator_spectral_norm: bool = True
    discriminator_noise: float = 0.1
    discriminator_label_smoothing: float = 0.1
    discriminator_gradient_penalty: float = 0.0
    club_components: int = 2
    club_log_variance_bound: float = 3.0
    club_steps: int = 4
    club_start: int = 50
    queue_size: int = 512
    orthogonality_center: bool = False
    preprocess_device: bool = False
    overlay_samples: int = 4
    early_stopping_patience: int | None = None
    early_stopping_threshold: float = 0.0
    remove_unused_columns: bool = False
    report_to: Any = "none"

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, value, allowed in (
            ("phase", self.phase, PHASES),
            ("language_model", self.language_model, ("lora", "full", "frozen")),
            ("text_gradient", self.text_gradient, ("full", "isolated")),
            ("adversarial_pairing", self.adversarial_pairing, ("crossed", "matched", "literal")),
            ("adversarial_loss", self.adversarial_loss, ("reversal", "non_saturating")),
        ):
            if value not in allowed:
                raise ValueError(f"{name}={value!r} is unknown; choose one of {', '.join(allowed)}")
        if wrong := [name for name in self.warm_start if name not in WARM_STARTS]:
            raise ValueError(f"warm_start holds {wrong[0]!r}; choose among {', '.join(WARM_STARTS)}")
        if not 0 <= self.shuffled_share <= 1:
            raise ValueError(f"shuffled_share={self.shuffled_share!r} must be in [0, 1]")
        if not 0 <= self.lora_dropout < 1:
            raise ValueError(f"lora_dropout={self.lora_dropout!r} must be in [0, 1)")
        if self.dataloader_persistent_workers:
            raise ValueError("dataloader_persistent_workers=True would repeat the first epoch's samples: leave it off")
        unknown = sorted(set(self.weights) - set(LOSS_TERMS))
        if unknown:
            raise ValueError(f"weights holds unknown loss terms {unknown}; known are {', '.join(LOSS_TERMS)}")
        negative = {name: weight for name, weight in self.weights.items() if weight < 0}
        if negative:
            raise ValueError(f"loss weights must not be negative, got {negative}")
        self._check_auxiliary()
        self._check_early_stopping()

    def _check_auxiliary(self) -> None:
        self.adversarial_schedule()
        if not 0 <= self.discriminator_label_smoothing < 1:
            raise ValueError(f"discriminator_label_smoothing={self.discriminator_label_smoothing!r} must be in [0, 1)")
        for name, least in (
            ("auxiliary_learning_rate", 0),
            ("auxiliary_every", 1),
            ("auxiliary_hidden", 1),
            ("discriminator_learning_rate", 0),
            ("discriminator_noise", 0),
            ("discriminator_gradient_penalty", 0),
            ("club_components", 1),
            ("club_steps", 1),
            ("club_start", 0),
            ("queue_size", 0),
        ):
            value = getattr(self, name)
            if value is not None and not value >= least:
                raise ValueError(f"{name}={value!r} must be at least {least}")
        if not self.club_log_variance_bound > 0:
            raise ValueError(f"club_log_variance_bound={self.club_log_variance_bound!r} must be positive")

    def _check_early_stopping(self) -> None:
        patience = self.early_stopping_patience
        if patience is None:
            return
        if patience < 1:
            raise ValueError(f"early_stopping_patience={patience!r} must be at least 1")
        if not self.load_best_model_at_end:
            raise ValueError(
                "early_stopping_patience needs load_best_model_at_end=true, else the model is the one that got worse"
            )
        self.restore_callback_states_from_checkpoint = True  # patience that was used up before an interruption

    def adversarial_schedule(self) -> AdversarialSchedule:
        """Strength of the adversarial gradient by step."""
        return AdversarialSchedule(
            self.adversarial_start, self.adversarial_warmup, self.adversarial_anneal, self.adversarial_anneal_steps
        )


__all__ = ["PHASES", "DataArguments", "DeSa2VATrainingArguments", "MaskLossArguments"]
