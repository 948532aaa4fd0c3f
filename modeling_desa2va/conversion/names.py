"""Parameter names of published checkpoints and what they are called here.

Enters: a name as it stands in a published file. Leaves: `Place`s: the parameter of `DeSa2VAModel` it belongs to and
which part of the tensor goes there. Several names may share a place, then their tensors are joined in order.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch

Take = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Place:
    """Where a stored tensor goes.

    Attributes:
        name: of the parameter. take: the part that goes there; all of it when omitted. order: place among the tensors
            that are joined (along axis 0) to one parameter; `None` where nothing is joined.
    """

    name: str
    take: Take | None = None
    order: int | None = None


Rule = tuple[str, str]

# SAM-2 as its authors publish it (and as it lies inside Sa2VA, where `gamma` is called `g_weight`).
_SAM_RULES: tuple[Rule, ...] = (
    (r"image_encoder\.trunk\.patch_embed\.proj\.", "vision_encoder.backbone.patch_embed.projection."),
    (r"image_encoder\.trunk\.", "vision_encoder.backbone."),
    (r"image_encoder\.neck\.convs\.(\d+)\.conv\.", r"vision_encoder.neck.convs.\1."),
    (r"sam_prompt_encoder\.mask_downscaling\.0\.", "prompt_encoder.mask_embed.conv1."),
    (r"sam_prompt_encoder\.mask_downscaling\.1\.", "prompt_encoder.mask_embed.layer_norm1."),
    (r"sam_prompt_encoder\.mask_downscaling\.3\.", "prompt_encoder.mask_embed.conv2."),
    (r"sam_prompt_encoder\.mask_downscaling\.4\.", "prompt_encoder.mask_embed.layer_norm2."),
    (r"sam_prompt_encoder\.mask_downscaling\.6\.", "prompt_encoder.mask_embed.conv3."),
    (r"sam_prompt_encoder\.", "prompt_encoder."),
    (r"sam_mask_decoder\.output_upscaling\.0\.", "mask_decoder.upscale_conv1."),
    (r"sam_mask_decoder\.output_upscaling\.1\.", "mask_decoder.upscale_layer_norm."),
    (r"sam_mask_decoder\.output_upscaling\.3\.", "mask_decoder.upscale_conv2."),
    (r"sam_mask_decoder\.", "mask_decoder."),
    (r"memory_encoder\.mask_downsampler\.encoder\.12\.", "memory_encoder.mask_downsampler.final_conv."),
    (r"memory_encoder\.fuser\.layers\.(\d+)\.dwconv\.", r"memory_encoder.memory_fuser.layers.\1.depthwise_conv."),
    (r"memory_encoder\.fuser\.layers\.(\d+)\.pwconv", r"memory_encoder.memory_fuser.layers.\1.pointwise_conv"),
    (r"memory_encoder\.fuser\.layers\.(\d+)\.norm\.", r"memory_encoder.memory_fuser.layers.\1.layer_norm."),
    (r"memory_encoder\.fuser\.layers\.(\d+)\.(?:gamma|g_weight)$", r"memory_encoder.memory_fuser.layers.\1.scale"),
    (r"memory_encoder\.pix_feat_proj\.", "memory_encoder.feature_projection."),
    (r"memory_encoder\.out_proj\.", "memory_encoder.projection."),
    (r"memory_attention\.norm\.", "memory_attention.layer_norm."),
    (r"obj_ptr_proj\.", "object_pointer_proj."),
    (r"obj_ptr_tpos_proj\.", "temporal_positional_encoding_projection_layer."),
    (r"no_obj_embed_spatial$", "occlusion_spatial_embedding_parameter"),
    (r"maskmem_tpos_enc$", "memory_temporal_positional_encoding"),
    (r"no_mem_embed$", "no_memory_embedding"),
    (r"no_mem_pos_enc$", "no_memory_positional_encoding"),
    (r"no_obj_ptr$", "no_object_pointer"),
)
# Inside the parts, after the prefixes above.
_SAM_INNER: tuple[Rule, ...] = (
    (r"(?<=\.)out_proj(?=\.)", "o_proj"),
    (r"(?<=\.)norm_final_attn(?=\.)", "layer_norm_final_attn"),
    (r"(?<=\.)norm(\d)(?=\.)", r"layer_norm\1"),
)
_TWO_LAYERS = re.compile(r"(.*\.mlp)\.layers\.([01])\.(.*)")
_THREE_LAYERS = re.compile(
    r"(object_pointer_proj|mask_decoder\.(?:iou_prediction_head|pred_obj_score_head|output_hypernetworks_mlps\.\d+))"
    r"\.layers\.([012])\.(.*)"
)
_DOWNSAMPLER = re.compile(r"memory_encoder\.mask_downsampler\.encoder\.(\d+)\.(weight|bias)$")
_CLICK = re.compile(r"sam_prompt_encoder\.point_embeddings\.(\d)\.weight$")
_FREQUENCIES = "sam_prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"


def _first_rule(name: str, rules: Iterable[Rule]) -> str | None:
    """The name under the first rule that matches its beginning, or `None`."""
    for pattern, target in rules:
        match = re.match(pattern, name)
        if match:
            return match.expand(target) + name[match.end() :]
    return None


def sam_places(name: str) -> list[Place]:
    """Places in `Sam2VideoModel` of a tensor of SAM-2 as its authors publish it; empty for one it does not have."""
    if name == _FREQUENCIES:
        return [
            Place("prompt_encoder.shared_embedding.positional_embedding"),
            Place("shared_image_embedding.positional_embedding"),
        ]
    if click := _CLICK.match(name):
        return [Place("prompt_encoder.point_embed.weight", order=int(click[1]))]
    if (layer := _DOWNSAMPLER.match(name)) and layer[1] != "12":
        part = "conv" if int(layer[1]) % 3 == 0 else "layer_norm"
        return [Place(f"memory_encoder.mask_downsampler.layers.{int(layer[1]) // 3}.{part}.{layer[2]}")]
    target = _first_rule(name, _SAM_RULES) or name
    for pattern, replacement in _SAM_INNER:
        if not target.startswith(("memory_encoder.projection", "object_pointer_proj")):
            target = re.sub(pattern, replacement, target)
    if layer := _TWO_LAYERS.match(target):
        target = f"{layer[1]}.{('proj_in', 'proj_out')[int(layer[2])]}.{layer[3]}"
    if layer := _THREE_LAYERS.match(target):
        target = f"{layer[1]}.{('proj_in', 'layers.0', 'proj_out')[int(layer[2])]}.{layer[3]}"
    return [Place(target)]


# InternVL as OpenGVLab publishes it: vision tower and projector.
_VISION_RULES: tuple[Rule, ...] = (
    (r"vision_model\.embeddings\.class_embedding$", "model.vision_tower.embeddings.cls_token"),
    (r"vision_model\.embeddings\.position_embedding$", "model.vision_tower.embeddings.position_embeddings"),
    (r"vision_model\.embeddings\.patch_embedding\.", "model.vision_tower.embeddings.patch_embeddings.projection."),
    (r"vision_model\.encoder\.layers\.(\d+)\.norm1\.", r"model.vision_tower.encoder.layer.\1.layernorm_before."),
    (r"vision_model\.encoder\.layers\.(\d+)\.norm2\.", r"model.vision_tower.encoder.layer.\1.layernorm_after."),
    (r"vision_model\.encoder\.layers\.(\d+)\.ls([12])$", r"model.vision_tower.encoder.layer.\1.lambda_\2"),
    (r"vision_model\.encoder\.layers\.(\d+)\.mlp\.", r"model.vision_tower.encoder.layer.\1.mlp."),
    (
        r"vision_model\.encoder\.layers\.(\d+)\.attn\.proj\.",
        r"model.vision_tower.encoder.layer.\1.attention.projection_layer.",
    ),
    (
        r"vision_model\.encoder\.layers\.(\d+)\.attn\.([qk])_norm\.",
        r"model.vision_tower.encoder.layer.\1.attention.\2_norm.",
    ),
    (r"mlp1\.0\.", "model.multi_modal_projector.layer_norm."),
    (r"mlp1\.1\.", "model.multi_modal_projector.linear_1."),
    (r"mlp1\.3\.", "model.multi_modal_projector.linear_2."),
)
_LANGUAGE_RULES: tuple[Rule, ...] = (
    (r"language_model\.model\.", "model.language_model."),
    (r"language_model\.lm_head\.", "lm_head."),
)
# InternLM2 in Llama's words.
_INTERNLM2_RULES: tuple[Rule, ...] = (
    (r"language_model\.output\.", "lm_head."),
    (r"language_model\.model\.tok_embeddings\.", "model.language_model.embed_tokens."),
    (r"language_model\.model\.norm\.", "model.language_model.norm."),
    (
        r"language_model\.model\.layers\.(\d+)\.attention\.wo\.",
        r"model.language_model.layers.\1.self_attn.o_proj.",
    ),
    (
        r"language_model\.model\.layers\.(\d+)\.attention_norm\.",
        r"model.language_model.layers.\1.input_layernorm.",
    ),
    (
        r"language_model\.model\.layers\.(\d+)\.ffn_norm\.",
        r"model.language_model.layers.\1.post_attention_layernorm.",
    ),
    (r"language_model\.model\.layers\.(\d+)\.feed_forward\.w1\.", r"model.language_model.layers.\1.mlp.gate_proj."),
    (r"language_model\.model\.layers\.(\d+)\.feed_forward\.w3\.", r"model.language_model.layers.\1.mlp.up_proj."),
    (r"language_model\.model\.layers\.(\d+)\.feed_forward\.w2\.", r"model.language_model.layers.\1.mlp.down_proj."),
)
_FUSED_VISION = re.compile(r"vision_model\.encoder\.layers\.(\d+)\.attn\.qkv\.(weight|bias)$")
_FUSED_INTERNLM2 = re.compile(r"language_model\.model\.layers\.(\d+)\.attention\.wqkv\.(weight|bias)$")


def third(number: int) -> Take:
    """Takes one of three equal parts along axis 0."""
    return lambda tensor: tensor.chunk(3)[number]


def grouped(part: str, num_heads: int, num_kv_heads: int) -> Take:
    """Takes q, k or v out of InternLM2's fused rows, which are grouped by key head: its queries, then k, then v.

    Args:
        part: `"q"`, `"k"` or `"v"`. num_heads, num_kv_heads: of the attention.
    """
    queries = num_heads // num_kv_heads
    rows = {"q": slice(0, queries), "k": slice(queries, queries + 1), "v": slice(queries + 1, queries + 2)}[part]

    def take(tensor: torch.Tensor) -> torch.Tensor:
        heads = tensor.unflatten(0, (num_kv_heads, queries + 2, -1))
        return heads[:, rows].flatten(0, 2)

    return take


def internvl_places(name: str, num_heads: int | None = None, num_kv_heads: int | None = None) -> list[Place]:
    """Places in `InternVLForConditionalGeneration` of a tensor of InternVL as its authors publish it.

    Args:
        name: as published. num_heads, num_kv_heads: of the language model's attention; needed for InternLM2 only.
    """
    if fused := _FUSED_VISION.match(name):
        stem = f"model.vision_tower.encoder.layer.{fused[1]}.attention"
        return [Place(f"{stem}.{part}_proj.{fused[2]}", third(number)) for number, part in enumerate("qkv")]
    if fused := _FUSED_INTERNLM2.match(name):
        stem = f"model.language_model.layers.{fused[1]}.self_attn"
        return [Place(f"{stem}.{part}_proj.{fused[2]}", grouped(part, num_heads, num_kv_heads)) for part in "qkv"]
    target = _first_rule(name, (*_VISION_RULES, *_INTERNLM2_RULES, *_LANGUAGE_RULES))
    return [] if target is None else [Place(target)]


def prefixed(prefix: str, places: Sequence[Place]) -> list[Place]:
    """The same places below `prefix`."""
    return [Place(prefix + place.name, place.take, place.order) for place in places]


__all__ = ["Place", "Take", "grouped", "internvl_places", "prefixed", "sam_places", "third"]
