"""SAM-2's memory for an interactive session: rebuilt wherever the user jumps to (METHOD section 6, Inter-VOS).

Enters: the records of a session and the frames of its video. Leaves: prompted, corrected and followed objects as new
records. Nothing but the records lasts: whenever tracking starts somewhere, the frames in reach are encoded again and
their memories made from what was recorded there. What is remembered while walking is made from the recorded values
too, so a walk that is interrupted, undone, or continued in another process goes on as if nothing had happened.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from desa2va.modeling_desa2va.devices import execution_device
from desa2va.modeling_desa2va.outputs import ImageFeatures, MaskPrediction
from desa2va.modeling_desa2va.segmenter import DeSa2VASegmenter
from desa2va.modeling_desa2va.tracking import (
    ABSENT_LOGIT,
    PROMPT_BIAS,
    PROMPT_SCALE,
    FrameMemory,
    FrameSteps,
    MemoryBank,
    Observation,
    condition_on_memory,
    encode_lazily,
    frame_reader,
    gate,
    resize_logits,
)
from desa2va.processing.files import MaskOptions, decode_mask
from desa2va.processing.inputs import ObjectPrompt, sam_prompts

from .corrections import contradicts_clicks, contradicts_mask
from .features import FeatureCache
from .store import FrameRecord, GivenPrompt, ObjectState, RecordStore

PREVIOUS_LOGIT_LIMIT = 32.0  # as in SAM-2: -1024 for "absent" would drown the clicks


class SessionBank(MemoryBank):
    """A memory bank into which objects come at any time; `forget` has to be called first."""

    def holds(self, frame: int, number: int, prompted: bool) -> bool:
        """Whether anything of an object is remembered on a frame."""
        entry = (self.prompted if prompted else self.tracked).get(frame)
        return entry is not None and number in entry.row

    def add_pointers(self, frame: int, objects: list[int], pointers: torch.Tensor) -> None:
        """Remembers only the pointers (n, C) of `objects` on a tracked frame that is too far away for more."""
        rows = {number: row for row, number in enumerate(objects)}
        old = self.tracked.get(frame)
        if old is not None:
            kept = [number for number in old.row if number not in rows]
            pointers = torch.cat([pointers, old.rows(old.pointers, kept)]) if kept else pointers
            rows.update({number: len(rows) + place for place, number in enumerate(kept)})
        self.tracked[frame] = FrameMemory(rows, None, pointers)


class SessionSteps(FrameSteps):
    """Single frames of tracking, and the correction of one that was tracked already."""

    def click(
        self,
        features: ImageFeatures,
        points: tuple[torch.Tensor, torch.Tensor] | None,
        boxes: torch.Tensor | None,
        previous: torch.Tensor | None,
        conditioned: torch.Tensor | None,
    ) -> Observation:
        """Decodes one object's clicks by the rules of SAM-2's interactive predictor.

        Args:
            features: of the frame.
            points, boxes: all clicks and the box on this frame, see `prompt_points`.
            previous: (1, h, w) mask logits the user saw when clicking; they become the dense prompt.
            conditioned: (1, C, g, g) features conditioned on memory, where the object had been tracked to this frame;
                such a frame has three masks only where the configuration wants them for tracking.
        """
        count = (0 if points is None else points[1].shape[1]) + (0 if boxes is None else 2)
        limit = PREVIOUS_LOGIT_LIMIT
        prediction = self.segmenter.decode(
            self.decoder,
            features,
            torch.zeros(1, dtype=torch.long, device=features.low.device),
            dense_masks=None if previous is None else previous.clamp(-limit, limit),
            image_embeddings=conditioned,
            points=points,
            boxes=boxes,
            multimask=self._use_multimask(count, prompted=conditioned is None),
        )
        return self._observe(prediction, prompted=True)

    def condition(
        self, features: ImageFeatures, bank: MemoryBank, frame: int, number: int, reverse: bool
    ) -> torch.Tensor:
        """(1, C, g, g): the frame as seen by an object from its memories."""
        ((_, memories, pointers),) = bank.groups(frame, [number], reverse)
        recalled = bank.recall(memories, [number]), bank.recall(pointers, [number], pointers=True)
        return condition_on_memory(self.sam, features.low, features.position, *recalled, bank.pointer_span)


class SessionMemory:
    """Prompts, corrects and follows the objects of one session.

    Args:
        segmenter: in eval mode. info: `VisualInfo` of the video.
        options: complete; what the user sees as a mask, which corrections are compared with.
    """

    def __init__(self, segmenter: DeSa2VASegmenter, info: Any, options: MaskOptions) -> None:
        self.sam, self.info, self.options = segmenter.sam, info, options
        self.steps = SessionSteps(segmenter)
        self.cache = FeatureCache(segmenter, info)
        self.encode = encode_lazily(segmenter, frame_reader(info))
        self.store = RecordStore()

    @property
    def device(self) -> torch.device:
        """Where SAM-2 computes."""
        return execution_device(self.sam)

    def bank(self) -> SessionBank:
        """An empty bank."""
        return SessionBank(self.sam, self.info.num_frames)

    def record(self, state: ObjectState, frame: int) -> FrameRecord:
        """What was found of an object on a frame."""
        return FrameRecord.from_bytes(self.store.read(state.index[frame]))

    def prompt(self, state: ObjectState, frame: int, given: GivenPrompt, answer: MaskPrediction | None = None) -> None:
        """Prompts or corrects one object on one frame and records the result.

        Args:
            state: its prompt, record and `edited` are replaced.
            frame: where.
            given: all that is given there.
            answer: what is recorded as mask and scores (one pair) in place of SAM-2's own.
        """
        features = self.cache.whole(frame)
        before = self.record(state, frame) if frame in state.index else None
        reverse = before is not None and before.reverse
        if given.mask is not None:
            rows = torch.zeros(1, dtype=torch.long, device=self.device)
            observation = self.steps.prompt_masks(features, rows, self._mask(given))
        else:
            observation = self._clicked(state, frame, given, features, before)
        if answer is not None:
            observation.reported, observation.object_score = answer.logits, answer.object_score
            observation.prediction.iou = answer.iou
        self._write([state], frame, observation, reverse)
        state.prompts[frame], state.edited = given, frame
        if before is not None:
            old, new = self._shown(before), self._shown(self.record(state, frame))
            if contradicts_mask(old, new, self.options.mask_threshold):
                state.since = state.index[frame]

    def _clicked(
        self, state: ObjectState, frame: int, given: GivenPrompt, features: ImageFeatures, before: FrameRecord | None
    ) -> Observation:
        """SAM-2's answer to all clicks on a frame; where it contradicts them, that to the clicks alone."""
        clicks, previous, conditioned = self._clicks(given), None, None
        if before is not None:
            previous = self._shown(before)[None].to(self.device)
        # Where everything remembered was contradicted, the frame is decoded like a first one.
        remembered = any(past != frame and state.index[past] >= state.since for past in state.prompts)
        if not given.initial and remembered:
            bank = self.bank()
            self.recall(bank, [state], frame, before.reverse, leave_out=frame)
            conditioned = self.steps.condition(features, bank, frame, state.object_id, before.reverse)
        observation = self.steps.click(features, *clicks, previous, conditioned)
        marks_object = given.box is not None or any(label == 1 for *_, label in given.points)
        rules = self.sam.image_size, self.options
        if before is not None and marks_object and contradicts_clicks(observation, *clicks, *rules):
            alone = self.steps.click(features, *clicks, None, None)
            if not contradicts_clicks(alone, *clicks, *rules):
                return alone
        return observation

    def _shown(self, record: FrameRecord) -> torch.Tensor:
        """(h, w) mask logits as the user sees them: emptied where the object counts as absent."""
        if not self.options.empty_absent:
            return record.logits
        score = torch.tensor([record.object_score])
        return gate(record.logits[None], score, self.options.object_score_threshold)[0]

    def follow(
        self, bank: SessionBank, features: ImageFeatures, frame: int, states: list[ObjectState], reverse: bool
    ) -> None:
        """Finds objects again on a frame, records and remembers them."""
        numbers = [state.object_id for state in states]
        rows = torch.zeros(len(states), dtype=torch.long, device=features.low.device)
        observation = self.steps.follow(features, rows, bank, frame, numbers, reverse)
        self._write(states, frame, observation, reverse)
        self.steps.remember(features, rows, observation, bank, frame, numbers)

    def recall(
        self, bank: SessionBank, states: list[ObjectState], frame: int, reverse: bool, leave_out: int | None = None
    ) -> None:
        """Puts into `bank` what SAM-2 would remember of some objects when it comes to `frame`.

        These are all their prompted frames, the spatial memories of tracked frames in reach, and the pointers of those
        a little further away. What the bank holds already is not made again; what a correction contradicted
        (`ObjectState.since`) is not remembered at all.

        Args:
            bank: after `forget(frame)`.
            states: the objects.
            frame: the frame on which they are to be found next.
            reverse: whether the video is walked backwards.
            leave_out: a frame that is not remembered.
        """
        spatial: dict[int, list[ObjectState]] = {}
        distant: dict[int, list[ObjectState]] = {}
        for state in states:
            for past in state.prompts:
                remembered = past != leave_out and state.index[past] >= state.since
                if remembered and not bank.holds(past, state.object_id, prompted=True):
                    spatial.setdefault(past, []).append(state)
            for offset in range(1, max(bank.reach + 1, bank.pointer_span)):
                past = frame + offset if reverse else frame - offset
                tracked = past not in state.prompts and past in state.index and state.index[past] >= state.since
                if tracked and not bank.holds(past, state.object_id, prompted=False):
                    (spatial if offset <= bank.reach else distant).setdefault(past, []).append(state)
        for past, features in self.cache.low(sorted(spatial)):
            for numbers, observation in self._recorded(past, spatial[past]):
                rows = torch.zeros(len(numbers), dtype=torch.long, device=self.device)
                self.steps.remember(features, rows, observation, bank, past, numbers)
        for past, members in distant.items():
            pointers = torch.stack([self.record(state, past).pointer for state in members]).to(self.device)
            bank.add_pointers(past, [state.object_id for state in members], pointers)

    def _recorded(self, frame: int, states: list[ObjectState]) -> Iterator[tuple[list[int], Observation]]:
        """Observations as they were when they were recorded, with the objects' numbers, in groups of one kind."""
        kinds: dict[str, list[ObjectState]] = {}
        for state in states:
            given = state.prompts.get(frame)
            kind = "followed" if given is None else "clicked" if given.mask is None else "masked"
            kinds.setdefault(kind, []).append(state)
        for kind, members in kinds.items():
            records = [self.record(state, frame) for state in members]
            reported = torch.stack([record.logits for record in records]).to(self.device)
            score = torch.tensor([record.object_score for record in records], device=self.device)
            logits = gate(reported, score)
            if kind == "masked":  # the memory is of the mask as given, whatever was reported there
                logits = (
                    PROMPT_SCALE * torch.cat([self._mask(state.prompts[frame]) for state in members]) + PROMPT_BIAS
                )
                score = logits.flatten(1).amax(1)
            pointer = torch.stack([record.pointer for record in records]).to(self.device)
            observation = Observation(MaskPrediction(), logits, reported, score, pointer, prompted=kind != "followed")
            yield [state.object_id for state in members], observation

    def _write(self, states: list[ObjectState], frame: int, observation: Observation, reverse: bool) -> None:
        """Records an observation of objects on a frame, and makes of it what the record says."""
        size = self.sam.prompt_encoder.mask_input_size
        low = resize_logits(observation.reported.float(), size, antialias=True).clamp(ABSENT_LOGIT, -ABSENT_LOGIT)
        pointers = observation.pointer.float().cpu()
        scores = zip(observation.prediction.iou.tolist(), observation.object_score.tolist(), strict=True)
        for row, (state, (iou, score)) in enumerate(zip(states, scores, strict=True)):
            record = FrameRecord(low[row], pointers[row], iou, score, reverse)
            state.index[frame] = self.store.append(record.to_bytes())
        # Rebuilt memories are made of these, so the bank that goes on has to be as well.
        observation.logits, observation.pointer = gate(low, observation.object_score), observation.pointer.float()

    def _mask(self, given: GivenPrompt) -> torch.Tensor:
        """The mask given, (1, S, S) in {0, 1}."""
        return torch.from_numpy(decode_mask(given.mask))[None].to(self.device, torch.float32)

    def _clicks(self, given: GivenPrompt) -> tuple[tuple[torch.Tensor, torch.Tensor] | None, torch.Tensor | None]:
        """Clicks and box in SAM pixels."""
        prompt, side = ObjectPrompt(), self.sam.image_size
        if given.points:
            numbers = np.array(given.points)
            prompt.points, prompt.point_labels = numbers[:, :2], numbers[:, 2].astype(np.int64)
        if given.box is not None:
            prompt.box = np.array(given.box)
        tensors = sam_prompts([prompt], [(self.info.height, self.info.width)], side, side // 4)
        points = tensors["prompt_points"].to(self.device), tensors["prompt_point_labels"].to(self.device)
        boxes = tensors["prompt_boxes"].to(self.device) if given.box is not None else None
        return (points if given.points else None), boxes


__all__ = ["SessionBank", "SessionMemory", "SessionSteps"]
