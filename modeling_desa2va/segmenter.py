"""SAM-2, complete and untouched, and beside it a text decoder and a visual decoder (METHOD section 2).

Enters: SAM-2 pixels and language prompts. Leaves: mask logits of object-frame pairs. Every frame is encoded once,
whatever the number of objects, decoders and re-prompts; pairs are decoded together.
"""

from __future__ import annotations

import torch
from torch import nn
from transformers import Sam2VideoModel

from desa2va.configuration.configuration_desa2va import DeSa2VAConfig

from .channel_norm import norm_all_places_at_once
from .devices import bring_small_weights, execution_device
from .hiera import order_by_windows
from .image_encoder import read_only_what_counts
from .mask_decoder import LeanMaskDecoder, draw_in_few_steps
from .memory_attention import order_for_cpu
from .outputs import ImageFeatures, MaskPrediction
from .precision import Float32Module, in_autocast, without_autocast
from .remembered import encode_remembered


class DeSa2VASegmenter(Float32Module):
    """SAM-2 plus the language decoders; float32 weights, in autocast where the model is in half precision.

    Args:
        config: the model's configuration. In mode `"sa2va"` there is no text decoder.
    """

    def __init__(self, config: DeSa2VAConfig) -> None:
        super().__init__()
        self.multimask_output = config.multimask_output
        self.sam = Sam2VideoModel(config.sam_config)
        read_only_what_counts(self.sam.vision_encoder)
        order_by_windows(self.sam.vision_encoder)
        order_for_cpu(self.sam.memory_attention)
        draw_in_few_steps(self.sam.mask_decoder)
        norm_all_places_at_once(self.sam)
        _fit_memory_width(self.sam)
        decoder_config = config.sam_config.mask_decoder_config
        self.text_decoder = LeanMaskDecoder(decoder_config) if config.prompt_mode == "desa2va" else None
        self.visual_decoder = LeanMaskDecoder(decoder_config)
        self._kept_codes: tuple[torch.Tensor, int, torch.Tensor] | None = None

    def networks(self) -> dict[str, nn.Module]:
        """SAM-2's networks and the language decoders there are, by name."""
        sam = self.sam
        named = {
            "image_encoder": sam.vision_encoder,
            "text_decoder": self.text_decoder,
            "visual_decoder": self.visual_decoder,
            "mask_decoder": sam.mask_decoder,
            "memory_attention": sam.memory_attention,
            "memory_encoder": sam.memory_encoder,
        }
        return {name: network for name, network in named.items() if network is not None}

    @torch.no_grad()
    def copy_decoders(self) -> None:
        """Starts both language decoders from SAM-2's own (METHOD section 2)."""
        state = self.sam.mask_decoder.state_dict()
        for decoder in (self.text_decoder, self.visual_decoder):
            if decoder is not None:
                decoder.load_state_dict(state)

    @in_autocast
    def encode_frames(self, pixel_values: torch.Tensor, batch_size: int | None = None) -> ImageFeatures:
        """SAM-2's image encoder.

        Args:
            pixel_values: (F, 3, S, S) normalised pixels. batch_size: frames per call; all at once when omitted.

        Returns:
            Features of the F frames, differentiable where pixels or a weight of the encoder want gradients.
        """
        size = self.sam.image_size
        if tuple(pixel_values.shape[-2:]) != (size, size):
            raise ValueError(f"SAM-2 takes {size}x{size} pixels here, got {tuple(pixel_values.shape[-2:])}")
        dtype = self.sam.no_memory_embedding.dtype

        def encode(pixels: torch.Tensor) -> list[torch.Tensor]:
            chunks = pixels.split(batch_size or max(len(pixels), 1))
            with torch.set_grad_enabled(self._wants_gradients(pixels)):
                encoded = [self.sam.vision_encoder(chunk.to(dtype), return_dict=True) for chunk in chunks]
            parts = zip(*(out.fpn_hidden_states for out in encoded), strict=True)
            levels = [torch.cat(part) if len(part) > 1 else part[0] for part in parts]
            return [*levels, encoded[0].fpn_position_encoding[-1][:1].expand_as(levels[-1])]

        *levels, position = encode_remembered("sam2", pixel_values, encode)
        return ImageFeatures(*levels, position=position[:1])

    def _wants_gradients(self, pixels: torch.Tensor) -> bool:
        """Whether anything learns through the image encoder: frozen, it takes the steps it takes in inference."""
        weights = self.sam.vision_encoder.parameters()
        return torch.is_grad_enabled() and any(part.requires_grad for part in (pixels, *weights))

    def embed_prompts(
        self,
        num_pairs: int,
        points: tuple[torch.Tensor, torch.Tensor] | None = None,
        boxes: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """SAM-2's own sparse tokens: clicks and boxes, or the two not-a-point tokens where there are none.

        Args:
            points: (P, k, 2) SAM pixels (x, y) and (P, k) labels (1 in, 0 out, -1 padding). boxes: (P, 4) xyxy SAM
                pixels.

        Returns:
            (P, K, C).
        """
        encoder = self.sam.prompt_encoder
        if points is None and boxes is None and not torch.is_grad_enabled():
            # What the padded call below gives; it also gives gradients of zero to weights that clicks would use.
            return encoder.not_a_point_embed.weight.expand(num_pairs, 2, -1)
        device = execution_device(encoder)
        if boxes is not None:
            # SAM-2's video predictor spells a box as two labelled clicks; so does its session.
            corners = boxes.reshape(num_pairs, 2, 2)
            corner_labels = torch.tensor([2, 3], device=device).expand(num_pairs, 2)
            if points is None:
                points = (corners, corner_labels)
            else:
                points = (torch.cat([corners, points[0]], 1), torch.cat([corner_labels, points[1]], 1))
        if points is None:
            points = (torch.zeros(num_pairs, 1, 2, device=device), -torch.ones(num_pairs, 1, device=device))
        coordinates, labels = points
        # The frequency matrix sets the dtype; coordinates stay exact in fp32 until then.
        dtype = encoder.shared_embedding.positional_embedding.dtype
        return encoder._embed_points(coordinates[:, None].to(dtype), labels[:, None].to(torch.int32), pad=True)[:, 0]

    @in_autocast
    def embed_masks(self, masks: torch.Tensor | None, num_pairs: int) -> torch.Tensor:
        """Dense prompt (P, C, g, g) of mask logits (P, h, w), or SAM-2's no-mask embedding; what it is already stays.

        It is the same for all decoders; who decodes with several makes it once.
        """
        if masks is not None and masks.ndim == 4:
            return masks
        encoder = self.sam.prompt_encoder
        if masks is None:
            return encoder.no_mask_embed.weight.reshape(1, -1, 1, 1).expand(
                num_pairs, -1, *encoder.image_embedding_size
            )
        return encoder.mask_embed(masks[:, None].to(encoder.no_mask_embed.weight.dtype))

    def grid_codes(self) -> torch.Tensor:
        """SAM-2's codes (1, C, g, g) of the places of the low level.

        Without gradients they are kept from call to call, until the frequencies they are made of change.
        """
        frequencies = self.sam.shared_image_embedding.positional_embedding
        if self.training or torch.is_grad_enabled() or frequencies.is_inference():
            return self.sam.get_image_wide_positional_embeddings()
        kept = self._kept_codes
        if kept is None or kept[0] is not frequencies or kept[1] != frequencies._version:
            codes = self.sam.get_image_wide_positional_embeddings()
            self._kept_codes = kept = frequencies, frequencies._version, codes
        return kept[2]

    @in_autocast
    def high_levels(self, decoder: nn.Module, features: ImageFeatures) -> tuple[torch.Tensor, torch.Tensor]:
        """The two high levels of F frames after a decoder's own 1x1 convolutions.

        (F, C/8, 4g, 4g) and (F, C/4, 2g, 2g). They depend on decoder and frames alone; who decodes the same frames
        several times makes them once.
        """
        return decoder.conv_s0(features.high0), decoder.conv_s1(features.high1)

    def language_levels(self, features: ImageFeatures) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
        """`high_levels` of the language decoders there are, by `"text"` and `"visual"`."""
        decoders = {"text": self.text_decoder, "visual": self.visual_decoder}
        return {name: self.high_levels(decoder, features) for name, decoder in decoders.items() if decoder is not None}

    @in_autocast
    def decode(
        self,
        decoder: nn.Module,
        features: ImageFeatures,
        frame_index: torch.Tensor,
        prompts: torch.Tensor | None = None,
        *,
        dense_masks: torch.Tensor | None = None,
        high: tuple[torch.Tensor, torch.Tensor] | None = None,
        image_embeddings: torch.Tensor | None = None,
        points: tuple[torch.Tensor, torch.Tensor] | None = None,
        boxes: torch.Tensor | None = None,
        multimask: bool | None = None,
    ) -> MaskPrediction:
        """Decodes P object-frame pairs with one decoder.

        Args:
            decoder: `self.sam.mask_decoder`, `self.text_decoder` or `self.visual_decoder`.
            features: encodings of F frames. frame_index: (P,) row of `features` for every pair.
            prompts: (P, K, C) language tokens, appended after SAM-2's own. dense_masks: (P, h, w) mask logits as
                prompt, or what `embed_masks` made of them.
            high: `high_levels` of this decoder and these frames, where they are at hand already.
            image_embeddings: (P, C, g, g) memory-conditioned features that replace the low level.
            points, boxes: see `embed_prompts`. multimask: three masks, the best by predicted IoU kept; the
                configuration's choice when omitted.

        Returns:
            Logits (P, h, w) at a quarter of SAM-2's input, scores and mask token. Logits and scores are fp32 outside
            training.
        """
        bring_small_weights(decoder)
        num_pairs = frame_index.shape[0]  # `len` would be a constant in an exported graph
        if num_pairs == 0:
            return self._no_masks(decoder)
        # A place has 10 bits in SAM-2's 1024 pixels, bfloat16 8.
        with without_autocast(self):
            sparse = self.embed_prompts(num_pairs, points, boxes)
            grid_codes = self.grid_codes().expand(num_pairs, -1, -1, -1)
        if prompts is not None:
            sparse = torch.cat([sparse, prompts.to(sparse.dtype)], dim=1)
        # Once per frame, then gathered per pair.
        levels = self.high_levels(decoder, features) if high is None else high
        if image_embeddings is None:
            image_embeddings = _of_pairs(features.low + self.sam.no_memory_embedding.reshape(1, -1, 1, 1), frame_index)
        logits, iou, tokens, object_score = decoder(
            image_embeddings=image_embeddings,
            image_positional_embeddings=grid_codes,
            sparse_prompt_embeddings=sparse[:, None],
            dense_prompt_embeddings=self.embed_masks(dense_masks, num_pairs),
            multimask_output=self.multimask_output if multimask is None else multimask,
            high_resolution_features=[_of_pairs(level, frame_index) for level in levels],
            best_only=True,
        )
        best = MaskPrediction(logits[:, 0, 0], iou[:, 0, 0], object_score[:, 0, 0], tokens[:, 0, 0])
        if not self.training:
            best.logits, best.iou, best.object_score = best.logits.float(), best.iou.float(), best.object_score.float()
        return best

    def _no_masks(self, decoder: nn.Module) -> MaskPrediction:
        """Predictions for no pair at all, still connected to the decoder: a step without objects has gradients of
        zero.
        """
        nothing = decoder.iou_token.weight[0] * 0.0
        logits = nothing.sum() + nothing.new_zeros(0, *self.sam.prompt_encoder.mask_input_size)
        return MaskPrediction(
            logits, logits.flatten(1).sum(1), logits.flatten(1).sum(1), nothing + logits.new_zeros(0, 1)
        )


def _of_pairs(level: torch.Tensor, frame_index: torch.Tensor) -> torch.Tensor:
    """One level (F, ...) of the frames of P pairs, (P, ...); no copies where there is one frame only."""
    if len(level) == 1:
        return level.expand(frame_index.shape[0], *level.shape[1:])
    return level[frame_index]


def _fit_memory_width(sam: Sam2VideoModel) -> None:
    """Lets memory attention read memories of the configured width: transformers builds it for 64 channels, the width
    of every published SAM-2.
    """
    width = sam.config.memory_encoder_output_channels
    for layer in sam.memory_attention.layers:
        attention = layer.cross_attn_image
        for name in ("k_proj", "v_proj"):
            built = getattr(attention, name)
            if built.in_features != width:
                setattr(attention, name, nn.Linear(width, built.out_features, bias=built.bias is not None))


__all__ = ["DeSa2VASegmenter"]
