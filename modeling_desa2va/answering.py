"""From a request to an answer with masks on every frame (METHOD section 6).

Enters: a batch of `DeSa2VAProcessor`. Leaves: `DeSa2VAGenerateOutput`. The language model answers; the states of its
`[SEG]` tokens prompt the key frames; the tracker carries the masks to the other frames. Clicks alone go to pristine
SAM-2 without any language.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from .decoupling import Prompts
from .generation import TASKS, SegmentationTokenControl, StopAfterStateOfLastToken, record_last_states
from .objects import Pairs, pair_with_frames, time_between
from .outputs import DeSa2VAGenerateOutput, ImageFeatures, MaskPass, MaskPrediction
from .track_strategies import TrackRequest, track_objects
from .tracker import FramePrompt, MemoryTracker, encode_lazily
from .tracking import ClipPrediction

DECODE_BATCH = 64
ENCODE_BATCH = 8


@dataclass
class Answer:
    """What the language model said.

    Attributes:
        sequences: (B, n) new ids. object_sequence: (O,). seg_states: (O, S, D). seg_probability: (O,).
    """

    sequences: torch.Tensor
    object_sequence: torch.Tensor
    seg_states: torch.Tensor
    seg_probability: torch.Tensor


@dataclass
class Visual:
    """One picture or video: its key frames in the batch, and access to the other frames.

    Attributes:
        rows: (K,) its rows of `sam_pixel_values`. key_frames: their frame numbers. num_frames: T.
        read: yields SAM-2 pixels (3, S, S) of the frames asked for, in order.
    """

    rows: torch.Tensor
    key_frames: list[int]
    num_frames: int
    read: Callable[[Sequence[int]], Iterator[torch.Tensor]]


class AnsweringMixin(nn.Module):
    """`generate` for `DeSa2VAModel`."""

    @torch.no_grad()
    def generate(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        sam_pixel_values: torch.Tensor | None = None,
        sam_frame_visual: torch.Tensor | None = None,
        sequence_visual: torch.Tensor | None = None,
        visuals: list[Any] | None = None,
        task: str = "auto",
        return_branches: bool = False,
        **inputs: Any,
    ) -> DeSa2VAGenerateOutput:
        """Answers every sequence of a batch and decodes every `[SEG]` of the answers on all frames.

        Args:
            input_ids, attention_mask: (B, N), left-padded; absent where clicks alone are given.
            sam_pixel_values: (F, 3, S, S) key frames. sam_frame_visual: (F,). sequence_visual: (B,).
            visuals: one `VisualInfo` per visual; without it the key frames are taken for the whole visual.
            task: `"auto"`, `"segment"` (a `[SEG]` is forced where the model gives none), `"chat"` (forbidden),
                `"gcg"`.
            return_branches: also return the text and the visual mask on key frames.
            inputs: the language model's vision inputs, prompts (`prompt_points`, ...), and generation arguments
                (`max_new_tokens`, 512 when omitted; `do_sample`, `streamer`, ...).

        Raises:
            ValueError: an unknown task, beams, or several answers per sequence.
        """
        if task not in TASKS:
            raise ValueError(f"task={task!r} is unknown; choose one of {', '.join(TASKS)}")
        if self.training:
            raise ValueError("generate needs eval mode: call .eval() on the model first")
        shown = _visuals(visuals, sam_frame_visual)
        prompts = {name: inputs.pop(name) for name in list(inputs) if name.startswith("prompt_")}
        inputs.pop("texts", None)
        if input_ids is None:
            return self._follow_clicks(prompts, sam_pixel_values, shown)
        answer = self._answer(input_ids, attention_mask, task, inputs)
        output = DeSa2VAGenerateOutput(
            sequences=answer.sequences,
            object_sequence=answer.object_sequence.cpu(),
            seg_probability=answer.seg_probability,
            track_logits=[],
            track_iou=[],
            track_object_score=[],
        )
        if sam_pixel_values is not None and len(answer.object_sequence):
            self._segment(answer, output, sam_pixel_values, sam_frame_visual, sequence_visual, shown, return_branches)
        else:
            output.object_sequence = output.object_sequence[:0]
            output.seg_probability = output.seg_probability[:0]
        return output

    # ------------------------------------------------------------------------------------------------ language

    def _answer(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None, task: str, inputs: dict[str, Any]
    ) -> Answer:
        vision = {
            name: inputs.pop(name, None)
            for name in ("pixel_values", "image_index", "num_tiles", "image_grid_thw", "mm_token_type_ids")
        }
        options = self._generation_options(inputs)
        limit = options.pop("max_new_tokens")
        device = self.get_input_embeddings().weight.device
        vision = {name: value.to(device) for name, value in vision.items() if value is not None}
        language = self.language_inputs(input_ids.to(device), **vision)
        prompt_length = input_ids.shape[1] if "input_ids" in language else 0
        config = self.config
        control = SegmentationTokenControl(
            config.seg_token_ids, config.num_seg_frames, _as_list(options["eos_token_id"]), task, limit
        )
        with record_last_states(self.get_output_embeddings()) as states:
            sequences = self.mllm.generate(
                **language,
                attention_mask=None if attention_mask is None else attention_mask.to(device),
                # One step beyond the limit, so that a last [SEG] gets its state; the criterion stops all other rows.
                max_new_tokens=limit + 1,
                stopping_criteria=[StopAfterStateOfLastToken(config.seg_token_ids, prompt_length, limit)],
                logits_processor=[control],
                **options,
            )[:, prompt_length:]
        return self._pick_up(sequences[:, :limit], torch.stack(states), torch.stack(control.probabilities))

    def _generation_options(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """Greedy by default, with the tokenizer's end and padding tokens."""
        if inputs.get("num_beams", 1) != 1 or inputs.get("num_return_sequences", 1) != 1:
            raise ValueError("masks need one answer per sequence: num_beams and num_return_sequences must be 1")
        text, stored = self.config.get_text_config(), self.mllm.generation_config
        eos = stored.eos_token_id if stored.eos_token_id is not None else text.eos_token_id
        pad = next(value for value in (stored.pad_token_id, text.pad_token_id, _as_list(eos)[0]) if value is not None)
        defaults = {"max_new_tokens": 512, "do_sample": False, "eos_token_id": eos, "pad_token_id": pad}
        return {**defaults, **inputs}

    def _pick_up(self, sequences: torch.Tensor, states: torch.Tensor, probabilities: torch.Tensor) -> Answer:
        """States (n + 1, B, D) of the segmentation tokens in (B, n) new ids; see `record_last_states` for the
        shift.
        """
        size = self.config.num_seg_frames
        is_seg = torch.isin(sequences, torch.tensor(self.config.seg_token_ids, device=sequences.device))
        # The budget may have cut a group short; what is incomplete is no object.
        complete = is_seg & (is_seg.cumsum(dim=1) <= (is_seg.sum(dim=1, keepdim=True) // size) * size)
        rows, columns = complete.nonzero(as_tuple=True)
        groups = columns.reshape(-1, size)
        owners = rows[::size]
        return Answer(
            sequences=sequences,
            object_sequence=owners,
            seg_states=states[groups + 1, owners[:, None]],
            seg_probability=probabilities[groups[:, 0].cpu(), owners.cpu()],
        )

    # ------------------------------------------------------------------------------------------------ masks

    def _segment(
        self,
        answer: Answer,
        output: DeSa2VAGenerateOutput,
        sam_pixel_values: torch.Tensor,
        sam_frame_visual: torch.Tensor,
        sequence_visual: torch.Tensor,
        shown: list[Visual],
        return_branches: bool,
    ) -> None:
        """Decodes all objects on their key frames at once, then tracks visual by visual."""
        device = self.segmenter.sam.device
        sequence = answer.object_sequence.to(device)
        prompts = self.decoupling.prompts(answer.seg_states.to(self.decoupling.visual.layers[0].weight)).to(device)
        features = self.segmenter.encode_frames(sam_pixel_values.to(device), ENCODE_BATCH)
        pairs = pair_with_frames(
            sequence, self.config.num_seg_frames, sam_frame_visual.to(device), sequence_visual.to(device)
        )
        masks, branches = self._decode_pairs(features, pairs, prompts)
        owner = sequence_visual.to(device)[sequence]
        output.track_logits = [torch.zeros(0)] * len(sequence)
        output.track_iou, output.track_object_score = list(output.track_logits), list(output.track_logits)
        if return_branches:
            output.visual_logits = _per_object(branches.visual.logits, pairs.object, len(sequence))
            if branches.text is not None:
                output.text_logits = _per_object(branches.text.logits, pairs.object, len(sequence))
        for number, entry in enumerate(shown):
            objects = (owner == number).nonzero()[:, 0]
            if len(objects):
                key_features = features.select(entry.rows.to(device))
                self._track(entry, objects, key_features, _of_objects(masks, pairs, objects), prompts, output)

    def _decode_pairs(
        self,
        features: ImageFeatures,
        pairs: Pairs,
        prompts: Prompts,
    ) -> tuple[MaskPrediction, MaskPass]:
        """Masks kept for P pairs and the last pass' branches, in pieces of bounded size."""
        kept, last = [], []
        levels = self.segmenter.language_levels(features)
        for piece in torch.arange(len(pairs.object), device=pairs.object.device).split(DECODE_BATCH):
            text, visual = prompts.at(pairs.object[piece], pairs.token[piece], pairs.time[piece])
            passes, best = self.decode_prompts(features, pairs.frame[piece], text, visual, levels=levels)
            kept.append(best)
            last.append(passes[-1])
        has_text = last[0].text is not None
        branches = MaskPass(
            visual=_concatenate([part.visual for part in last]),
            text=_concatenate([part.text for part in last]) if has_text else None,
        )
        return _concatenate(kept), branches

    def _track(
        self,
        shown: Visual,
        objects: torch.Tensor,
        key_features: ImageFeatures,
        key_masks: ClipPrediction,
        prompts: Prompts,
        output: DeSa2VAGenerateOutput,
    ) -> None:
        """All frames of one visual for its objects; a picture needs no tracker."""
        tracks = key_masks
        if shown.num_frames > 1:
            request = TrackRequest(
                num_frames=shown.num_frames,
                encode=encode_lazily(self.segmenter, shown.read),
                key_frames=shown.key_frames,
                key_masks=key_masks,
                key_features=key_features,
                prompts=lambda frame: _visual_tokens(prompts, objects, time_between(frame, shown.key_frames)),
                decode=lambda features, frame: self._decode_frame(
                    features, prompts, objects, time_between(frame, shown.key_frames)
                ),
            )
            tracks = track_objects(
                self.segmenter,
                request,
                self.config.track_strategy,
                self.config.mask_threshold,
                self.config.object_score_threshold,
            )
        for row, number in enumerate(objects.tolist()):
            output.track_logits[number] = tracks.logits[row].clamp(-1024, 1024).to("cpu", torch.float16)
            output.track_iou[number] = tracks.iou[row].float().cpu()
            output.track_object_score[number] = tracks.object_score[row].float().cpu()

    def _decode_frame(
        self, features: ImageFeatures, prompts: Prompts, objects: torch.Tensor, time: float
    ) -> MaskPrediction:
        """The language prompts of all objects on one more frame (`per_frame`)."""
        rows = torch.zeros_like(objects)
        last = torch.full_like(objects, prompts.visual.shape[1] - 1)
        text, visual = prompts.at(objects, last, torch.full_like(objects, time, dtype=torch.float32))
        return self.decode_prompts(features, rows, text, visual)[1]

    # ------------------------------------------------------------------------------------------------ clicks

    def _follow_clicks(
        self, prompts: dict[str, torch.Tensor], sam_pixel_values: torch.Tensor, shown: list[Visual]
    ) -> DeSa2VAGenerateOutput:
        """Points, boxes and masks without words: pristine SAM-2 on the first key frame, its tracker on the others."""
        if not prompts:
            raise ValueError("generate needs token ids (a text) or prompts (points, boxes, masks); got neither")
        device = self.segmenter.sam.device
        owner = prompts["prompt_visual"]
        output = DeSa2VAGenerateOutput(
            sequences=torch.zeros(len(shown), 0, dtype=torch.long),
            object_sequence=owner,
            seg_probability=torch.ones(len(owner)),
            track_logits=[torch.zeros(0)] * len(owner),
            track_iou=[torch.zeros(0)] * len(owner),
            track_object_score=[torch.zeros(0)] * len(owner),
        )
        for number, entry in enumerate(shown):
            objects = (owner == number).nonzero()[:, 0].tolist()
            if not objects:
                continue
            first = sam_pixel_values[entry.rows[:1]].to(device)
            known = {entry.key_frames[0]: self.segmenter.encode_frames(first)}
            start = {entry.key_frames[0]: _frame_prompts(prompts, objects, device)}
            tracks = MemoryTracker(self.segmenter).track(
                encode_lazily(self.segmenter, entry.read), start, entry.num_frames, len(objects), known=known
            )
            for row, place in enumerate(objects):
                output.track_logits[place] = tracks.logits[row]
                output.track_iou[place] = tracks.iou[row]
                output.track_object_score[place] = tracks.object_score[row]
        return output


def _frame_prompts(prompts: dict[str, torch.Tensor], objects: list[int], device: torch.device) -> list[FramePrompt]:
    """One `FramePrompt` per object: a mask where there is one, else its clicks and box."""
    result = []
    for row, number in enumerate(objects):
        given = prompts["prompt_given"][number].tolist()
        if given[2]:
            masks = (prompts["prompt_masks"][number : number + 1] > 0).float().to(device)
            result.append(FramePrompt([row], masks=masks))
            continue
        points = None
        if given[0]:
            points = tuple(
                prompts[name][number : number + 1].to(device) for name in ("prompt_points", "prompt_point_labels")
            )
        boxes = prompts["prompt_boxes"][number : number + 1].to(device) if given[1] else None
        result.append(FramePrompt([row], points=points, boxes=boxes))
    return result


def _visuals(visuals: list[Any] | None, frame_visual: torch.Tensor | None) -> list[Visual]:
    """Every visual of the batch with its rows of the SAM-2 frames."""
    if frame_visual is None:
        return []
    shown = []
    for number in range(int(frame_visual.max()) + 1 if len(frame_visual) else 0):
        rows = (frame_visual == number).nonzero()[:, 0].cpu()
        if visuals is None:
            shown.append(Visual(rows, list(range(len(rows))), len(rows), lambda frames: iter(())))
        else:
            info = visuals[number]
            shown.append(Visual(rows, list(info.key_frames), info.num_frames, _reader(info)))
    return shown


def _reader(info: Any) -> Callable[[Sequence[int]], Iterator[torch.Tensor]]:
    """Reads the frames asked for (all rising or all falling) in one sweep of the source."""

    def read(frames: Sequence[int]) -> Iterator[torch.Tensor]:
        """SAM-2 pixels of the frames asked for; `Visual.read`."""
        if not frames:
            return
        step = 1 if frames[-1] >= frames[0] else -1
        stop = frames[-1] + step
        wanted = set(frames)
        sweep = info.iterate_sam_frames(frames[0], None if stop < 0 else stop, step)
        for number, pixels in zip(range(frames[0], stop, step), sweep, strict=False):
            if number in wanted:
                yield pixels

    return read


def _concatenate(parts: list[MaskPrediction]) -> MaskPrediction:
    """Several pieces as one."""
    return MaskPrediction(**{name: torch.cat([part[name] for part in parts]) for name in parts[0]})


def _of_objects(masks: MaskPrediction, pairs: Pairs, objects: torch.Tensor) -> ClipPrediction:
    """The masks (P, ...) of some objects of one visual as (objects, K, ...)."""
    mine = torch.isin(pairs.object, objects)
    parts = (masks[name][mine].unflatten(0, (len(objects), -1)) for name in ("logits", "iou", "object_score"))
    return ClipPrediction(*parts)


def _visual_tokens(prompts: Prompts, objects: torch.Tensor, time: float) -> torch.Tensor:
    """All S visual tokens (objects, S, C) of some objects at time t (`memory`)."""
    tokens = torch.arange(prompts.visual.shape[1], device=objects.device).repeat(len(objects))
    owners = objects.repeat_interleave(prompts.visual.shape[1])
    flat = prompts.at(owners, tokens, torch.full_like(owners, time, dtype=torch.float32))[1]
    return flat.unflatten(0, (len(objects), -1))


def _per_object(logits: torch.Tensor, pair_object: torch.Tensor, count: int) -> list[torch.Tensor]:
    """(P, h, w) -> O tensors (K, h, w) on the CPU."""
    return [logits[pair_object == number].float().cpu() for number in range(count)]


def _as_list(value: int | list[int]) -> list[int]:
    return list(value) if isinstance(value, (list, tuple)) else [value]


__all__ = ["AnsweringMixin"]
