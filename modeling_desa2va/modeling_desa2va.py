"""DeSa2VA, told top to bottom.

Enters: token ids, pixels of the language model, pixels of SAM-2. The language model answers; the states of its
`[SEG]` tokens are picked up, decoupled into a textual and a visual prompt (paper section 3.2), decoded to two masks
(3.3), fused (3.4) and re-prompted once (Eq. 11); in videos the masks of key frames condition SAM-2's pristine
tracker. Leaves: an answer and masks.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib import import_module
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from transformers import AutoModelForImageTextToText, GenerationConfig, PreTrainedModel

from desa2va.configuration.configuration_desa2va import DeSa2VAConfig
from desa2va.flat_export import FlatExportMixin

from .answering import PredictForwardMixin, StreamingMixin
from .cuda_graphs import CudaGraphsMixin
from .decoupling import Decoupling, MotionProjection, Prompts
from .devices import execution_device, whole_state_dict
from .fusion import MaskFusion, better_pass
from .language import shared_images
from .objects import ObjectIndex, Pairs, find_objects
from .outputs import DeSa2VAOutput, ImageFeatures, MaskPass, MaskPrediction
from .pipeline import TASK, ReferringSegmentationPipeline
from .precision import HALF_DTYPES
from .quantization import keep_as_stored, without_own_parts
from .remembered import encode_remembered
from .segmenter import DeSa2VASegmenter

LANGUAGE_INPUTS = ("pixel_values", "image_grid_thw", "mm_token_type_ids")


class DeSa2VAPreTrainedModel(FlatExportMixin, PreTrainedModel):
    """What transformers has to know about the composite."""

    config_class = DeSa2VAConfig
    base_model_prefix = ""
    main_input_name = "input_ids"
    input_modalities = ("image", "video", "text")
    supports_gradient_checkpointing = True
    accepts_loss_kwargs = False
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_attention_backend = True
    _no_split_modules = ["DeSa2VASegmenter"]
    _skip_keys_device_placement = ["past_key_values"]
    _tied_weights_keys = {}
    _export_classes = {"AutoConfig": "DeSa2VAConfig", "AutoModel": "DeSa2VAModel"}
    # Named here, the pipeline travels with the model's own code.
    _export_pipelines = {TASK: ReferringSegmentationPipeline.__name__}
    # Half precision is the language model's; what is around it computes in autocast (`Float32Module`).
    _keep_in_fp32_modules_strict = {"segmenter", "decoupling", "fusion"}

    @property
    def device(self) -> torch.device:
        """Where inputs go: the device it computes on, also while its weights are offloaded."""
        return execution_device(self)

    def _init_weights(self, module: nn.Module) -> None:
        """The start values of transformers; W_m starts at zero, also where a checkpoint lacks it."""
        if isinstance(module, MotionProjection):
            module.reset_parameters()
        else:
            super()._init_weights(module)

    @classmethod
    def from_pretrained(cls, *args: Any, quantization_config: Any = None, **kwargs: Any) -> Any:
        """Loads as transformers does; of a quantised model our own parts stay as they are (`without_own_parts`)."""
        if quantization_config is not None:
            kwargs["quantization_config"] = without_own_parts(quantization_config)
        loaded = super().from_pretrained(*args, **kwargs)
        keep_as_stored(loaded[0] if isinstance(loaded, tuple) else loaded)
        return loaded

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Loads weights by the names they have in memory; on disk the language model's have others.

        Raises:
            ValueError: with `strict=False`, weights that the model has not. A trainer that resumes from what
                `save_pretrained` wrote would go on without the language model.
        """
        found = super().load_state_dict(state_dict, strict=strict, assign=assign)
        if found.unexpected_keys:
            raise ValueError(
                f"{len(found.unexpected_keys)} of these weights are not the model's, e.g. {found.unexpected_keys[0]}, "
                f"and {len(found.missing_keys)} of the model's were not found: what `save_pretrained` wrote is read "
                "by `from_pretrained` alone; to resume a training use `desa2va train`"
            )
        return found

    def load_adapter(self, *args: Any, **kwargs: Any) -> Any:
        """As transformers'. An adapter whose weights do not all find a place is refused.

        Raises:
            ValueError: older versions of transformers read LoRA and leave out heads and rows of an adapter.
        """
        info = super().load_adapter(*args, **kwargs)
        if lost := sorted(info.unexpected_keys):
            raise ValueError(
                f"{len(lost)} weights of the adapter find no place, {lost[0]} among them; this transformers "
                "reads LoRA alone: use desa2va.load(ADAPTER) or PeftModel.from_pretrained, with a fresh model"
            )
        return info

    def save_pretrained(
        self, save_directory: str | os.PathLike, *args: Any, state_dict: dict[str, Any] | None = None, **kwargs: Any
    ) -> Any:
        """Saves as `FlatExportMixin` does. A checkpoint has one dtype, the language model's: weights that are kept in
        float32 while a half-precision model computes are rounded in the file. What ends an answer is saved with the
        configuration: there is no file of generation settings, since nothing else of the stored ones is followed.
        """
        text, stored = self.config.get_text_config(), self.generation_config
        for name in ("eos_token_id", "pad_token_id"):
            if getattr(stored, name, None) is not None:
                setattr(text, name, getattr(stored, name))
        if state_dict is None:
            state_dict = whole_state_dict(self)
        if self.dtype in HALF_DTYPES:
            # Other values in float32 are scales of quantised weights.
            kept = self._keep_in_fp32_modules_strict
            state_dict = {
                name: value.to(self.dtype) if value.dtype == torch.float32 and name.split(".")[0] in kept else value
                for name, value in state_dict.items()
            }
        return super().save_pretrained(save_directory, *args, state_dict=state_dict, **kwargs)


class DeSa2VAModel(PredictForwardMixin, StreamingMixin, CudaGraphsMixin, DeSa2VAPreTrainedModel):
    """Language model, decoupling, segmenter and fusion.

    Args:
        config: see `DeSa2VAConfig`.

    Attributes:
        mllm: the language model. decoupling: the projections. segmenter: SAM-2 and the two language decoders.
        fusion: the gate; absent in mode `sa2va`.
    """

    def __init__(self, config: DeSa2VAConfig) -> None:
        super().__init__(config)
        self.mllm = AutoModelForImageTextToText.from_config(config.mllm_config)
        width = config.prompt_dim
        self.decoupling = Decoupling(
            config.prompt_mode,
            config.projection,
            config.get_text_config().hidden_size,
            width,
            config.temporal,
            config.projection_rank,
            config.projection_hidden,
        )
        self.segmenter = DeSa2VASegmenter(config)
        self.fusion = MaskFusion(config.fusion if config.prompt_mode == "desa2va" else "mean", width)
        for module in (self.decoupling, self.segmenter, self.fusion):
            module.float().set_precision(self.mllm.dtype)
        self.post_init()

    @classmethod
    def from_parts(cls, mllm: Any, sam2: Any, tokenizer: Any = None, **fields: Any) -> DeSa2VAModel:
        """Pairs any language model with any SAM-2: both language decoders start as SAM-2's, projections and gate anew.

        Args:
            mllm: folder or loaded model: InternVL2.5 / 3 / 3.5 (either layout), Qwen2.5-VL, Qwen3-VL, Qwen3.5.
            sam2: folder, original `.pt` file or loaded `Sam2VideoModel`. tokenizer: of the language model, which gets
                `[SEG]` and its companions in place; read from the folder when omitted.
            fields: of `DeSa2VAConfig`, and options of `from_pretrained` (`dtype`, `device_map`, ...).

        Returns:
            The model in evaluation mode, to be trained. `desa2va.load(name, sam2=...)` gives its processor too.

        Raises:
            ValueError: another architecture, damaged or incomplete weights. FileNotFoundError: no weights.
            ImportError: published layouts are read by the installed package, not by a copy of this file.
        """
        conversion = import_module("desa2va.modeling_desa2va.conversion")
        return conversion.load_pair(mllm, sam2, tokenizer, **fields)

    def get_input_embeddings(self) -> nn.Module:
        """The language model's token embeddings."""
        return self.mllm.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Replaces the language model's token embeddings."""
        self.mllm.set_input_embeddings(value)

    def get_output_embeddings(self) -> nn.Module:
        """The language model's output head."""
        return self.mllm.get_output_embeddings()

    def set_output_embeddings(self, value: nn.Module) -> None:
        """Replaces the language model's output head."""
        self.mllm.set_output_embeddings(value)

    @classmethod
    def can_generate(cls) -> bool:
        """Not by transformers' own loop: `generate` here hands over to `mllm`, whose settings are the model's."""
        return False

    @property
    def generation_config(self) -> GenerationConfig:
        """The language model's stored settings; what of them is followed says `generation_settings`."""
        return self.mllm.generation_config

    @generation_config.setter
    def generation_config(self, value: GenerationConfig) -> None:
        self.mllm.generation_config = value

    def prepare_inputs_for_generation(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """The language model's, which is what generates (peft asks the composite for it)."""
        return self.mllm.prepare_inputs_for_generation(*args, **kwargs)

    # ------------------------------------------------------------------------------------------------ language

    def encode_images(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """InternVL's vision tower and projector: (tiles, 3, s, s) -> (tiles, L, D)."""
        config = self.config.mllm_config

        def encode(pixels: torch.Tensor) -> list[torch.Tensor]:
            seen = self.mllm.model.get_image_features(
                pixels,
                vision_feature_layer=config.vision_feature_layer,
                vision_feature_select_strategy=config.vision_feature_select_strategy,
                return_dict=True,
            )
            return [seen.pooler_output]

        return encode_remembered("language", pixel_values, encode)[0]

    def language_inputs(
        self,
        input_ids: torch.Tensor,
        image_index: torch.Tensor | None = None,
        num_tiles: torch.Tensor | None = None,
        image_features: torch.Tensor | None = None,
        region_cells: torch.Tensor | None = None,
        **vision: Any,
    ) -> dict[str, Any]:
        """What the language model reads.

        InternVL's images are encoded here, each once, and put into every sequence that shows them. Qwen-VL encodes its
        own, to be run inside `shared_images`; its grids are repeated for every run of placeholders.

        Args:
            input_ids: (B, N). image_index: (M,) image shown by each placeholder run, in reading order.
            num_tiles: (images,) tiles of each image (InternVL). image_features: (tiles, L, D) the images encoded
                already, instead of pixels. region_cells: (K, 2) run and cell: tokens of a run's last tile that are
                shown once more after it, region by region (InternVL; Sa2VA's visual prompts). vision: the backbone's
                inputs (`LANGUAGE_INPUTS`), without `image_index`
                one image per run.
        """
        pixel_values, grids = vision.get("pixel_values"), vision.get("image_grid_thw")
        if image_index is not None and grids is not None:
            vision["image_grid_thw"] = grids[image_index.to(grids.device)]
        if num_tiles is None or (pixel_values is None and image_features is None):
            return {"input_ids": input_ids, **{name: value for name, value in vision.items() if value is not None}}
        features = self.encode_images(pixel_values) if image_features is None else image_features
        ends = num_tiles.cumsum(0).tolist()
        starts = [0, *ends[:-1]]
        rows = [torch.arange(starts[image], ends[image]) for image in image_index.tolist()]
        parts = [features[row.to(features.device)].flatten(0, 1) for row in rows]
        if region_cells is not None:
            last = [features[int(row[-1])] for row in rows]
            parts = [
                torch.cat([part, last[run][region_cells[region_cells[:, 0] == run, 1].to(part.device)]])
                for run, part in enumerate(parts)
            ]
        shown = torch.cat(parts)
        embeddings = self.get_input_embeddings()(input_ids)
        places = input_ids == self.config.mllm_config.image_token_id
        if int(places.sum()) != len(shown):
            raise ValueError(f"{int(places.sum())} image tokens in the text but {len(shown)} image features")
        places = places.to(embeddings.device)[..., None]
        return {"inputs_embeds": embeddings.masked_scatter(places, shown.to(embeddings))}

    # ------------------------------------------------------------------------------------------------ masks

    def isolate_text(self, isolated: bool = True) -> None:
        """Keeps the text branch's lessons to the text branch (training only; masks stay the same).

        Its losses then teach W_t, not the language model, and the fused mask's loss teaches the gate and the visual
        branch, not W_t: the text mask is compared with the label's mask alone (paper section 3.4).
        """
        self.decoupling.text_isolated = self.fusion.text_isolated = isolated

    def decode_prompts(
        self,
        features: ImageFeatures,
        frame_index: torch.Tensor,
        text: torch.Tensor | None,
        visual: torch.Tensor,
        num_reprompts: int | None = None,
        levels: dict[str, tuple[torch.Tensor, torch.Tensor]] | None = None,
    ) -> tuple[list[MaskPass], MaskPass]:
        """Decodes, fuses and re-prompts P object-frame pairs (paper sections 3.3, 3.4, Eq. 11).

        Args:
            features: SAM-2 encodings of F frames. frame_index: (P,) row of each pair.
            text, visual: (P, C) prompts; `text` is `None` in mode `sa2va`. num_reprompts: the configuration's when
                omitted. levels: `segmenter.language_levels(features)`, where they are at hand already.

        Returns:
            All passes, and the one kept: the last, or with `reprompt_guard` (in eval mode) for every pair the one
            whose fused mask has the highest predicted IoU.
        """
        levels = self.segmenter.language_levels(features) if levels is None else levels
        prompts = {"text": text, "visual": visual}
        passes = [self._decode_once(features, frame_index, prompts, levels, None)]
        kept = passes[0]
        for _ in range(self.config.num_reprompts if num_reprompts is None else num_reprompts):
            # The mask is a prompt here, not a path for gradients: each pass is supervised by itself.
            passes.append(self._decode_once(features, frame_index, prompts, levels, kept.fused.logits.detach()))
            guarded = self.config.reprompt_guard and not self.training
            kept = better_pass(kept, passes[-1]) if guarded else passes[-1]
        return passes, kept

    def _decode_once(
        self,
        features: ImageFeatures,
        frame_index: torch.Tensor,
        prompts: dict[str, torch.Tensor | None],
        levels: dict[str, tuple[torch.Tensor, torch.Tensor]],
        dense_masks: torch.Tensor | None,
    ) -> MaskPass:
        segmenter = self.segmenter
        if dense_masks is not None:
            dense_masks = segmenter.embed_masks(dense_masks, frame_index.shape[0])  # `len`: a constant in a graph
        decoded: dict[str, MaskPrediction | None] = {"text": None}
        for name, decoder in (("text", segmenter.text_decoder), ("visual", segmenter.visual_decoder)):
            if prompts[name] is not None:
                tokens = prompts[name][:, None]
                decoded[name] = segmenter.decode(
                    decoder, features, frame_index, tokens, dense_masks=dense_masks, high=levels[name]
                )
        return self.fusion(decoded["text"], decoded["visual"], prompts["text"], prompts["visual"])

    # ------------------------------------------------------------------------------------------------ teacher-forced

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        pixel_values: torch.Tensor | None = None,
        image_index: torch.Tensor | None = None,
        num_tiles: torch.Tensor | None = None,
        sam_pixel_values: torch.Tensor | None = None,
        sam_frame_visual: torch.Tensor | None = None,
        sequence_visual: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        phrase_states: torch.Tensor | None = None,
        num_reprompts: int | None = None,
        logits_to_keep: int | torch.Tensor = 0,
        **vision: Any,
    ) -> DeSa2VAOutput:
        """Reads whole sequences and decodes every `[SEG]` in them.

        Args:
            input_ids, attention_mask: (B, N). pixel_values, image_index, num_tiles, vision: see `language_inputs`.
            sam_pixel_values: (F, 3, S, S); no masks are decoded without them. sam_frame_visual: (F,) visual of each
                frame.
            sequence_visual: (B,) visual of each sequence, -1 for text only. labels: (B, N), -100 is ignored.
            phrase_states: (O, D) states of the ground-truth phrases, read alone (paper section 3.3).
            num_reprompts: overrides the configuration.
            logits_to_keep: without labels, the last so many places that get logits, or which ones (K,) long; 0 is all
                of them, whose logits are larger than all else.
        """
        vision = {name: vision.get(name) for name in LANGUAGE_INPUTS[1:]} | {"pixel_values": pixel_values}
        output = DeSa2VAOutput()
        if pixel_values is not None and num_tiles is not None:
            output.image_features = self.encode_images(pixel_values)
        inputs = self.language_inputs(input_ids, image_index, num_tiles, output.image_features, **vision)
        with shared_images(self.mllm, vision["image_grid_thw"], image_index):
            packed = self.packing_of(input_ids, attention_mask, image_index)
            states, seg_states = self.read_states(packed, attention_mask=attention_mask, **inputs)
        output.last_hidden_state = states
        input_ids = input_ids.to(states.device)
        if labels is None:
            asked = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
            output.logits = self.get_output_embeddings()(states[:, asked])
        else:
            output.loss = self._language_loss(states, labels)
        index = find_objects(
            input_ids, self.config.seg_token_ids, self.config.num_seg_frames, sam_frame_visual, sequence_visual
        )
        output.object_sequence = index.sequence
        output.seg_states = seg_states[index.sequence[:, None], index.positions]
        prompts = self.decoupling.prompts(output.seg_states)
        output.text_prompts, output.visual_prompts = prompts.text, prompts.visual
        output.motion_prompts = prompts.motion
        output.visual_anchor = self._visual_anchor(input_ids, seg_states)
        if sam_pixel_values is not None:
            self._decode_objects(output, index, sam_pixel_values, phrase_states, num_reprompts)
        return output

    def _language_loss(self, states: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Next-token cross-entropy; the head runs only where a label is (METHOD section 5, L_text)."""
        targets = labels[:, 1:].to(states.device)
        counted = (targets != -100).nonzero(as_tuple=True)
        logits = self.get_output_embeddings()(states[:, :-1][counted])
        if not len(logits):
            return states.sum() * 0.0
        return F.cross_entropy(logits.float(), targets[counted].to(logits.device))

    def _visual_anchor(self, input_ids: torch.Tensor, states: torch.Tensor) -> torch.Tensor:
        """V of METHOD section 5: W_v of the mean image-token state, (M, C), one row per sequence that shows an
        image.
        """
        places = (input_ids == self.config.mllm_config.image_token_id).to(states.dtype)
        count = places.sum(dim=1, keepdim=True)
        pooled = torch.einsum("bn,bnd->bd", places, states) / count.clamp(min=1)
        return self.decoupling.visual(pooled[count[:, 0] > 0])

    def _decode_objects(
        self,
        output: DeSa2VAOutput,
        index: ObjectIndex,
        sam_pixel_values: torch.Tensor,
        phrase_states: torch.Tensor | None,
        num_reprompts: int | None,
    ) -> None:
        device = execution_device(self.segmenter.sam)
        features = self.segmenter.encode_frames(sam_pixel_values.to(device))
        pairs = Pairs(*(part.to(device) for part in index.pairs))
        levels = self.segmenter.language_levels(features)
        output.pair_object, output.pair_frame = pairs.object, pairs.frame
        prompts = Prompts(output.text_prompts, output.visual_prompts, output.motion_prompts).to(device)
        text, visual = prompts.at(pairs.object, pairs.token, pairs.time)
        output.passes, kept = self.decode_prompts(features, pairs.frame, text, visual, num_reprompts, levels)
        output.masks = kept.fused
        if phrase_states is not None and self.segmenter.text_decoder is not None:
            output.label_prompts = self.decoupling.label(phrase_states)
            output.label_masks = self.segmenter.decode(
                self.segmenter.text_decoder,
                features,
                pairs.frame,
                output.label_prompts.to(device)[pairs.object][:, None],
                high=levels["text"],
            )


__all__ = ["DeSa2VAModel", "DeSa2VAPreTrainedModel"]
