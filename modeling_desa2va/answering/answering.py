"""From a request to an answer with masks on every frame (METHOD section 6).

Enters: a batch of `DeSa2VAProcessor`. Leaves: `KeyFrameAnswer`, what the language model says and sees on the key
frames; or `DeSa2VAGenerateOutput`, the same carried to every frame. The language model answers; the states of its
`[SEG]` tokens prompt the key frames; the tracker carries the masks to the other frames. Clicks alone go to pristine
SAM-2 without any language.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Set
from typing import Any

import torch

from desa2va.modeling_desa2va.decoupling import Prompts
from desa2va.modeling_desa2va.devices import execution_device
from desa2va.modeling_desa2va.language import VISION_INPUTS, Answer, LanguageAnswerMixin, generation_settings
from desa2va.modeling_desa2va.objects import Pairs, pair_with_frames, time_between
from desa2va.modeling_desa2va.outputs import (
    ClipPrediction,
    DeSa2VAGenerateOutput,
    ImageFeatures,
    KeyFrameAnswer,
    MaskPass,
    MaskPrediction,
    VisualAnswer,
)
from desa2va.modeling_desa2va.tracking import (
    BatchedEncoder,
    FrameEncoder,
    TrackedFrame,
    TrackRequest,
    Visual,
    batch_visuals,
    collect_tracks,
    encode_lazily,
    join_features,
    pairs_at_once,
    tracked_frame,
    walk_objects,
)
from desa2va.processing.files import MaskOptions
from desa2va.processing.inputs import task_of_each

from .click_answers import PROMPT_INPUTS, follow_clicks
from .target_scores import judge_targets
from .verification import verify_masks

_TOLD = ("texts", "requests")  # of a batch: for people, not for a model
# Of the answer on the key frames, what the output holds as it is.
_KEPT = ("sequences", "object_sequence", "seg_probability", "seg_forced", "scores", "logits")
_KEPT += ("text_logits", "visual_logits", "fused_logits", "gates", "target_evidence", "target_score", "agreement")


class AnsweringMixin(LanguageAnswerMixin):
    """`generate` and its first half, `answer_key_frames`, for `DeSa2VAModel`."""

    @torch.no_grad()
    def generate(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        sam_pixel_values: torch.Tensor | None = None,
        sam_frame_visual: torch.Tensor | None = None,
        sequence_visual: torch.Tensor | None = None,
        visuals: list[Any] | None = None,
        task: str | list[str] = "auto",
        return_branches: bool = False,
        verify: bool = False,
        **inputs: Any,
    ) -> DeSa2VAGenerateOutput:
        """Answers every sequence of a batch and decodes every `[SEG]` of the answers on all frames.

        Args:
            input_ids, attention_mask: (B, N), left-padded; absent where clicks alone are given.
            sam_pixel_values: (F, 3, S, S) key frames. sam_frame_visual: (F,). sequence_visual: (B,).
            visuals: one `VisualInfo` per visual; without it the key frames are taken for the whole visual.
            task: `"auto"`, `"segment"` (a `[SEG]` is forced where the model gives none), `"chat"`, `"caption"` and
                `"region"` (forbidden), `"gcg"`; or a list with one for each sequence. A sequence without a visual
                (`sequence_visual` -1) yields no object, whatever it says.
            return_branches: also return the text, visual and fused masks on key frames, and the gates.
            verify: ask the model back whether each mask shows what was meant: see `verify_masks`.
            inputs: the language model's vision inputs, prompts (`prompt_points`, ...), and generation arguments
                (`max_new_tokens`, 512 when omitted; `do_sample`, `generation_config`, `streamer`,
                `stopping_criteria`, `logits_processor`, `output_scores`, ...): see `generation_settings`. `draft_ids`
                (k,): the answer that is expected, read at once and kept as far as the model would say it.

        Raises:
            ValueError: an unknown task or argument, or one that masks can not be made with, such as beams.
            TypeError: a limit that is no integer, or a batch that is not unpacked.
        """
        if input_ids is not None and not isinstance(input_ids, torch.Tensor):
            raise TypeError("generate takes the entries of a batch, as tensors: model.generate(**inputs)")
        self._check_mode(task, 0 if input_ids is None else len(input_ids))
        shown = batch_visuals(visuals, sam_frame_visual)
        if input_ids is None:
            if verify:
                raise ValueError("verify=True asks whether a mask shows what was said; with clicks alone nothing was")
            clicks = {name: inputs.pop(name) for name in PROMPT_INPUTS if name in inputs}
            # Nothing is said, but a misspelt argument is none here either.
            inputs = {name: value for name, value in inputs.items() if name not in (*_TOLD, *VISION_INPUTS)}
            generation_settings(self.mllm, 0, inputs)
            output = follow_clicks(self.segmenter, clicks, sam_pixel_values, shown)
            output.mask_options = self.mask_options(strategy="consistent")
            return output
        answer = self.answer_key_frames(
            input_ids,
            attention_mask,
            sam_pixel_values,
            sam_frame_visual,
            sequence_visual,
            visuals,
            task,
            return_branches,
            verify=verify,
            **inputs,
        )
        return self.carry_answer(answer, shown)

    @torch.no_grad()
    def carry_answer(
        self,
        answer: KeyFrameAnswer,
        shown: list[Visual],
        encoder: Callable[[Visual], FrameEncoder] | None = None,
    ) -> DeSa2VAGenerateOutput:
        """The second half of `generate`: carries the answer on the key frames to all frames of all visuals.

        Args:
            answer: of `answer_key_frames`. shown: the visuals of its batch (`batch_visuals`).
            encoder: gives the encoder of a visual's other frames; a lazy one of its own when omitted.
        """
        count = len(answer.object_sequence)
        output = DeSa2VAGenerateOutput(
            **{name: getattr(answer, name) for name in _KEPT},
            track_logits=[torch.zeros(0)] * count,
            track_iou=[torch.zeros(0)] * count,
            track_object_score=[torch.zeros(0)] * count,
            mask_options=self.mask_options(),
        )
        size = self.segmenter.sam.prompt_encoder.mask_input_size
        for number, entry in enumerate(shown):
            if objects := answer.visuals[number].objects:
                encode = encode_lazily(self.segmenter, entry.read) if encoder is None else encoder(entry)
                frames = self.walk_visual(answer, number, entry.num_frames, encode)
                collect_tracks(frames, len(objects), entry.num_frames, size).put_into(output, objects)
        return output

    @torch.no_grad()
    def answer_key_frames(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        sam_pixel_values: torch.Tensor | None = None,
        sam_frame_visual: torch.Tensor | None = None,
        sequence_visual: torch.Tensor | None = None,
        visuals: list[Any] | None = None,
        task: str | list[str] = "auto",
        return_branches: bool = False,
        known: dict[int, ImageFeatures] | None = None,
        verify: bool = False,
        processor: Any = None,
        **inputs: Any,
    ) -> KeyFrameAnswer:
        """Answers every sequence of a batch and decodes every `[SEG]` on the key frames; nothing is tracked.

        Arguments and errors as in `generate`; prompts (`prompt_points`, ...) are not used here. `known` (for a batch
        with one visual): encodings at hand, frame -> one row; key frames among them are not encoded again. Among the
        inputs `read_tokens` (for one sequence): what was read of the conversation before, a `ReadTokens`.
        `processor`: puts the questions of `verify`; the model's own when omitted.
        """
        self._check_mode(task, len(input_ids))
        shown = batch_visuals(visuals, sam_frame_visual)
        texts = inputs.get("texts")
        if verify:
            if visuals is None or texts is None:
                raise ValueError("verify=True asks about the source picture; give the whole batch: generate(**inputs)")
            processor = self.find_processor() if processor is None else processor
            processor.checks(visuals, [])
        inputs = {name: value for name, value in inputs.items() if name not in (*_TOLD, *PROMPT_INPUTS)}
        visual_of = -torch.ones(len(input_ids)) if sam_pixel_values is None else sequence_visual
        spoken = self._answer(input_ids, attention_mask, visual_of >= 0, task, inputs)
        if not len(spoken.object_sequence):
            answer = _unmarked(spoken)
            answer.visuals = [VisualAnswer(entry.key_frames) for entry in shown]
            judge_targets(answer, self.config.target_calibration)
            return answer
        answer = self._segment(
            spoken, sam_pixel_values, sam_frame_visual, sequence_visual, shown, return_branches, known
        )
        judge_targets(answer, self.config.target_calibration)
        if verify:
            verify_masks(self, processor, answer, visuals, texts)
        if known:
            (found,) = answer.visuals
            found.known = {frame: row for frame, row in known.items() if frame not in found.key_frames}
        return answer

    def walk_visual(
        self,
        answer: KeyFrameAnswer,
        number: int,
        num_frames: int | None,
        encode: FrameEncoder,
        strategy: str | None = None,
        withdrawn: Set[int] = frozenset(),
    ) -> Generator[TrackedFrame, None, None]:
        """Carries the objects of visual `number`, which has some, to all its frames; one by one, see `walk_objects`.

        Args:
            answer: of the key frames. number: of the visual. num_frames: T, `None` for a live source.
            encode: its frames. strategy: the configuration's when omitted.
            withdrawn: objects that are followed no more, see `TrackRequest`.

        Yields:
            `TrackedFrame`s, whose object numbers count within the visual. A picture is its own key frame.
        """
        found, prompts = answer.visuals[number], answer.prompts
        if num_frames == 1:
            return self._only_frame(found)
        objects = torch.tensor(found.objects, device=prompts.visual.device)
        request = TrackRequest(
            num_frames=num_frames,
            encode=encode,
            key_frames=found.key_frames,
            key_masks=found.masks,
            key_features=found.features,
            further=found.known,
            withdrawn=withdrawn,
            conditioning=found.conditioning,
            prompts=lambda frame: _visual_tokens(prompts, objects, time_between(frame, found.key_frames)),
            decode=lambda features, frame: self._decode_frame(
                features, prompts, objects, time_between(frame, found.key_frames)
            ),
        )
        return walk_objects(
            self.segmenter,
            request,
            self.config.track_strategy if strategy is None else strategy,
            self.config.mask_threshold,
            self.config.object_score_threshold,
        )

    def _only_frame(self, found: VisualAnswer) -> Generator[TrackedFrame, None, None]:
        """The one frame of a visual, which is its key frame: nothing is left to be tracked."""
        rows = list(range(len(found.objects)))
        prediction = MaskPrediction(*(found.masks[name][:, 0] for name in ("logits", "iou", "object_score")))
        yield tracked_frame(0, rows, prediction, self.segmenter.sam.prompt_encoder.mask_input_size)

    def mask_options(self, options: MaskOptions | None = None, strategy: str | None = None) -> MaskOptions:
        """How logits of this model become masks: `options`, and what they leave open as the configuration says.

        Strategy `"memory"` is Sa2VA's to the last step: an absent object keeps its mask, and logits are resized twice.

        Args:
            options: what was asked for. strategy: that followed the objects; the configuration's when omitted.
        """
        peer = (self.config.track_strategy if strategy is None else strategy) == "memory"
        thresholds = self.config.mask_threshold, self.config.object_score_threshold
        calibrated = (self.config.target_calibration or {}).get("threshold", 0.0)
        configured = MaskOptions(*thresholds, empty_absent=not peer, two_step_resize=peer, target_threshold=calibrated)
        return (MaskOptions() if options is None else options).completed(configured)

    def _check_mode(self, task: str | list[str], count: int) -> None:
        task_of_each(task, count, "sequences")
        if self.training:
            raise ValueError("generate needs eval mode: call .eval() on the model first")

    def _segment(
        self,
        spoken: Answer,
        sam_pixel_values: torch.Tensor,
        sam_frame_visual: torch.Tensor,
        sequence_visual: torch.Tensor,
        shown: list[Visual],
        return_branches: bool,
        known: dict[int, ImageFeatures] | None,
    ) -> KeyFrameAnswer:
        """Decodes all objects of the batch on their key frames at once."""
        device = execution_device(self.segmenter.sam)
        sequence = spoken.object_sequence.to(device)
        prompts = self.decoupling.prompts(spoken.seg_states).to(device)
        if known and all(frame in known for frame in shown[0].key_frames):
            features = join_features([known[frame] for frame in shown[0].key_frames])
        else:
            features = BatchedEncoder(self.segmenter)(sam_pixel_values)
        pairs = pair_with_frames(
            sequence, self.config.num_seg_frames, sam_frame_visual.to(device), sequence_visual.to(device)
        )
        kept = self._decode_pairs(features, pairs, prompts)
        owner = sequence_visual.to(device)[sequence]
        answer = _unmarked(spoken)
        answer.prompts = prompts
        if return_branches:
            answer.visual_logits = _per_object(kept.visual.logits, pairs.object, len(sequence))
            answer.fused_logits = _per_object(kept.fused.logits, pairs.object, len(sequence))
            if kept.text is not None:
                answer.text_logits = _per_object(kept.text.logits, pairs.object, len(sequence))
                answer.gates = _per_object(kept.gate, pairs.object, len(sequence))
        for number, entry in enumerate(shown):
            objects = (owner == number).nonzero()[:, 0]
            found = VisualAnswer(entry.key_frames, objects.tolist(), features.select(entry.slice))
            if found.objects:
                found.masks = _of_objects(kept.fused, pairs, objects)
            answer.visuals.append(found)
        return answer

    def _decode_pairs(
        self,
        features: ImageFeatures,
        pairs: Pairs,
        prompts: Prompts,
    ) -> MaskPass:
        """The pass kept for each of P pairs, in pieces of bounded size."""
        kept = []
        levels, size = self.segmenter.language_levels(features), pairs_at_once(self.segmenter.sam)
        for piece in torch.arange(len(pairs.object), device=pairs.object.device).split(size):
            text, visual = prompts.at(pairs.object[piece], pairs.token[piece], pairs.time[piece])
            kept.append(self.decode_prompts(features, pairs.frame[piece], text, visual, levels=levels)[1])
        return _concatenate(kept)

    def _decode_frame(
        self, features: ImageFeatures, prompts: Prompts, objects: torch.Tensor, time: float
    ) -> MaskPrediction:
        """The language prompts of all objects on one more frame (`per_frame`)."""
        rows = torch.zeros_like(objects)
        last = torch.full_like(objects, prompts.visual.shape[1] - 1)
        text, visual = prompts.at(objects, last, torch.full_like(objects, time, dtype=torch.float32))
        return self.decode_prompts(features, rows, text, visual)[1].fused


def _unmarked(spoken: Answer) -> KeyFrameAnswer:
    """What was said, before anything of it is looked for."""
    return KeyFrameAnswer(
        spoken.sequences,
        spoken.object_sequence.cpu(),
        spoken.seg_probability,
        spoken.seg_forced,
        spoken.mark_probability,
        scores=spoken.scores,
        logits=spoken.logits,
    )


def _concatenate(parts: list[Any]) -> Any:
    """Several pieces as one, of tensors or of outputs that hold tensors."""
    if isinstance(parts[0], torch.Tensor):
        return torch.cat(parts)
    return type(parts[0])(**{name: _concatenate([part[name] for part in parts]) for name in parts[0]})


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


def _per_object(values: torch.Tensor, pair_object: torch.Tensor, count: int) -> list[torch.Tensor]:
    """(P, ...) -> O tensors (K, ...) on the CPU."""
    return [values[pair_object == number].float().cpu() for number in range(count)]


__all__ = ["AnsweringMixin"]
