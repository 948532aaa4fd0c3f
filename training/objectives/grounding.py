"""Phase 0 of the language model: captions, questions, and knowing where and what a `[SEG]` is, before any mask.

Enters: conversations about scenes with known factors. Leaves: `language`, `grounding` (place, colour, shape, size
read linearly from the `[SEG]` state), `attention` (some heads must look from `[SEG]` at the target), `word` (image
tokens resemble the words for what they show). Published language models arrive with this skill; without it a tiny
`[SEG]` never looks at the picture.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from desa2va.modeling_desa2va.modeling_desa2va import DeSa2VAModel
from desa2va.training.data.refshapes import COLOR_NAMES, SHAPES, SIZES
from desa2va.training.data.sample import Sample
from desa2va.training.dense_targets import NUM_CLASSES, factor_indices, factor_maps

from .base import Objective
from .reading import SegReader, shown_frames
from .vision import DenseReader

LOOKING_HEADS = 2
LOOKING_LAYERS = (2, 3)
LENGTH_GROUPS = 4


class GroundingObjective(Objective):
    """Trains the language model with its vision tower.

    Args:
        model: its language layers must give attention weights (`attn_implementation="eager"`), which is set here.
        tokenizer: knows the ids of the factor words.
    """

    terms = ("language", "grounding", "attention", "word", "dense")
    metrics = ("seg_place", "seg_color", "seg_shape", "seg_size", "seg_looks", "shape_accuracy")

    def __init__(self, model: DeSa2VAModel, tokenizer: Any) -> None:
        super().__init__(model)
        config = model.config.mllm_config
        self.readout = SegReader(config.text_config.hidden_size)
        self.reader = DenseReader(config.vision_config.hidden_size, background_weight=0.1)
        self.grid = config.vision_config.image_size[0] // config.vision_config.patch_size[0]
        self.scale = nn.Parameter(torch.tensor([3.0, -2.0]))
        words = [f" {word}" for word in (*COLOR_NAMES, *SHAPES, *SIZES)]
        ids = [tokenizer(word, add_special_tokens=False).input_ids for word in words]
        split = [word for word, pieces in zip(words, ids, strict=True) if len(pieces) != 1]
        if split:
            raise ValueError(f"factor words must be single tokens of the tokenizer; these are not: {split}")
        self.register_buffer("word_ids", torch.tensor(ids)[:, 0])

    def compute(self, **batch: Any) -> dict[str, Any]:
        """Terms `language`, `grounding`, `attention`, `word`, `dense`; metrics of place and shape."""
        model = self.model
        layers = model.mllm.model.language_model
        if layers.config._attn_implementation != "eager":
            layers.set_attn_implementation("eager")
        shown = model.mllm.model.get_image_features(
            batch["pixel_values"], vision_feature_layer=-1, vision_feature_select_strategy="default", return_dict=True
        )
        embeddings = model.get_input_embeddings()(batch["input_ids"])
        places = batch["input_ids"] == model.config.mllm_config.image_token_id
        tokens = shown.pooler_output[batch["image_index"]].flatten(0, 1)
        seg = torch.isin(batch["input_ids"], torch.tensor(model.config.seg_token_ids, device=embeddings.device))
        embeddings = embeddings.masked_scatter(places[..., None], tokens.to(embeddings.dtype))
        rows, columns = seg.nonzero(as_tuple=True)
        states, looks = self._read(embeddings, batch["attention_mask"], rows, columns)
        terms = {"language": model._language_loss(states, batch["labels"])}
        metrics: dict[str, torch.Tensor] = {}
        samples: list[Sample] = batch["samples"]
        if len(rows):
            terms["grounding"], metrics = self.readout.score(states[rows, columns], samples)
            first = places & (places.cumsum(1) <= shown.pooler_output.shape[1])
            terms["attention"] = self._attention(looks, first[rows], batch["mask_labels"], metrics)
        frames = shown_frames(batch["sequence_visual"], batch["image_index"], samples)
        terms["word"] = self._words(shown.pooler_output, samples, frames)
        cells = factor_maps(samples, self.grid, majority=True)[:, frames].flatten(2).to(states.device)
        terms["dense"], metrics["shape_accuracy"] = self.reader(shown.last_hidden_state[:, 1:].transpose(1, 2), cells)
        return {"terms": terms, "metrics": metrics}

    def _read(
        self, embeddings: torch.Tensor, attention_mask: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """States (B, N, D), and where every `[SEG]`, at `rows` and `columns` (O,), looks: (O, layers, heads, N).

        Rows of like length are read together: a video's is three times a picture's, and padding costs like words.
        """
        lengths = attention_mask.sum(1)
        states = torch.zeros_like(embeddings)
        looks = embeddings.new_zeros(len(rows), len(LOOKING_LAYERS), LOOKING_HEADS, embeddings.shape[1])
        for group in lengths.argsort().chunk(LENGTH_GROUPS):
            end = int(lengths[group].max())
            output = self.model.mllm.model.language_model(
                inputs_embeds=embeddings[group, :end],
                attention_mask=attention_mask[group, :end],
                output_attentions=True,
                use_cache=False,
            )
            states[group, :end] = output.last_hidden_state
            found = (rows[:, None] == group).nonzero()
            for place, layer in enumerate(LOOKING_LAYERS):
                weights = output.attentions[layer][found[:, 1], :LOOKING_HEADS, columns[found[:, 0]]]
                looks[found[:, 0], place, :, :end] = weights
        return states, looks

    def _attention(
        self, looks: torch.Tensor, places: torch.Tensor, mask_labels: list[torch.Tensor], metrics: dict
    ) -> torch.Tensor:
        """Minus the log of the attention mass on the image tokens that the target covers.

        Args:
            looks: (O, layers, heads, N) of `_read`. places: bool (O, N), the first frame's tokens. mask_labels: of the
                samples, (objects, frames, H, W). metrics: gets `seg_looks`.
        """
        side = int(int(places[0].sum()) ** 0.5)
        covered = torch.cat([masks[:1, None].float() for masks in mask_labels]).to(looks.device)
        covered = F.adaptive_avg_pool2d(covered, side).flatten(1)
        wanted = (covered > 0.2 * covered.amax(dim=1, keepdim=True)).to(looks)
        on_image = looks.permute(0, 3, 1, 2)[places].unflatten(0, (len(looks), side * side))
        mass = (on_image * wanted[..., None, None]).sum(dim=1)
        metrics["seg_looks"] = mass[:, -1].detach().mean()
        return -(mass + 1e-4).log().mean()

    def _words(self, tokens: torch.Tensor, samples: list[Sample], frames: list[int]) -> torch.Tensor:
        """Image tokens (F, L, D) against the embeddings of the words for what they show."""
        side = int(tokens.shape[1] ** 0.5)
        target = torch.from_numpy(_word_presence(samples, side)[frames]).to(tokens.device)
        words = F.normalize(self.model.get_input_embeddings().weight[self.word_ids], dim=-1)
        scaled = 4 * tokens / tokens.norm(dim=-1, keepdim=True).detach().clamp(min=1.0)
        return F.binary_cross_entropy_with_logits(scaled @ words.T * self.scale[0] + self.scale[1], target)


def _word_presence(samples: list[Sample], side: int) -> np.ndarray:
    """(F, side * side, words): which colours, shapes and sizes cover at least 6 % of an image token's cell."""
    num_words = sum(NUM_CLASSES) - len(NUM_CLASSES)
    rows = []
    for sample in samples:
        ids = sample.scene["instance_map"]
        frames, height, width = ids.shape
        cells = (
            ids.reshape(frames, side, height // side, side, width // side)
            .swapaxes(2, 3)
            .reshape(frames, side * side, -1)
        )
        target = np.zeros((frames, side * side, num_words), np.float32)
        for number, item in enumerate(sample.scene["objects"]):
            shown = (cells == number + 1).mean(-1) > 0.06
            color, shape, size = factor_indices(item)
            for word in (color, len(COLOR_NAMES) + shape, len(COLOR_NAMES) + len(SHAPES) + size):
                target[shown, word] = 1
        rows.append(target)
    return np.concatenate(rows)


__all__ = ["GroundingObjective"]
