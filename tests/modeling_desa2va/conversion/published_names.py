"""Parameter names as the peers publish them, spelled from lists of published parameters, not from our own mapping.

Each line is (name here, name there); `{n}` and `{m}` are numbers. A line that ends with a dot stands for all that
follows. What is fused or split is written out in `publish_internvl` and `publish_sam`.
"""

from __future__ import annotations

import re

import torch

_ATTENTION = ("q_proj.", "k_proj.", "v_proj.")


def _attention(here, there):
    return [(f"{here}.{part}", f"{there}.{part}") for part in _ATTENTION] + [(f"{here}.o_proj.", f"{there}.out_proj.")]


def _three(here, there):
    return [
        (f"{here}.{mine}.", f"{there}.layers.{number}.")
        for number, mine in enumerate(("proj_in", "layers.0", "proj_out"))
    ]


def _norms(here, there, count):
    return [(f"{here}.layer_norm{number}.", f"{there}.norm{number}.") for number in range(1, count + 1)]


_TRUNK = "vision_encoder.backbone.blocks.{n}", "image_encoder.trunk.blocks.{n}"
_DECODER = "mask_decoder.transformer.layers.{n}", "sam_mask_decoder.transformer.layers.{n}"
_MEMORY = "memory_attention.layers.{n}", "memory_attention.layers.{n}"
_FUSER = "memory_encoder.memory_fuser.layers.{n}", "memory_encoder.fuser.layers.{n}"
SAM = [
    ("vision_encoder.neck.convs.{n}.", "image_encoder.neck.convs.{n}.conv."),
    ("vision_encoder.backbone.patch_embed.projection.", "image_encoder.trunk.patch_embed.proj."),
    ("vision_encoder.backbone.pos_embed", "image_encoder.trunk.pos_embed"),
    ("vision_encoder.backbone.pos_embed_window", "image_encoder.trunk.pos_embed_window"),
    (f"{_TRUNK[0]}.attn.", f"{_TRUNK[1]}.attn."),
    (f"{_TRUNK[0]}.mlp.proj_in.", f"{_TRUNK[1]}.mlp.layers.0."),
    (f"{_TRUNK[0]}.mlp.proj_out.", f"{_TRUNK[1]}.mlp.layers.1."),
    (f"{_TRUNK[0]}.proj.", f"{_TRUNK[1]}.proj."),
    *_norms(*_TRUNK, 2),
    ("prompt_encoder.shared_embedding.positional_embedding",
     "sam_prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"),
    ("prompt_encoder.no_mask_embed.", "sam_prompt_encoder.no_mask_embed."),
    ("prompt_encoder.not_a_point_embed.", "sam_prompt_encoder.not_a_point_embed."),
    *[(f"prompt_encoder.mask_embed.{mine}.", f"sam_prompt_encoder.mask_downscaling.{number}.")
      for mine, number in (("conv1", 0), ("layer_norm1", 1), ("conv2", 3), ("layer_norm2", 4), ("conv3", 6))],
    *[(f"mask_decoder.{part}.", f"sam_mask_decoder.{part}.")
      for part in ("conv_s0", "conv_s1", "iou_token", "mask_tokens", "obj_score_token")],
    *[(f"mask_decoder.{mine}.", f"sam_mask_decoder.output_upscaling.{number}.")
      for mine, number in (("upscale_conv1", 0), ("upscale_layer_norm", 1), ("upscale_conv2", 3))],
    *_three("mask_decoder.iou_prediction_head", "sam_mask_decoder.iou_prediction_head"),
    *_three("mask_decoder.pred_obj_score_head", "sam_mask_decoder.pred_obj_score_head"),
    *_three("mask_decoder.output_hypernetworks_mlps.{n}", "sam_mask_decoder.output_hypernetworks_mlps.{n}"),
    *_attention(f"{_DECODER[0]}.self_attn", f"{_DECODER[1]}.self_attn"),
    *_attention(f"{_DECODER[0]}.cross_attn_token_to_image", f"{_DECODER[1]}.cross_attn_token_to_image"),
    *_attention(f"{_DECODER[0]}.cross_attn_image_to_token", f"{_DECODER[1]}.cross_attn_image_to_token"),
    (f"{_DECODER[0]}.mlp.proj_in.", f"{_DECODER[1]}.mlp.layers.0."),
    (f"{_DECODER[0]}.mlp.proj_out.", f"{_DECODER[1]}.mlp.layers.1."),
    *_norms(*_DECODER, 4),
    *_attention("mask_decoder.transformer.final_attn_token_to_image",
                "sam_mask_decoder.transformer.final_attn_token_to_image"),
    ("mask_decoder.transformer.layer_norm_final_attn.", "sam_mask_decoder.transformer.norm_final_attn."),
    *_attention(f"{_MEMORY[0]}.self_attn", f"{_MEMORY[1]}.self_attn"),
    *_attention(f"{_MEMORY[0]}.cross_attn_image", f"{_MEMORY[1]}.cross_attn_image"),
    (f"{_MEMORY[0]}.linear1.", f"{_MEMORY[1]}.linear1."),
    (f"{_MEMORY[0]}.linear2.", f"{_MEMORY[1]}.linear2."),
    *_norms(*_MEMORY, 3),
    ("memory_attention.layer_norm.", "memory_attention.norm."),
    *[(f"memory_encoder.mask_downsampler.layers.{layer}.{mine}.",
       f"memory_encoder.mask_downsampler.encoder.{3 * layer + step}.")
      for layer in range(4) for step, mine in enumerate(("conv", "layer_norm"))],
    ("memory_encoder.mask_downsampler.final_conv.", "memory_encoder.mask_downsampler.encoder.12."),
    ("memory_encoder.feature_projection.", "memory_encoder.pix_feat_proj."),
    ("memory_encoder.projection.", "memory_encoder.out_proj."),
    (f"{_FUSER[0]}.depthwise_conv.", f"{_FUSER[1]}.dwconv."),
    (f"{_FUSER[0]}.layer_norm.", f"{_FUSER[1]}.norm."),
    (f"{_FUSER[0]}.pointwise_conv1.", f"{_FUSER[1]}.pwconv1."),
    (f"{_FUSER[0]}.pointwise_conv2.", f"{_FUSER[1]}.pwconv2."),
    (f"{_FUSER[0]}.scale", f"{_FUSER[1]}.gamma"),
    *_three("object_pointer_proj", "obj_ptr_proj"),
    ("temporal_positional_encoding_projection_layer.", "obj_ptr_tpos_proj."),
    ("mask_downsample.", "mask_downsample."),
    ("memory_temporal_positional_encoding", "maskmem_tpos_enc"),
    ("no_memory_embedding", "no_mem_embed"),
    ("no_memory_positional_encoding", "no_mem_pos_enc"),
    ("no_object_pointer", "no_obj_ptr"),
    ("occlusion_spatial_embedding_parameter", "no_obj_embed_spatial"),
]  # fmt: skip

_TOWER = "model.vision_tower.encoder.layer.{n}", "vision_model.encoder.layers.{n}"
_LAYER = "model.language_model.layers.{n}"
INTERNVL = [
    ("model.vision_tower.embeddings.cls_token", "vision_model.embeddings.class_embedding"),
    ("model.vision_tower.embeddings.position_embeddings", "vision_model.embeddings.position_embedding"),
    ("model.vision_tower.embeddings.patch_embeddings.projection.", "vision_model.embeddings.patch_embedding."),
    (f"{_TOWER[0]}.attention.projection_layer.", f"{_TOWER[1]}.attn.proj."),
    (f"{_TOWER[0]}.attention.q_norm.", f"{_TOWER[1]}.attn.q_norm."),
    (f"{_TOWER[0]}.attention.k_norm.", f"{_TOWER[1]}.attn.k_norm."),
    (f"{_TOWER[0]}.lambda_1", f"{_TOWER[1]}.ls1"),
    (f"{_TOWER[0]}.lambda_2", f"{_TOWER[1]}.ls2"),
    (f"{_TOWER[0]}.layernorm_before.", f"{_TOWER[1]}.norm1."),
    (f"{_TOWER[0]}.layernorm_after.", f"{_TOWER[1]}.norm2."),
    (f"{_TOWER[0]}.mlp.", f"{_TOWER[1]}.mlp."),
    ("model.multi_modal_projector.layer_norm.", "mlp1.0."),
    ("model.multi_modal_projector.linear_1.", "mlp1.1."),
    ("model.multi_modal_projector.linear_2.", "mlp1.3."),
]
QWEN_TEXT = [("model.language_model.", "language_model.model."), ("lm_head.", "language_model.lm_head.")]
INTERNLM2_TEXT = [
    ("lm_head.", "language_model.output."),
    ("model.language_model.embed_tokens.", "language_model.model.tok_embeddings."),
    ("model.language_model.norm.", "language_model.model.norm."),
    (f"{_LAYER}.input_layernorm.", "language_model.model.layers.{n}.attention_norm."),
    (f"{_LAYER}.post_attention_layernorm.", "language_model.model.layers.{n}.ffn_norm."),
    (f"{_LAYER}.self_attn.o_proj.", "language_model.model.layers.{n}.attention.wo."),
    (f"{_LAYER}.mlp.gate_proj.", "language_model.model.layers.{n}.feed_forward.w1."),
    (f"{_LAYER}.mlp.down_proj.", "language_model.model.layers.{n}.feed_forward.w2."),
    (f"{_LAYER}.mlp.up_proj.", "language_model.model.layers.{n}.feed_forward.w3."),
]
# The layouts that transformers itself wrote before its fifth version.
INTERNVL_HF = [
    ("model.language_model.", "language_model.model."),
    ("lm_head.", "language_model.lm_head."),
    ("model.vision_tower.", "vision_tower."),
    ("model.multi_modal_projector.", "multi_modal_projector."),
]
QWEN2_5_VL = [("model.visual.", "visual."), ("model.language_model.", "model."), ("lm_head.", "lm_head.")]
QWEN3_VL = [("model.", "model."), ("lm_head.", "lm_head.")]


def renamed(name, lines):
    """`name` as the peer calls it; an error where no line, or more than one, speaks of it."""
    found = set()
    for here, there in lines:
        pattern = re.escape(here).replace(r"\{n\}", r"(\d+)")
        match = re.match(pattern + ("" if here.endswith(".") else "$"), name)
        if match:
            found.add(there.replace("{n}", match[1] if match.groups() else "") + name[match.end() :])
    if len(found) != 1:
        raise AssertionError(f"{name}: the published list has {sorted(found) or 'no name'} for it")
    return found.pop()


def publish_sam(state, gamma="gamma"):
    """State of `Sam2VideoModel` as SAM-2's authors publish it; inside Sa2VA `gamma` is called `g_weight`."""
    published = {}
    for name, value in state.items():
        if name == "prompt_encoder.point_embed.weight":
            for number, row in enumerate(value):
                published[f"sam_prompt_encoder.point_embeddings.{number}.weight"] = row[None]
        elif name != "shared_image_embedding.positional_embedding":
            published[renamed(name, SAM)] = value
    return {re.sub("gamma$", gamma, name): value for name, value in published.items()}


def publish_internvl(state, num_heads, num_kv_heads, internlm2=False):
    """State of `InternVLForConditionalGeneration` as OpenGVLab publishes it."""
    published, rows = {}, {}
    for name, value in state.items():
        part = re.match(r"(.*)\.([qkv])_proj\.(weight|bias)$", name)
        if part and (internlm2 or ".vision_tower." in name):
            rows.setdefault((part[1], part[3]), {})[part[2]] = value
        else:
            published[renamed(name, INTERNVL + (INTERNLM2_TEXT if internlm2 else QWEN_TEXT))] = value
    for (stem, kind), parts in rows.items():
        number = re.search(r"\.(\d+)\.", stem)[1]
        if ".vision_tower." in stem:
            fused = torch.cat([parts[name] for name in "qkv"])
            published[f"vision_model.encoder.layers.{number}.attn.qkv.{kind}"] = fused
            continue
        size, group = len(parts["q"]) // num_heads, num_heads // num_kv_heads
        blocks = []
        for head in range(num_kv_heads):
            blocks.append(parts["q"][head * group * size : (head + 1) * group * size])
            blocks += [parts[name][head * size : (head + 1) * size] for name in "kv"]
        published[f"language_model.model.layers.{number}.attention.wqkv.{kind}"] = torch.cat(blocks)
    return published
