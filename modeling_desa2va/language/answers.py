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

from .generation import SegmentationTokenControl, StopAfterStateOfLastToken, record_last_states
from .shared_vision import shared_images


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


class LanguageAnswerMixin(nn.Module):
    """The language half of `DeSa2VAModel.generate`."""

    def _answer(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None, task: str, inputs: dict[str, Any]
    ) -> Answer:
        vision = {
            name: inputs.pop(name, None)
            for name in ("pixel_values", "image_index", "num_tiles", "image_grid_thw", "mm_token_type_ids")
        }
        options = self._generation_options(inputs)
        limit = options.pop("max_new_tokens")
        device = execution_device(self.get_input_embeddings())
        vision = {name: value.to(device) for name, value in vision.items() if value is not None}
        language = self.language_inputs(input_ids.to(device), **vision)
        prompt_length = input_ids.shape[1] if "input_ids" in language else 0
        config = self.config
        control = SegmentationTokenControl(
            config.seg_token_ids, config.num_seg_frames, _as_list(options["eos_token_id"]), task, limit
        )
        shared = shared_images(self.mllm, vision.get("image_grid_thw"), vision.get("image_index"))
        with record_last_states(self.get_output_embeddings()) as states, shared:
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


def _as_list(value: int | list[int]) -> list[int]:
    return list(value) if isinstance(value, (list, tuple)) else [value]


__all__ = ["Answer", "LanguageAnswerMixin"]
