"""The model's configuration: two nested configurations and what DeSa2VA adds between them.

Enters: any language-model configuration transformers knows, a `Sam2VideoConfig`, and the typed fields below.
Leaves: a validated `DeSa2VAConfig` that is saved with the weights (METHOD: decoupling, fusion, re-prompting,
inference).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from transformers import CONFIG_MAPPING, AutoConfig, PreTrainedConfig, Sam2VideoConfig
from transformers.models.sam2_video.configuration_sam2_video import Sam2VideoMaskDecoderConfig

from .integers import as_integer, is_integer

CHOICES = {
    "prompt_mode": ("desa2va", "sa2va"),
    "projection": ("linear", "mlp"),
    "fusion": ("gate", "mean", "pixel"),
    "temporal": ("none", "motion"),
    "seg_design": ("single", "repetitive", "unique"),
    "key_frames": ("uniform", "first", "all"),
    "seg_states": ("normed", "raw"),
    "track_strategy": ("consistent", "memory", "per_frame"),
}
# Least and most. The most is what no use needs, so that a slip of the keyboard does not run for days.
INTEGERS = {"num_reprompts": (0, 16), "num_seg_frames": (1, 64), "num_key_frames": (1, 1024)}
SWITCHES = ("reprompt_guard", "multimask_output")
THRESHOLDS = ("mask_threshold", "object_score_threshold")
# Of `target_calibration`: what the logistic score weighs, in its order, and all it consists of.
TARGET_EVIDENCE = ("mark_probability", "object_score", "iou_score")
TARGET_CALIBRATION = (*TARGET_EVIDENCE, "bias", "threshold")
SIDE_STEP = 32  # pixels: SAM-2's coarsest map has a place for 16, and its windows are halved once more
_LARGEST, _MOST_LAYERS = 2**32, 1024  # of any number in a nested configuration, and of those that count its layers


class DeSa2VAConfig(PreTrainedConfig):
    """Configuration of `DeSa2VAModel`.

    Args:
        mllm_config (`PreTrainedConfig` or `dict`, *optional*): language model with vision (InternVL, Qwen2.5-VL,
            Qwen3-VL, Qwen3.5); InternVL's defaults when omitted.
        sam_config (`Sam2VideoConfig` or `dict`, *optional*): SAM-2; its defaults (Hiera tiny, 1024 px) when omitted.
        prompt_mode (`str`): `"desa2va"`, or `"sa2va"` for the baseline: one projection, one decoder, no text branch.
        projection (`str`): `"linear"` (paper Eq. 1, 2) or `"mlp"` (Linear, ReLU, Linear: Sa2VA's).
        projection_rank (`int`, *optional*): width of a linear bottleneck in every projection, the label's included; at
            most SAM-2's prompt width. Not with `temporal="motion"`. None: no bottleneck, as in the paper.
        projection_hidden (`int`, *optional*): inner width of `"mlp"`; the language model's width when omitted.
        fusion (`str`): `"gate"` (one gate per object and frame), `"pixel"` (one per pixel), `"mean"`.
        seg_states (`str`): `"normed"` (after the language model's last norm) or `"raw"` (before it, as Sa2VA's
            Qwen3-VL models were trained).
        temporal (`str`): `"none"` (one visual prompt for all frames of a video, the paper's) or `"motion"` (a third
            projection moves it from key frame to key frame; still images never read it).
        num_reprompts (`int`): passes in which the fused mask is the dense prompt of both decoders (paper Eq. 11); 0
            to 16.
        reprompt_guard (`bool`): keep the earlier mask of an object where its predicted IoU is higher.
        seg_design (`str`): `"single"` (one `[SEG]` for all frames), `"repetitive"` (one repeated per frame) or
            `"unique"` (one token of its own per frame); Sa2VA table 12.
        num_seg_frames (`int`): tokens per object; 1 for `"single"`, at most 64.
        seg_token_ids (`list[int]`): ids of the segmentation tokens: one, or `num_seg_frames` for `"unique"`.
        multimask_output (`bool`): language prompts are decoded to three masks and the best by predicted IoU is kept.
        key_frames (`str`): which frames of a video the language model sees: `"uniform"`, `"first"`, `"all"`.
        num_key_frames (`int`): how many; 1 to 1024.
        track_strategy (`str`): `"consistent"`, `"memory"` (Sa2VA's Algorithm 1) or `"per_frame"`.
        mask_threshold (`float`): logit above which a pixel belongs to a mask: in what conditions the tracker, and in
            every result that is not told otherwise.
        object_score_threshold (`float`): logit above which an object is present on a frame; likewise.
        target_calibration (`dict[str, float]`, *optional*): when a request counts as having a target: weights of
            `TARGET_EVIDENCE` (logits), `bias`, and the `threshold` in [0, 1] that their logistic sum has to reach.
            None: every answer with a `[SEG]` does. `desa2va calibrate` fits it.
        answer_draft (`list[int]`, *optional*): token ids, without an end, of what the model was taught to answer where
            it is asked to segment. Such answers are read in one pass and kept as far as the model would say them: a
            matter of time, never of the answer.

    Raises:
        ValueError: a field outside its set or range; the message names field, value and what is allowed.
    """

    model_type = "desa2va"
    sub_configs = {"mllm_config": AutoConfig, "sam_config": Sam2VideoConfig}

    def __init__(
        self,
        mllm_config: PreTrainedConfig | dict[str, Any] | None = None,
        sam_config: PreTrainedConfig | dict[str, Any] | None = None,
        prompt_mode: str = "desa2va",
        projection: str = "linear",
        fusion: str = "gate",
        num_reprompts: int = 1,
        reprompt_guard: bool = True,
        seg_design: str = "single",
        num_seg_frames: int = 1,
        seg_token_ids: list[int] | None = None,
        multimask_output: bool = False,
        key_frames: str = "uniform",
        num_key_frames: int = 5,
        track_strategy: str = "consistent",
        mask_threshold: float = 0.0,
        object_score_threshold: float = 0.0,
        temporal: str = "none",
        seg_states: str = "normed",
        projection_rank: int | None = None,
        projection_hidden: int | None = None,
        target_calibration: dict[str, float] | None = None,
        answer_draft: list[int] | None = None,
        **kwargs: Any,
    ) -> None:
        self.mllm_config = _language_config(mllm_config)
        self.sam_config = _sam_config(sam_config)
        self.prompt_mode = prompt_mode
        self.projection = projection
        self.fusion = fusion
        self.num_reprompts = num_reprompts
        self.reprompt_guard = reprompt_guard
        self.seg_design = seg_design
        self.num_seg_frames = num_seg_frames
        self.seg_token_ids = [] if seg_token_ids is None else seg_token_ids
        self.multimask_output = multimask_output
        self.key_frames = key_frames
        self.num_key_frames = num_key_frames
        self.track_strategy = track_strategy
        self.mask_threshold = mask_threshold
        self.object_score_threshold = object_score_threshold
        self.temporal = temporal
        self.seg_states = seg_states
        self.projection_rank = projection_rank
        self.projection_hidden = projection_hidden
        self.target_calibration = target_calibration
        self.answer_draft = answer_draft
        # peft reads this field of the composite to keep tied embeddings tied (HF issue with nested configurations).
        kwargs["tie_word_embeddings"] = bool(getattr(self.mllm_config, "tie_word_embeddings", False))
        super().__init__(**kwargs)
        self.check()

    def check(self) -> None:
        """Raises `ValueError` naming the first impossible field, its value and what is allowed."""
        for name, allowed in CHOICES.items():
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name}={getattr(self, name)!r} is unknown; choose one of {', '.join(allowed)}")
        for name, (least, most) in INTEGERS.items():
            value = getattr(self, name)
            if not is_integer(value) or not least <= value <= most:
                raise ValueError(f"{name}={value!r:.40} must be an integer from {least} to {most}")
            setattr(self, name, as_integer(value, name))
        for name in SWITCHES:
            if not isinstance(getattr(self, name), bool):
                raise ValueError(f"{name}={getattr(self, name)!r:.40} must be true or false")
        for name in THRESHOLDS:
            if not _is_logit(getattr(self, name)):
                raise ValueError(
                    f"{name}={getattr(self, name)!r:.40} must be a finite number, a logit from -1024 to 1024"
                )
        self._check_calibration()
        self._check_projections()
        self._check_tokens()

    def _check_calibration(self) -> None:
        """All numbers of the calibration are there, and its threshold is one of a probability."""
        given = self.target_calibration
        if given is None:
            return
        if not isinstance(given, dict) or sorted(map(str, given)) != sorted(TARGET_CALIBRATION):
            raise ValueError(f"target_calibration={given!r:.80} must hold {', '.join(TARGET_CALIBRATION)}, or be null")
        for name, value in given.items():
            if not _is_logit(value):
                raise ValueError(f"target_calibration: {name}={value!r:.40} must be a number from -1024 to 1024")
        if not 0 <= given["threshold"] <= 1:
            raise ValueError(f"target_calibration: threshold={given['threshold']!r:.40} must be in [0, 1]")
        self.target_calibration = {name: float(given[name]) for name in TARGET_CALIBRATION}

    def _check_projections(self) -> None:
        """Widths of the projections' inner layers."""
        most = {"projection_rank": self.prompt_dim, "projection_hidden": 65536}
        for name in most:
            value = getattr(self, name)
            if value is None:
                continue
            if not is_integer(value) or not 1 <= value <= most[name]:
                raise ValueError(f"{name}={value!r:.40} must be an integer from 1 to {most[name]}, or null")
            setattr(self, name, as_integer(value, name))
        if self.projection_hidden is not None and self.projection != "mlp":
            raise ValueError(f"projection_hidden={self.projection_hidden} is of projection='mlp'; leave it out")
        if self.projection_rank is not None and self.temporal == "motion":
            raise ValueError(f"projection_rank={self.projection_rank}: temporal='motion' would pass by the bottleneck")

    def _check_tokens(self) -> None:
        """The segmentation tokens fit the design, and they and the draft the vocabulary."""
        self._check_ids("seg_token_ids")
        if self.answer_draft is not None:
            self._check_ids("answer_draft")
        ids = self.seg_token_ids
        if self.seg_design == "single" and self.num_seg_frames != 1:
            raise ValueError(f"seg_design='single' has one token per object, num_seg_frames={self.num_seg_frames}")
        expected = self.num_seg_frames if self.seg_design == "unique" else 1
        if ids and len(ids) != expected:
            raise ValueError(
                f"seg_design={self.seg_design!r} needs {expected} segmentation token ids, got {self.seg_token_ids}"
            )

    def _check_ids(self, name: str) -> None:
        """A field is a list of ids of the vocabulary."""
        ids = getattr(self, name)
        if isinstance(ids, str) or not isinstance(ids, Iterable) or not all(map(is_integer, ids)):
            raise ValueError(f"{name}={ids!r:.60} must be a list of integers")
        setattr(self, name, [as_integer(token, name) for token in ids])
        vocabulary = self.get_text_config().vocab_size
        for token in getattr(self, name):
            if not 0 <= token < vocabulary:
                raise ValueError(f"{name} holds {token}, outside the vocabulary of {vocabulary} tokens")

    def get_text_config(self, *args: Any, **kwargs: Any) -> PreTrainedConfig:
        """The language model's own configuration (generation and peft read the vocabulary from it)."""
        return self.mllm_config.get_text_config(*args, **kwargs)

    @property
    def prompt_dim(self) -> int:
        """Width `C` of SAM-2's prompt tokens."""
        return self.sam_config.prompt_encoder_config.hidden_size

    @property
    def image_size(self) -> int:
        """Side of SAM-2's square input, pixels. No weight has its size in it, so a trained model can be given another
        one: it is worth training on there.
        """
        return self.sam_config.image_size

    @image_size.setter
    def image_size(self, side: int) -> None:
        if not is_integer(side) or side % SIDE_STEP or not 2 * SIDE_STEP <= side <= 4096:
            raise ValueError(f"image_size={side!r:.60} must be a multiple of {SIDE_STEP} from {2 * SIDE_STEP} to 4096")
        sam, old = self.sam_config, self.sam_config.image_size
        grids = [[part * side // old for part in grid] for grid in sam.vision_config.backbone_feature_sizes]
        sam.vision_config.backbone_feature_sizes = grids
        sam.vision_config.backbone_config.image_size = [side, side]
        sam.memory_attention_rope_feat_sizes = [part * side // old for part in sam.memory_attention_rope_feat_sizes]
        sam.prompt_encoder_config.image_size = sam.image_size = side

    @property
    def mask_size(self) -> int:
        """Side `h = w` of SAM-2's low-resolution mask logits, pixels."""
        return 4 * self.sam_config.image_size // self.sam_config.prompt_encoder_config.patch_size


def _is_logit(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and -1024 <= value <= 1024


def _language_config(value: PreTrainedConfig | dict[str, Any] | None) -> PreTrainedConfig:
    if isinstance(value, PreTrainedConfig):
        return value
    value = _section("mllm_config", value)
    model_type = value.pop("model_type", "internvl")
    if not isinstance(model_type, str) or model_type not in CONFIG_MAPPING:
        raise ValueError(f"mllm_config: transformers knows no model_type {model_type!r:.60}")
    with _named("mllm_config"):
        return AutoConfig.for_model(model_type, **value)


def _sam_config(value: PreTrainedConfig | dict[str, Any] | None) -> Sam2VideoConfig:
    if isinstance(value, PreTrainedConfig):
        return value
    value = _section("sam_config", value)
    with _named("sam_config"):
        if isinstance(value.get("mask_decoder_config"), dict):
            # transformers 5.17 turns this dict into a prompt encoder's configuration.
            value["mask_decoder_config"] = Sam2VideoMaskDecoderConfig(**value["mask_decoder_config"])
        return Sam2VideoConfig(**value)


def _section(name: str, value: Any) -> dict[str, Any]:
    """A copy of a nested configuration, none of whose numbers is absurd: a billion layers are built for ever."""
    if value is not None and not isinstance(value, dict):
        raise ValueError(f"{name} must be a configuration or a dictionary, got {type(value).__name__}")
    _check_sizes(name, value)
    return dict(value or {})


def _check_sizes(name: str, value: Any) -> None:
    """Raises `ValueError` naming a number that is larger than anything that can be built."""
    waiting = [(name, value)]
    while waiting:
        name, value = waiting.pop()
        if isinstance(value, dict):
            waiting += [(f"{name}.{key}", inner) for key, inner in value.items()]
        elif isinstance(value, list | tuple):
            waiting += [(name, inner) for inner in value]
        elif isinstance(value, int | float) and not isinstance(value, bool) and abs(value) != math.inf:
            counts_layers = re.search(r"layers|depth|blocks|stages", name.rsplit(".", 1)[-1])
            if not abs(value) <= (_MOST_LAYERS if counts_layers else _LARGEST):
                raise ValueError(f"{name:.200}={value!r:.40} is larger than anything that can be built")


@contextmanager
def _named(name: str) -> Iterator[None]:
    """Names the section in whatever transformers' own checks raise, which is of many kinds."""
    try:
        yield
    except Exception as error:
        raise ValueError(f"{name} can not be read ({type(error).__name__}: {error})") from error


__all__ = ["TARGET_EVIDENCE", "DeSa2VAConfig"]
