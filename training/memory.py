"""How much memory a training takes, as arithmetic that can be read: weights, gradients, optimizer, activations.

Enters: the model of a stage on the meta device, where it costs nothing, and the sizes of a batch. Leaves: bytes per
device for every way of dividing the work. Activations are counted, not guessed: what autograd would keep of the
language layers and the mask decoders is added up in a forward pass that computes nothing. (Engineering.)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import nn

from desa2va.modeling_desa2va.modeling_desa2va import DeSa2VAModel
from desa2va.modeling_desa2va.outputs import ImageFeatures

from .arguments import DeSa2VATrainingArguments

GIB = 2**30
SPARE = 0.1  # of everything: the allocator's gaps and the libraries' own
# What of weights, gradients and optimizer states a device holds 1 / processes of.
DIVIDED = {"DDP": (), "FSDP2": ("weights", "gradients", "optimizer")}


@dataclass(frozen=True)
class BatchSizes:
    """What of a batch decides about memory.

    Attributes:
        sequences, tokens: of the padded batch (B, N). answers: tokens with a label. frames: that SAM-2 sees. pairs:
            object-frame pairs.
    """

    sequences: int
    tokens: int
    answers: int
    frames: int
    pairs: int


@dataclass
class Estimate:
    """Bytes of one device.

    Attributes:
        parts: name to (bytes, how they come about); their sum and `SPARE` is `total`. processes: that share the work.
        gathered: bytes of weights and gradients outside the language layers: FSDP2 has them whole during a step.
    """

    parts: dict[str, tuple[float, str]] = field(default_factory=dict)
    processes: int = 1
    gathered: float = 0.0

    @property
    def total(self) -> float:
        """With the allocator's gaps."""
        return (1 + SPARE) * sum(size for size, _ in self.parts.values())

    def divided(self, strategy: str, processes: int) -> float:
        """Bytes of each of `processes` devices that work by a strategy of `DIVIDED`."""
        shared = sum(self.parts[name][0] for name in DIVIDED[strategy]) * (1 - 1 / processes)
        extra = self.parts["gradients"][0] if strategy == "DDP" else self.gathered  # DDP's buckets
        return self.total + (1 + SPARE) * ((extra if processes > 1 else 0.0) - shared)

    def lines(self) -> list[str]:
        """The arithmetic, one line a part."""
        shown = [f"  {name:<12}{size / GIB:8.2f} GiB  {how}" for name, (size, how) in self.parts.items()]
        return [*shown, f"  {'sum':<12}{self.total / GIB:8.2f} GiB  with {SPARE:.0%} for the allocator's gaps"]


def estimate_memory(
    model: DeSa2VAModel, arguments: DeSa2VATrainingArguments, sizes: BatchSizes, four_bits: bool = False
) -> Estimate:
    """What one device holds that trains alone.

    Args:
        model: on the meta device, what learns free and LoRA attached. arguments: of the stage. sizes: of a batch.
        four_bits: whether the frozen linears of the language layers are held in NF4.
    """
    learning = sum(value.numel() for value in model.parameters() if value.requires_grad)
    muon = sum(
        value.numel()
        for name, value in model.named_parameters()
        if value.requires_grad
        and arguments.muon_learning_rate
        and name.startswith(tuple(arguments.muon_modules or "-"))
    )
    gathered = _gathered(model)  # before activations are counted in another precision
    parts = {"weights": _weights(model, four_bits)}
    if arguments.language_model == "full" and arguments.phase in ("decoupling", "fusion"):
        layers = model.mllm.model.language_model
        copied = sum(value.numel() * value.element_size() for value in layers.parameters())
        parts["reader"] = copied, "the frozen copy of the language layers that reads labels"
    parts["gradients"] = 4.0 * learning, f"{learning:,} learning x 4 bytes"
    states = 8.0 * (learning - muon) + 4.0 * muon
    parts["optimizer"] = states, f"{learning - muon:,} x 8 bytes (AdamW) and {muon:,} x 4 bytes (Muon)"
    half = arguments.bf16 or arguments.fp16 or model.dtype != torch.float32
    parts |= _activations(model, arguments, sizes, torch.bfloat16 if half else torch.float32)
    return Estimate(parts, gathered=gathered)


def _gathered(model: DeSa2VAModel) -> float:
    """Weights and gradients outside the language layers, see `training/sharding.py`."""
    layers = {id(value) for value in model.mllm.model.language_model.layers.parameters()}
    outside = [value for value in model.parameters() if id(value) not in layers]
    return float(sum(value.numel() * (value.element_size() + 4 * value.requires_grad) for value in outside))


def _weights(model: DeSa2VAModel, four_bits: bool) -> tuple[float, str]:
    quantised = 0
    for name, module in model.mllm.model.language_model.named_modules():
        plain = name.endswith("base_layer") or "lora_" not in name
        if four_bits and isinstance(module, nn.Linear) and plain and not module.weight.requires_grad:
            quantised += module.weight.numel()
    whole = sum(value.numel() * value.element_size() for value in model.parameters())
    if not quantised:
        return float(whole), f"{sum(value.numel() for value in model.parameters()):,} as they are stored"
    size = whole + quantised * (0.516 - model.mllm.model.language_model.dtype.itemsize)
    return size, f"{quantised:,} in four bits (0.516 bytes with their scales), the rest as stored"


# ------------------------------------------------------------------------------------------------ activations


def saved_bytes(module: nn.Module, function: Callable[[], object], square: int | None = None) -> int:
    """What autograd keeps of a call, weights of `module` left out; every storage counts once.

    Args:
        module: whose weights are no activations. function: the call. square: side of the attention matrices, which
            fused attention never makes and which are therefore passed over.
    """
    own = {value.untyped_storage()._cdata for value in (*module.parameters(), *module.buffers())}
    kept: dict[int, torch.Tensor] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        fused = tensor.dim() > 2 and tensor.shape[-2:] == (square, square) and tensor.dtype != torch.long
        if not fused and tensor.untyped_storage()._cdata not in own:
            kept[tensor.untyped_storage()._cdata] = tensor
        return tensor

    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        result = function()
    del result
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


def _activations(
    model: DeSa2VAModel, arguments: DeSa2VATrainingArguments, sizes: BatchSizes, dtype: torch.dtype
) -> dict[str, tuple[float, str]]:
    config, phase = model.config, arguments.phase
    checkpointed = arguments.gradient_checkpointing or getattr(arguments, "activation_checkpointing", False)
    model = model.to(dtype)  # of meta tensors alone: nothing is copied
    side, width = config.image_size // 4, config.prompt_dim
    found: dict[str, tuple[float, str]] = {}
    if phase in ("grounding", "decoupling", "fusion"):
        found["language"] = _language(model, sizes, dtype, bool(checkpointed))
        vocabulary = model.get_output_embeddings().weight.shape[0]
        size = float(sizes.answers * vocabulary * (2 * dtype.itemsize + 8))
        found["answers"] = size, f"{sizes.answers} tokens x {vocabulary:,} words, logits and their gradients"
    if sizes.frames and phase not in ("vision", "grounding"):
        kept = sizes.frames * width * (side**2 + (side // 2) ** 2 + (side // 4) ** 2) * dtype.itemsize
        first = config.sam_config.vision_config.backbone_config.embed_dim_per_stage[0]
        work = sizes.frames * side**2 * first * 12 * dtype.itemsize
        found["SAM-2"] = float(kept + work), f"{sizes.frames} frames of {config.image_size} px, features and encoder"
    if sizes.pairs and phase in ("text_pretraining", "decoupling", "fusion"):
        passes = 1 + (max(config.num_reprompts, 1) if phase == "fusion" else 0)
        count = passes * (2 if config.prompt_mode == "desa2va" and phase != "text_pretraining" else 1)
        one = _decoder(model, sizes)
        found["decoders"] = float(one * count), f"{sizes.pairs} masks x {count} decodings, counted"
    return found


def _language(model: DeSa2VAModel, sizes: BatchSizes, dtype: torch.dtype, checkpointed: bool) -> tuple[float, str]:
    """Language layers; with checkpointing a layer's input each and one layer in full."""
    layers = model.mllm.model.language_model
    shape = (sizes.sequences, sizes.tokens, layers.config.hidden_size)
    inputs = torch.zeros(shape, dtype=dtype, device="meta", requires_grad=True)
    shown = f"{sizes.sequences} x {sizes.tokens} tokens"
    # A mask of four dimensions is taken as it is; any other would be looked at, and there is nothing to see.
    mask = torch.ones(sizes.sequences, 1, sizes.tokens, sizes.tokens, dtype=torch.bool, device="meta")
    read = partial(layers, inputs_embeds=inputs, attention_mask=mask, use_cache=False)
    whole = saved_bytes(model, read, square=sizes.tokens)
    if not checkpointed:
        return float(whole), f"{shown}, counted layer by layer"
    count = layers.config.num_hidden_layers
    return float(inputs.nbytes * count + whole / count), f"{shown}, {count} inputs of layers and one layer in full"


def _decoder(model: DeSa2VAModel, sizes: BatchSizes) -> int:
    """One decoding of all object-frame pairs, in the precision that the decoders keep: autocast takes less."""
    segmenter, config = model.segmenter, model.config
    grid, width, dtype = config.image_size // 16, config.prompt_dim, segmenter.sam.no_memory_embedding.dtype

    def level(scale: int) -> torch.Tensor:
        return torch.zeros(sizes.frames, width, scale * grid, scale * grid, dtype=dtype, device="meta")

    position = torch.zeros(1, width, grid, grid, dtype=dtype, device="meta")
    features = ImageFeatures(level(4), level(2), level(1), position)
    frames = torch.zeros(sizes.pairs, dtype=torch.long, device="meta")
    prompts = torch.zeros(sizes.pairs, 1, width, dtype=dtype, device="meta", requires_grad=True)
    return saved_bytes(model, lambda: segmenter.decode(segmenter.visual_decoder, features, frames, prompts))


__all__ = ["DIVIDED", "GIB", "SPARE", "BatchSizes", "Estimate", "estimate_memory", "saved_bytes"]
