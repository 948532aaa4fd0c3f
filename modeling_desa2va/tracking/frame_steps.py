"""One frame of tracking, and a whole clip of it for training (METHOD sections 2, 5 and 6).

Enters: encoded frames and the masks, clicks or language tokens that start each object. Leaves: mask logits, predicted
IoU and object score of every object. An object is either prompted on a frame or followed there from its memories, and
what was found is remembered (`FrameSteps`). `propagate_training` strings the steps together over short clips, with
gradients.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from desa2va.modeling_desa2va.outputs import ClipPrediction, ImageFeatures, MaskPrediction
from desa2va.modeling_desa2va.precision import inference_autocast
from desa2va.modeling_desa2va.segmenter import DeSa2VASegmenter

from .memory import (
    ABSENT_LOGIT,
    PROMPT_BIAS,
    PROMPT_SCALE,
    MemoryBank,
    binary_masks,
    condition_on_memory,
    encode_memory,
    object_pointer,
    resize_logits,
)


@dataclass
class Observation:
    """What one frame tells about n objects.

    Attributes:
        prediction: the decoder's raw answer (n pairs).
        logits: (n, h, w), or (n, S, S) for mask prompts: the mask that is remembered.
        reported: the same before the object score emptied it: whether an object is shown, its reader decides.
        object_score: (n,) presence logit that goes with it.
        pointer: (n, C) object pointer.
        prompted: the objects were given on this frame, not followed to it.
    """

    prediction: MaskPrediction
    logits: torch.Tensor
    reported: torch.Tensor
    object_score: torch.Tensor
    pointer: torch.Tensor
    prompted: bool = False


class FrameSteps:
    """Prompts, follows and remembers objects on single frames; SAM-2's own rules unless told otherwise.

    Everywhere below, `features` are encodings of F frames, `rows` (n,) long is the row of `features` for every object,
    and `objects` are the objects' n numbers in the memory bank.

    Args:
        segmenter: holds the pristine SAM-2.
        decoder: mask decoder; SAM-2's own when omitted.
        multimask: decode three masks and keep the best by predicted IoU; SAM-2's rule when omitted.
        gate_masks: a mask is remembered as empty where the object scores as absent.
        binarize_prompts: prompted frames are remembered as hard masks; only at inference when omitted.
    """

    def __init__(
        self,
        segmenter: DeSa2VASegmenter,
        decoder: nn.Module | None = None,
        multimask: bool | None = None,
        gate_masks: bool = True,
        binarize_prompts: bool | None = None,
    ) -> None:
        self.segmenter, self.sam = segmenter, segmenter.sam
        self.decoder = segmenter.sam.mask_decoder if decoder is None else decoder
        self.multimask, self.gate_masks = multimask, gate_masks
        self.binarize_prompts = not segmenter.sam.training if binarize_prompts is None else binarize_prompts

    def prompt_masks(self, features: ImageFeatures, rows: torch.Tensor, masks: torch.Tensor) -> Observation:
        """Starts objects from masks (n, H, W) in {0, 1} that are taken as true; an empty one says "absent".

        SAM-2 decodes them once more only to get the pointers: the token of the single mask gives them, as where SAM-2
        was trained (transformers' port takes that of the best of three masks).
        """
        sam, dtype = self.sam, features.low.dtype
        masks = binary_masks(masks.to(features.low.device), sam.image_size)
        with inference_autocast(sam):
            dense = sam.mask_downsample(masks[:, None].to(dtype))[:, 0]
        prediction = self.segmenter.decode(
            self.decoder,
            features,
            rows,
            dense_masks=resize_logits(dense, sam.prompt_encoder.mask_input_size, antialias=True),
            image_embeddings=features.low[rows],
            multimask=False,
        )
        score = PROMPT_SCALE * masks.flatten(1).amax(1) + PROMPT_BIAS
        # SAM-2 believes its own score and the mask: the pointer says "present" only where both do.
        pointer = object_pointer(sam, prediction.tokens, torch.minimum(score, prediction.object_score.float()))
        logits = PROMPT_SCALE * masks + PROMPT_BIAS
        return Observation(prediction, logits, logits, score, pointer, prompted=True)

    def prompt_points(
        self,
        features: ImageFeatures,
        rows: torch.Tensor,
        points: tuple[torch.Tensor, torch.Tensor] | None = None,
        boxes: torch.Tensor | None = None,
    ) -> Observation:
        """Starts objects from clicks ((n, k, 2) SAM pixels, (n, k) labels) and/or boxes (n, 4) xyxy SAM pixels."""
        count = (0 if points is None else points[1].shape[1]) + (0 if boxes is None else 2)
        multimask = self._use_multimask(count, prompted=True)
        prediction = self.segmenter.decode(
            self.decoder, features, rows, points=points, boxes=boxes, multimask=multimask
        )
        return self._observe(prediction, prompted=True)

    def prompt_language(self, features: ImageFeatures, rows: torch.Tensor, prompts: torch.Tensor) -> Observation:
        """Starts objects from language tokens (n, K, C)."""
        multimask = self._use_multimask(0, prompted=True)
        prediction = self.segmenter.decode(self.decoder, features, rows, prompts, multimask=multimask)
        return self._observe(prediction, prompted=True)

    def follow(
        self,
        features: ImageFeatures,
        rows: torch.Tensor,
        bank: MemoryBank,
        frame: int,
        objects: list[int],
        reverse: bool = False,
    ) -> Observation:
        """Finds objects again on `frame` from their memories in `bank`; `reverse` when walking the video backwards."""
        place = {number: index for index, number in enumerate(objects)}
        conditioned, order = [], []
        for members, memories, pointers in bank.groups(frame, objects, reverse):
            index = [place[number] for number in members]
            recalled = bank.recall(memories, members), bank.recall(pointers, members, pointers=True)
            # With one group, the usual case, nothing is to be picked out or put back in order.
            shown = rows if len(members) == len(objects) else rows[index]
            low = features.low if len(features.low) == 1 else features.low[shown]
            conditioned.append(condition_on_memory(self.sam, low, features.position, *recalled, bank.pointer_span))
            order.extend(index)
        prediction = self.segmenter.decode(
            self.decoder,
            features,
            rows,
            image_embeddings=_in_order(conditioned, order),
            multimask=self._use_multimask(0, prompted=False),
        )
        return self._observe(prediction)

    def remember(
        self,
        features: ImageFeatures,
        rows: torch.Tensor,
        observation: Observation,
        bank: MemoryBank,
        frame: int,
        objects: list[int],
    ) -> None:
        """Writes an observation of objects on `frame` into `bank`."""
        memory = self.memorize(features, rows, observation)
        bank.add(frame, objects, memory, observation.pointer, observation.prompted)

    def memorize(self, features: ImageFeatures, rows: torch.Tensor, observation: Observation) -> torch.Tensor:
        """Memory features (n, g*g, M) of an observation, whose objects may be on different frames."""
        return encode_memory(
            self.sam,
            features.low if len(features.low) == 1 else features.low[rows],
            observation.logits,
            observation.object_score,
            binarize=observation.prompted and self.binarize_prompts,
        )

    def teach(self, observation: Observation, masks: torch.Tensor, probability: float) -> None:
        """Replaces, with `probability` for every object, what will be remembered by the truth (n, H, W) in {0, 1}."""
        taught = torch.rand(len(masks), device=observation.object_score.device) < probability
        truth = binary_masks(masks.to(taught.device), self.sam.image_size)
        score = PROMPT_SCALE * truth.flatten(1).amax(1) + PROMPT_BIAS
        predicted = resize_logits(observation.logits.float(), self.sam.image_size)
        observation.logits = torch.where(taught[:, None, None], PROMPT_SCALE * truth + PROMPT_BIAS, predicted)
        observation.object_score = torch.where(taught, score, observation.object_score.float())
        observation.pointer = object_pointer(self.sam, observation.prediction.tokens, observation.object_score)

    def _observe(self, prediction: MaskPrediction, prompted: bool = False) -> Observation:
        """SAM-2's rule, which its memory was trained with, so no configuration changes it: where the score logit is
        not positive, an empty mask and the no-object pointer are remembered.
        """
        logits, score = prediction.logits, prediction.object_score
        pointer = object_pointer(self.sam, prediction.tokens, score)
        remembered = gate(logits, score) if self.gate_masks else logits
        return Observation(prediction, remembered, logits, score, pointer, prompted)

    def _use_multimask(self, num_points: int, prompted: bool) -> bool:
        """SAM-2's rule for when three masks are decoded and the best by predicted IoU is kept."""
        if self.multimask is not None:
            return self.multimask
        config = self.sam.config
        allowed = config.multimask_output_in_sam and (prompted or config.multimask_output_for_tracking)
        return bool(allowed and config.multimask_min_pt_num <= num_points <= config.multimask_max_pt_num)


def _in_order(parts: list[torch.Tensor], order: list[int]) -> torch.Tensor:
    """Rows of several tensors as one, where `order[i]` is the place of the i-th row."""
    joined = parts[0] if len(parts) == 1 else torch.cat(parts)
    if order == list(range(len(order))):
        return joined
    return joined[torch.tensor(order, device=joined.device).argsort()]


def gate(logits: torch.Tensor, object_score: torch.Tensor, threshold: float = 0.0) -> torch.Tensor:
    """Mask logits (P, h, w), `ABSENT_LOGIT` throughout where the presence logit (P,) is not above `threshold`, which
    for what is remembered is SAM-2's 0.
    """
    return torch.where(object_score[:, None, None] > threshold, logits, torch.full_like(logits, ABSENT_LOGIT))


def propagate_training(
    segmenter: DeSa2VASegmenter,
    features: ImageFeatures,
    frame_table: torch.Tensor,
    first_masks: torch.Tensor,
    teacher_masks: torch.Tensor | None = None,
    teacher_probability: float = 0.0,
    num_frames: int | None = None,
) -> ClipPrediction:
    """Follows the objects of several clips at once, with gradients through the memory.

    The first frame is prompted with `first_masks`; the others are predicted from memory. What is remembered of a frame
    is the prediction (emptied where the predicted object score is negative, as at inference) or, by chance, the truth.

    Args:
        segmenter: holds SAM-2, whose own decoder and memory are used.
        features: encodings of all F frames of the batch, from `segmenter.encode_frames`.
        frame_table: (O, T) long; row of `features` that shows object o at step t. Reversed rows train going backwards.
        first_masks: (O, H, W) in {0, 1}, any size: the truth at step 0.
        teacher_masks: (O, T, H, W) in {0, 1}, any size; needed where `teacher_probability` is positive.
        teacher_probability: in [0, 1]; chance, for every object and step, that the truth is remembered.
        num_frames: video length that the pointers' time encoding assumes, T when omitted. Clips shorter than
            `max_object_pointers_in_encoder` see other time encodings than the videos at inference unless it is given.

    Returns:
        `ClipPrediction`; step 0 holds SAM-2's decoding of the mask prompt.

    Raises:
        ValueError: shapes that do not fit, a probability outside [0, 1], or one without teacher masks.
    """
    _check_clip(frame_table, first_masks, teacher_masks, teacher_probability)
    count, length = frame_table.shape
    objects = list(range(count))
    steps = FrameSteps(segmenter)
    bank = MemoryBank(segmenter.sam, num_frames or length)
    predictions = []
    for time in range(length):
        shown, rows = frame_table[:, time].unique(return_inverse=True)
        frames = features.select(shown)
        if time == 0:
            observation = steps.prompt_masks(frames, rows, first_masks)
        else:
            observation = steps.follow(frames, rows, bank, time, objects)
        predictions.append(observation.prediction)
        if time + 1 < length:
            if time > 0 and teacher_probability > 0:
                steps.teach(observation, teacher_masks[:, time], teacher_probability)
            steps.remember(frames, rows, observation, bank, time, objects)
            bank.forget(time + 1)
    return ClipPrediction(
        logits=torch.stack([prediction.logits for prediction in predictions], dim=1),
        iou=torch.stack([prediction.iou for prediction in predictions], dim=1),
        object_score=torch.stack([prediction.object_score for prediction in predictions], dim=1),
    )


def _check_clip(
    frame_table: torch.Tensor, first_masks: torch.Tensor, teacher_masks: torch.Tensor | None, probability: float
) -> None:
    if frame_table.ndim != 2 or first_masks.ndim != 3 or len(first_masks) != len(frame_table) or not len(first_masks):
        raise ValueError(
            f"frame_table must be (O, T) and first_masks (O, H, W) with the same O >= 1, got "
            f"{tuple(frame_table.shape)} and {tuple(first_masks.shape)}"
        )
    if not 0.0 <= probability <= 1.0:
        raise ValueError(f"teacher_probability={probability} must be in [0, 1]")
    if probability > 0 and (teacher_masks is None or teacher_masks.shape[:2] != frame_table.shape):
        shape = None if teacher_masks is None else tuple(teacher_masks.shape)
        raise ValueError(f"teacher_masks must be (O, T, H, W) for (O, T) = {tuple(frame_table.shape)}, got {shape}")


__all__ = ["FrameSteps", "Observation", "gate", "propagate_training"]
