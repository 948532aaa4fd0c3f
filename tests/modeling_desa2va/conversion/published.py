"""Synthetic folders in the exact layout of published checkpoints: true names, true config files, small widths.

Each writer returns the native model whose weights (random, rounded to bfloat16) it wrote, to compare with.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import pre_tokenizers
from transformers import AddedToken, AutoModelForImageTextToText, Qwen2Tokenizer, Sam2VideoModel

from desa2va.configuration.configuration_desa2va import DeSa2VAConfig
from desa2va.modeling_desa2va.modeling_desa2va import DeSa2VAModel

from .published_configs import (
    SA2VA,
    SAM_TINY,
    added_tokens,
    internvl_files,
    internvl_native,
    qwen3_5_native,
    qwen_files,
    qwen_native,
    tiny_sam_config,
    token_id,
    vocabulary_size,
)
from .published_names import INTERNVL_HF, QWEN2_5_VL, QWEN3_VL, publish_internvl, publish_sam, renamed

SAM_PREFIX = "grounding_encoder.sam2_model."


@torch.no_grad()
def randomise(model: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """Gives every value its own number that bfloat16 holds, so that no two tensors can be swapped unseen."""
    generator = torch.Generator().manual_seed(seed)
    for name, value in model.state_dict().items():
        noise = torch.randn(value.shape, generator=generator)
        if "lambda_" in name or name.endswith("scale"):
            value.copy_(0.5 + 0.1 * noise)
        elif value.ndim < 2:
            value.copy_(0.1 * noise + (1.0 if name.endswith("weight") else 0.0))
        elif "embed" in name or "token" in name:
            value.copy_(noise)
        else:
            value.copy_(noise * value[0].numel() ** -0.5)
        value.copy_(value.bfloat16())
    for module in model.modules():
        if isinstance(module, Sam2VideoModel):
            codes = module.prompt_encoder.shared_embedding.positional_embedding
            module.shared_image_embedding.positional_embedding.copy_(codes)
    return model.eval()


def save_weights(folder: Path, state: dict[str, torch.Tensor], shards: int = 1, dtype: Any = torch.bfloat16) -> None:
    """Writes safetensors, whole or in shards with an index."""
    state = {name: value.to(dtype).contiguous().clone() for name, value in state.items()}
    if shards == 1:
        return save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    names = sorted(state)
    weight_map = {}
    for shard in range(shards):
        file = f"model-{shard + 1:05}-of-{shards:05}.safetensors"
        part = names[shard::shards]
        save_file({name: state[name] for name in part}, folder / file, metadata={"format": "pt"})
        weight_map |= dict.fromkeys(part, file)
    size = sum(value.numel() * value.element_size() for value in state.values())
    return write_json(
        folder / "model.safetensors.index.json", {"metadata": {"total_size": size}, "weight_map": weight_map}
    )


def write_json(path: Path, value: Any) -> None:
    """Writes a JSON file as `save_pretrained` does."""
    path.write_text(json.dumps(value, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def save_tokenizer(folder: Path, family: str, segmentation: bool = True) -> None:
    """Tokenizer files with bytes and the published added tokens."""
    tokens = [AddedToken(token, normalized=False, special=True) for token in added_tokens(family, segmentation)]
    if family == "internlm2":
        (folder / "tokenizer.model").write_bytes(sentencepiece_model())
        entries = {
            str(260 + number): {"content": token.content, "normalized": False, "special": True}
            for number, token in enumerate(tokens)
        }
        config = {"added_tokens_decoder": entries, "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
        remote = {"AutoTokenizer": ["tokenization_internlm2.InternLM2Tokenizer", None]}
        more = {"auto_map": remote, "pad_token": "</s>", "tokenizer_class": "InternLM2Tokenizer"}
        return write_json(folder / "tokenizer_config.json", config | more)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {symbol: index for index, symbol in enumerate(alphabet)}
    tokenizer = Qwen2Tokenizer(vocab=vocabulary, merges=[])
    tokenizer.add_tokens(tokens, special_tokens=True)
    tokenizer.eos_token = "<|im_end|>"
    tokenizer.chat_template = (
        "{% for message in messages %}"
        "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
        "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
    )
    tokenizer.save_pretrained(folder)
    assert [tokenizer.convert_tokens_to_ids(token.content) for token in tokens] == [*range(256, 256 + len(tokens))]
    return None


def sentencepiece_model() -> bytes:
    """A SentencePiece model (protocol buffers, written by hand) of 260 pieces: three controls, the bytes, a blank."""

    def field(number: int, value: bytes) -> bytes:
        return bytes([number << 3 | 2, len(value)]) + value

    def piece(text: str, kind: int) -> bytes:
        return field(1, field(1, text.encode()) + b"\x15" + struct.pack("<f", 0.0) + bytes([3 << 3, kind]))

    pieces = [piece("<unk>", 2), piece("<s>", 3), piece("</s>", 3)]
    pieces += [piece(f"<0x{value:02X}>", 6) for value in range(256)]
    bpe_with_bytes = field(2, bytes([3 << 3, 2]) + bytes([35 << 3 & 0x7F | 0x80, 35 >> 4, 1]))
    no_prefix = field(3, bytes([3 << 3, 0]))
    return b"".join([*pieces, piece("\u2581", 1), bpe_with_bytes, no_prefix])


def save_image_processor(folder: Path, family: str) -> None:
    """`preprocessor_config.json` of Qwen-VL."""
    new = family == "qwen3_vl"
    moments = (
        ([0.5] * 3, [0.5] * 3) if new else ([0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711])
    )
    config = {"image_processor_type": "Qwen2VLImageProcessorFast", "merge_size": 2, "patch_size": 16 if new else 14}
    more = {"image_mean": moments[0], "image_std": moments[1], "resample": 3, "temporal_patch_size": 2}
    write_json(folder / "preprocessor_config.json", config | more)


# ------------------------------------------------------------------------------------------------ whole models


def native_sa2va(name: str) -> DeSa2VAModel:
    """One of the ten in miniature, random."""
    family, heads, kv_heads, _ = SA2VA[name]
    size = vocabulary_size(family)
    if "vl" in family:
        mllm = qwen_native(family, heads, kv_heads, size)
    else:
        mllm = internvl_native(family, heads, kv_heads, size, six_billion=name == "Sa2VA-26B")
    config = DeSa2VAConfig(
        mllm,
        tiny_sam_config(),
        prompt_mode="sa2va",
        projection="mlp",
        fusion="mean",
        num_reprompts=0,
        seg_token_ids=[token_id(family, "[SEG]")],
        multimask_output=True,
        key_frames="first",
        track_strategy="memory",
        seg_states="raw" if family == "qwen3_vl" else "normed",
    )
    model = randomise(DeSa2VAModel(config))
    model.segmenter.copy_decoders()  # the peer has one decoder, the tuned one
    return model


def write_sa2va(folder: Path, name: str, shards: int = 1) -> DeSa2VAModel:
    """A published Sa2VA: config, tokenizer, weights."""
    folder.mkdir(parents=True, exist_ok=True)
    family, heads, kv_heads, template = SA2VA[name]
    size, model = vocabulary_size(family), native_sa2va(name)
    qwen = "vl" in family
    modeling, kind = ("sa2va_qwen", "Sa2VAChatModelQwen") if qwen else ("sa2va_chat", "Sa2VAChatModel")
    shared = (
        qwen_files(family, heads, kv_heads, size)
        if qwen
        else internvl_files(family, heads, kv_heads, size, name == "Sa2VA-26B")
    )
    config = shared | {
        "architectures": ["Qwen2_5_VLForConditionalGeneration"] if family == "qwen2_5_vl" else [kind],
        "auto_map": {
            "AutoConfig": f"configuration_sa2va_chat.Sa2VAChatConfig{'Qwen' * qwen}",
            "AutoModel": f"modeling_{modeling}.{kind}",
            "AutoModelForCausalLM": f"modeling_{modeling}.{kind}",
        },
        "model_type": "sa2va_chat",
        "template": template,
        "_sam_tiny": SAM_TINY,
    }
    write_json(folder / "config.json", config)
    save_tokenizer(folder, family)
    if qwen:
        save_image_processor(folder, family)
    save_weights(folder, sa2va_state(model, family, heads, kv_heads), shards)
    return model


def sa2va_state(model: DeSa2VAModel, family: str, heads: int, kv_heads: int) -> dict[str, torch.Tensor]:
    """The weights under the peer's names."""
    mllm = model.mllm.state_dict()
    if "vl" in family:
        published = {f"model.{name}": value for name, value in mllm.items()}
    else:
        published = publish_internvl(mllm, heads, kv_heads, family == "internlm2")
    sam = publish_sam(model.segmenter.sam.state_dict(), gamma="g_weight")
    published |= {SAM_PREFIX + name: value for name, value in sam.items()}
    heads_state = model.decoupling.visual.layers.state_dict()
    return published | {f"text_hidden_fcs.{name}": value for name, value in heads_state.items()}


# ------------------------------------------------------------------------------------------------ parts


def write_internvl(folder: Path, family: str = "qwen2", shards: int = 1, padding: int = 0) -> torch.nn.Module:
    """InternVL2.5 / 3 / 3.5 as OpenGVLab publishes it (`internvl_chat`); `padding` rows more than tokens."""
    folder.mkdir(parents=True, exist_ok=True)
    size = vocabulary_size(family, segmentation=False) + padding
    config = internvl_files(family, 8, 2, size, False) | {
        "architectures": ["InternVLChatModel"],
        "auto_map": {"AutoModel": "modeling_internvl_chat.InternVLChatModel"},
        "model_type": "internvl_chat",
        "template": "internvl2_5",
    }
    write_json(folder / "config.json", config)
    model = randomise(AutoModelForImageTextToText.from_config(internvl_native(family, 8, 2, size, False)))
    save_tokenizer(folder, family, segmentation=False)
    save_weights(folder, publish_internvl(model.state_dict(), 8, 2, family == "internlm2"), shards)
    return model


def write_transformers(folder: Path, family: str, tied: bool = False, padding: int = 0) -> torch.nn.Module:
    """InternVL `-hf`, Qwen2.5-VL, Qwen3-VL or Qwen3.5 as transformers wrote them when they were published."""
    folder.mkdir(parents=True, exist_ok=True)
    size = vocabulary_size(family, segmentation=False) + padding
    if family == "qwen3_5":
        native, lines = qwen3_5_native(size), QWEN3_VL
    elif "vl" in family:
        native, lines = qwen_native(family, 8, 2, size, tied), QWEN2_5_VL if family == "qwen2_5_vl" else QWEN3_VL
    else:
        native, lines = internvl_native(family, 8, 2, size, False), INTERNVL_HF
    model = randomise(AutoModelForImageTextToText.from_config(native))
    model.config.architectures = [type(model).__name__]
    model.config.save_pretrained(folder)
    save_tokenizer(folder, family, segmentation=False)
    if "qwen" in family and family != "qwen2":
        save_image_processor(folder, family)
    state = {name: value for name, value in model.state_dict().items() if not (tied and name == "lm_head.weight")}
    published = {renamed(name, lines): value for name, value in state.items()}
    if family == "qwen2_5_vl":  # published before there was a text_config
        config = json.loads((folder / "config.json").read_text())
        text = config.pop("text_config")
        write_json(folder / "config.json", {name: text[name] for name in text if name != "model_type"} | config)
    if family == "qwen3_5":
        published["mtp.fc.weight"] = torch.zeros(2, 2)
    save_weights(folder, published)
    return model


def write_sam_folder(folder: Path, version: str = "2.0", model_type: str = "sam2_video") -> Sam2VideoModel:
    """SAM-2 as transformers publishes it."""
    folder.mkdir(parents=True, exist_ok=True)
    model = randomise(Sam2VideoModel(tiny_sam_config(version)), seed=1)
    model.save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text())
    write_json(folder / "config.json", config | {"model_type": model_type})
    return model


def write_sam_file(path: Path, config: Any) -> Sam2VideoModel:
    """SAM-2 as its authors publish it: `{"model": state}`."""
    model = randomise(Sam2VideoModel(config), seed=2)
    torch.save({"model": publish_sam(model.state_dict())}, path)
    return model
