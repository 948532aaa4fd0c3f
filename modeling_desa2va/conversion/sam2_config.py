"""SAM-2's configuration from what a checkpoint shows: its tensors' names and shapes, or sizes stated beside them.

Neither Sa2VA's `config.json` nor SAM-2's original `.pt` files say which of the four Hiera encoders they hold; the
number of blocks and the width of the first do.
"""

from __future__ import annotations

import re
from collections.abc import Container, Mapping, Sequence
from pathlib import Path
from typing import Any

from transformers import Sam2VideoConfig
from transformers.models.sam2_video.configuration_sam2_video import Sam2VideoMaskDecoderConfig

from desa2va.configuration.configuration_desa2va import DeSa2VAConfig

# embed_dim, heads, blocks per stage, blocks with global attention, background of the window positions, windows.
HIERA = {
    "tiny": (96, 1, [1, 2, 7, 2], [5, 7, 9], [7, 7], [8, 4, 14, 7]),
    "small": (96, 1, [1, 2, 11, 2], [7, 10, 13], [7, 7], [8, 4, 14, 7]),
    "base_plus": (112, 2, [2, 3, 16, 3], [12, 16, 20], [14, 14], [8, 4, 14, 7]),
    "large": (144, 2, [2, 6, 36, 4], [23, 33, 43], [7, 7], [8, 4, 16, 8]),
}
_NOT_THE_NETWORK = ("architectures", "model_type", "dtype", "torch_dtype", "transformers_version")
# What SAM 2.1 added.
_NEWER = ("enable_temporal_pos_encoding_for_object_pointers", "enable_occlusion_spatial_embedding")
_BLOCK = re.compile(r"image_encoder\.trunk\.blocks\.(\d+)\.")


def recognise_hiera(shapes: Mapping[str, Sequence[int]]) -> str:
    """The name of the encoder (a key of `HIERA`) that tensors of SAM-2 belong to.

    Args:
        shapes: name (as SAM-2's authors publish it) -> shape.

    Raises:
        ValueError: it is none of the four.
    """
    blocks = 1 + max((int(found[1]) for name in shapes if (found := _BLOCK.match(name))), default=-1)
    width = tuple(shapes.get("image_encoder.trunk.patch_embed.proj.weight", (0,)))[0]
    for name, (embed_dim, _, stages, *_) in HIERA.items():
        if embed_dim == width and sum(stages) == blocks:
            return name
    raise ValueError(
        f"SAM-2's image encoder has {blocks} blocks of width {width}, which is none of "
        + ", ".join(f"{name} ({sum(part[2])} of {part[0]})" for name, part in HIERA.items())
    )


def stated_sizes(hiera: str) -> dict[str, Any]:
    """The sizes of a published SAM-2 in the form `sam2_config` takes."""
    embed_dim, heads, stages, global_blocks, background, windows = HIERA[hiera]
    return {
        "image_size": 1024,
        "hiera": {
            "embed_dim": embed_dim,
            "num_heads": heads,
            "stages": stages,
            "global_att_blocks": global_blocks,
            "window_pos_embed_bkg_spatial_size": background,
            "window_spec": windows,
        },
    }


def read_sam2_config(stated: Mapping[str, Any], names: Container[str], file: Path) -> Sam2VideoConfig:
    """The configuration of a folder of the Hub.

    Args:
        stated: its `config.json`, of model type `sam2_video`, or `sam2`, which leaves the memory out. names: of the
            stored tensors. file: for messages.

    Raises:
        ValueError: another model type.
    """
    kind = stated.get("model_type")
    if kind not in ("sam2_video", "sam2"):
        raise ValueError(f"{file}: model_type={kind!r} is no SAM-2; sam2_video and sam2 are")
    fields = {name: value for name, value in stated.items() if name not in _NOT_THE_NETWORK}
    if kind == "sam2":
        newer = "occlusion_spatial_embedding_parameter" in names
        fields |= dict.fromkeys(_NEWER, newer)
        fields["image_size"] = fields.get("prompt_encoder_config", {}).get("image_size", 1024)
    return DeSa2VAConfig(sam_config=fields).sam_config


def sam2_config(sizes: Mapping[str, Any], version: str = "2.0") -> Sam2VideoConfig:
    """The configuration of `Sam2VideoModel`.

    Args:
        sizes: `image_size`, `hiera` (`embed_dim`, `num_heads`, `stages`, `global_att_blocks`, `window_spec`,
            `window_pos_embed_bkg_spatial_size`), and where they differ from SAM-2's: `d_model` (256), `mem_dim` (64),
            `memory_attention_layers` (4), `memory_attention_ffn` (2048), `fuser_layers` (2), `mask_decoder_mlp_dim`
            (2048), `mask_decoder_heads` (8), `iou_head_hidden_dim` (256).
        version: `"2.0"` or `"2.1"`, which adds time codes of object pointers and an embedding of occlusion.
    """
    hiera, side, width = sizes["hiera"], sizes["image_size"], sizes.get("d_model", 256)
    channels = [hiera["embed_dim"] * 2**stage for stage in range(4)]
    return Sam2VideoConfig(
        vision_config={
            "backbone_config": {
                "model_type": "sam2_hiera_det_model",
                "hidden_size": hiera["embed_dim"],
                "num_attention_heads": hiera["num_heads"],
                "image_size": [side, side],
                "blocks_per_stage": list(hiera["stages"]),
                "embed_dim_per_stage": channels,
                "num_attention_heads_per_stage": [hiera["num_heads"] * 2**stage for stage in range(4)],
                "window_size_per_stage": list(hiera["window_spec"]),
                "global_attention_blocks": list(hiera["global_att_blocks"]),
                "window_positional_embedding_background_size": list(hiera["window_pos_embed_bkg_spatial_size"]),
            },
            "backbone_channel_list": channels[::-1],
            "backbone_feature_sizes": [[side // scale, side // scale] for scale in (4, 8, 16)],
            "fpn_hidden_size": width,
        },
        prompt_encoder_config={"image_size": side, "hidden_size": width},
        # An object, since transformers 5.17 turns a dict into a prompt encoder's configuration.
        mask_decoder_config=Sam2VideoMaskDecoderConfig(
            hidden_size=width,
            mlp_dim=sizes.get("mask_decoder_mlp_dim", 2048),
            num_attention_heads=sizes.get("mask_decoder_heads", 8),
            iou_head_hidden_dim=sizes.get("iou_head_hidden_dim", 256),
        ),
        image_size=side,
        memory_attention_hidden_size=width,
        memory_attention_num_layers=sizes.get("memory_attention_layers", 4),
        memory_attention_feed_forward_hidden_size=sizes.get("memory_attention_ffn", 2048),
        memory_attention_rope_feat_sizes=[side // 16, side // 16],
        memory_encoder_hidden_size=width,
        memory_encoder_output_channels=sizes.get("mem_dim", 64),
        mask_downsampler_embed_dim=width,
        memory_fuser_num_layers=sizes.get("fuser_layers", 2),
        memory_fuser_embed_dim=width,
        memory_fuser_intermediate_dim=4 * width,
        **dict.fromkeys(_NEWER, version == "2.1"),
    )


__all__ = ["HIERA", "read_sam2_config", "recognise_hiera", "sam2_config", "stated_sizes"]
