"""What the language model says, and the states of its `[SEG]` tokens (METHOD sections 1 and 6).

Enters: a batch of `DeSa2VAProcessor`. Leaves: `Answer`: new token ids, and for every object its states and the
probability of its first `[SEG]`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from desa2va.modeling_desa2va.devices import execution_device
from desa2va.modeling_desa2va.objects import find_objects
from desa2va.processing.inputs import check_tasks

from .drafted import answer_drafted, takes_drafts
from .generation import SegmentationTokenControl, StopAfterStates, StreamerUntilEnd, record_last_states
from .generation_settings import GenerationSettings, generation_settings
from .prompt_beginnings import common_beginnings
from .shared_prefix import PackedRows, pack_rows
from .shared_vision import shared_images

VISION_INPUTS = ("pixel_values", "image_index", "num_tiles", "image_grid_thw", "mm_token_type_ids", "region_cells")


@dataclass
class Answer:
    """What the language model said.

    Attributes:
        sequences: (B, n) new ids. object_sequence: (O,). seg_states: (O, S, D). seg_probability: (O,).
        seg_forced: (O,) bool; see `DeSa2VAGenerateOutput`, as `scores` and `logits`. mark_probability: (O,) of the
            answer up to and with the object's first `[SEG]`: unlike `seg_probability` it knows whether the model was
            about to say that there is none.
    """

    sequences: torch.Tensor
    object_sequence: torch.Tensor
    seg_states: torch.Tensor
    seg_probability: torch.Tensor
    seg_forced: torch.Tensor
    mark_probability: torch.Tensor
    scores: tuple[torch.Tensor, ...] | None = None
    logits: tuple[torch.Tensor, ...] | None = None


class LanguageAnswerMixin(nn.Module):
    """The language half of `DeSa2VAModel.generate`."""

    def seg_state_reader(self) -> nn.Module:
        """The module whose input is the state of a `[SEG]`: the output head, or with `seg_states="raw"` the language
        model's last norm.
        """
        return self.mllm.model.language_model.norm if self.config.seg_states == "raw" else self.get_output_embeddings()

    def read_states(self, packed: PackedRows | None = None, **language: Any) -> tuple[torch.Tensor, torch.Tensor]:
        """Reads whole sequences: states (B, N, D) after the last norm, and those that a `[SEG]` is read from.

        Args:
            packed: how the sequences are laid out for reading; one by one by default. language: inputs of the language
                model.
        """
        if packed is not None:
            read = "inputs_embeds" if "inputs_embeds" in language else "input_ids"
            rows = {read: packed.pack(language[read]), "attention_mask": packed.visible}
            language = {**language, **rows, "position_ids": packed.position}
        with record_last_states(self.seg_state_reader()) as recorder:
            states = self.mllm.model(use_cache=False, **language).last_hidden_state
        seg_states = recorder.states if self.config.seg_states == "raw" else states
        if packed is None:
            return states, seg_states
        return packed.unpack(states), packed.unpack(seg_states)

    def packing_of(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None, image_index: torch.Tensor | None
    ) -> PackedRows | None:
        """How a batch in training is laid out so that a picture is read once and no row is mostly padding: see
        `pack_rows`. InternVL alone, whose positions are counted, and only where a mask of who sees whom is all that
        attention needs.
        """
        text = getattr(self.config.mllm_config, "text_config", None)
        full = set(getattr(text, "layer_types", None) or ["unknown"]) == {"full_attention"}
        layers = self.mllm.model.language_model
        internvl = self.config.mllm_config.model_type == "internvl"
        if not (self.training and internvl and full and layers.config._attn_implementation == "sdpa"):
            return None
        return pack_rows(input_ids, attention_mask, image_index, self.config.mllm_config.image_token_id)

    def _answer(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor | None,
        has_visual: torch.Tensor,
        task: str | list[str],
        inputs: dict[str, Any],
    ) -> Answer:
        """Answers every sequence; those without a picture or video (`has_visual` (B,)) yield no object.

        With `prompt_objects` among the inputs the `[SEG]` of the prompts are objects too, before the answers'. With
        `read_tokens` (`ReadTokens`) the one sequence goes on from what was read before, and adds itself to it. With
        `draft_ids` (k,) the answer is expected to be these tokens, see `answer_drafted`; where nothing else is said
        those of the configuration's `answer_draft`, if all are asked to segment.
        """
        prompt_objects, read_tokens = inputs.pop("prompt_objects", False), inputs.pop("read_tokens", None)
        draft, usual = inputs.pop("draft_ids", None), self.config.answer_draft
        if draft is None and usual and all(one == "segment" for one in check_tasks(task)):
            draft = torch.tensor(usual)
        vision = {name: inputs.pop(name, None) for name in VISION_INPUTS}
        settings = generation_settings(self.mllm, input_ids.shape[1], inputs)
        if not settings.usual_cache:
            read_tokens = None
        device = execution_device(self.get_input_embeddings())
        vision = {name: value.to(device) for name, value in vision.items() if value is not None}
        input_ids = input_ids.to(device)
        if read_tokens is not None and read_tokens.reuse(input_ids, self.config.mllm_config.image_token_id):
            language = self._further_inputs(input_ids, vision)
        else:
            language = self.language_inputs(input_ids, **vision)
        language["attention_mask"] = None if attention_mask is None else attention_mask.to(device)
        cache = {} if read_tokens is None else read_tokens.inputs()
        with shared_images(self.mllm, vision.get("image_grid_thw"), vision.get("image_index")):
            once = {} if cache else self._read_once(input_ids, language, vision, settings)
            answer, told = self._generate_answer(
                {**language, **cache, **once}, has_visual.to(device), task, settings, draft
            )
            if prompt_objects:
                self._add_prompt_objects(answer, input_ids, language)
        if read_tokens is not None:
            read_tokens.keep(input_ids[0].tolist() + told[0].tolist())
        return answer

    def _read_once(
        self,
        input_ids: torch.Tensor,
        language: dict[str, Any],
        vision: dict[str, torch.Tensor],
        settings: GenerationSettings,
    ) -> dict[str, Any]:
        """What prompts (B, N) about one picture begin with, read once for all of them; nothing where that is not so.

        InternVL alone: Qwen-VL keeps the places of the pictures it read last, of one batch and one length, and counts
        the answer's places from them.
        """
        mask = language["attention_mask"]
        if "inputs_embeds" not in language or mask is None or "region_cells" in vision or not settings.usual_cache:
            return {}
        index, token = vision.get("image_index"), self.config.mllm_config.image_token_id
        beginnings = common_beginnings(input_ids, mask, index, token)
        return (beginnings and beginnings.read(self.mllm, language["inputs_embeds"])) or {}

    def _further_inputs(self, input_ids: torch.Tensor, vision: dict[str, torch.Tensor]) -> dict[str, Any]:
        """What is read of a conversation (B, N) whose pictures have been read: of these the places alone.

        Given as in a first reading, ids or embeddings, since rules such as a repetition penalty see ids only. Qwen-VL
        takes positions from the pictures it saw last, which may be another call's, so they are made here.
        """
        layers = self.mllm.model
        if not hasattr(layers, "get_rope_index"):
            shown = "num_tiles" in vision
            return {"inputs_embeds": self.get_input_embeddings()(input_ids)} if shown else {"input_ids": input_ids}
        counted = torch.arange(input_ids.shape[1], device=input_ids.device).expand(1, *input_ids.shape)
        placed = counted.expand(3, -1, -1)
        if "image_grid_thw" in vision:
            grids, types = vision["image_grid_thw"][vision["image_index"]], vision["mm_token_type_ids"]
            placed, _ = layers.get_rope_index(input_ids, mm_token_type_ids=types, image_grid_thw=grids)
        return {"input_ids": input_ids, "position_ids": torch.cat([counted, placed.to(counted)])}

    def _add_prompt_objects(self, answer: Answer, input_ids: torch.Tensor, language: dict[str, Any]) -> None:
        """Puts the `[SEG]` of prompts (B, N) before those of the answers; costs a second reading of the prompts."""
        _, states = self.read_states(**language)
        found = find_objects(input_ids, self.config.seg_token_ids, self.config.num_seg_frames, None, None)
        asked = states[found.sequence[:, None], found.positions]
        owners = torch.cat([found.sequence, answer.object_sequence])
        order = owners.argsort(stable=True)
        count = len(found.sequence)
        given = torch.ones(count), torch.zeros(count, dtype=torch.bool)
        answer.object_sequence = owners[order]
        answer.seg_states = torch.cat([asked, answer.seg_states])[order]
        answer.seg_probability = torch.cat([given[0], answer.seg_probability])[order.cpu()]
        answer.mark_probability = torch.cat([given[0], answer.mark_probability])[order.cpu()]
        answer.seg_forced = torch.cat([given[1], answer.seg_forced])[order.cpu()]

    def _generate_answer(
        self,
        language: dict[str, Any],
        has_visual: torch.Tensor,
        task: str | list[str],
        settings: GenerationSettings,
        draft: torch.Tensor | None,
    ) -> tuple[Answer, torch.Tensor]:
        """The answer, and all new ids (B, m), those too that were made for a state only."""
        config, limit, tokens = self.config, settings.max_new_tokens, self.config.seg_token_ids
        prompt_length = language["input_ids"].shape[1] if "input_ids" in language else 0
        stop = StopAfterStates(tokens, prompt_length, limit, settings.stopping_criteria)
        with record_last_states(self.seg_state_reader()) as recorder:
            control = SegmentationTokenControl(
                recorder, tokens, config.num_seg_frames, settings.eos_token_ids, task, limit, has_visual
            )
            if draft is not None and takes_drafts(self.mllm, language, settings):
                told, said = answer_drafted(self.mllm, language, draft, control, stop, settings), {}
            else:
                said = self._generate(language, control, stop, settings)
                told = said["sequences"][:, prompt_length:]
        sequences = _without_rest(told, stop.ends, settings)
        answer = self._pick_up(sequences, control)
        count = sequences.shape[1]
        answer.scores, answer.logits = (said[name][:count] if name in said else None for name in ("scores", "logits"))
        return answer, told

    def _generate(
        self,
        language: dict[str, Any],
        control: SegmentationTokenControl,
        stop: StopAfterStates,
        settings: GenerationSettings,
    ) -> Any:
        """What the loop of transformers says, one step beyond the limit, so that a last `[SEG]` gets its state; the
        criterion stops all other rows.
        """
        settings.config.max_new_tokens = settings.max_new_tokens + 1
        settings.config.return_dict_in_generate = True
        return self.mllm.generate(
            **language,
            generation_config=settings.config,
            stopping_criteria=[stop],
            logits_processor=[control, *settings.logits_processor],
            streamer=None if settings.streamer is None else StreamerUntilEnd(settings.streamer, stop),
            **settings.handed_on,
        )

    def _pick_up(self, sequences: torch.Tensor, control: SegmentationTokenControl) -> Answer:
        """What belongs to the objects among (B, n) new ids. States are one step late: see `record_last_states`."""
        size = self.config.num_seg_frames
        is_seg = torch.isin(sequences, torch.tensor(self.config.seg_token_ids, device=sequences.device))
        # The budget may have cut a group short; what is incomplete is no object.
        complete = is_seg & (is_seg.cumsum(dim=1) <= (is_seg.sum(dim=1, keepdim=True) // size) * size)
        complete &= control.has_visual.to(sequences.device)[:, None]
        rows, columns = complete.nonzero(as_tuple=True)
        groups = columns.reshape(-1, size)
        owners = rows[::size]
        seg_probability = _at(control.probabilities, groups[:, 0], owners).cpu()
        return Answer(
            sequences=sequences,
            object_sequence=owners,
            seg_states=_at(control.states, groups + 1, owners[:, None]),
            seg_probability=seg_probability,
            seg_forced=_at(control.forced, groups[:, 0], owners).cpu(),
            mark_probability=_at(control.said, groups[:, 0], owners).cpu().exp() * seg_probability,
        )


def _at(steps: list[torch.Tensor], step: torch.Tensor, row: torch.Tensor) -> torch.Tensor:
    """Entries of n tensors (B, ...), which may lie elsewhere than the indices."""
    stacked = torch.stack(steps)
    return stacked[step.to(stacked.device), row.to(stacked.device)]


def _without_rest(sequences: torch.Tensor, ends: torch.Tensor, settings: GenerationSettings) -> torch.Tensor:
    """New ids (B, n) without what lies beyond the `ends` (B,) of the rows: see `StopAfterStates`."""
    places = torch.arange(sequences.shape[1], device=sequences.device)
    is_end = torch.isin(sequences, torch.tensor(settings.eos_token_ids, device=sequences.device)).long()
    kept = (is_end.cumsum(dim=1) == is_end) & ((ends < 0)[:, None] | (places < ends[:, None]))
    return sequences.masked_fill(~kept, settings.config.pad_token_id)[:, : int(kept.any(dim=0).sum())]


__all__ = ["Answer", "LanguageAnswerMixin"]
