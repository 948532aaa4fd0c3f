"""`gradient_checkpointing` (`activation_checkpointing` in newer transformers): less memory, and nothing else."""

import contextlib

import pytest
import torch

from desa2va.training.arguments import DeSa2VATrainingArguments, MaskLossArguments
from desa2va.training.data.refshapes.dataset import RefShapes
from desa2va.training.label_states import LabelReader
from desa2va.training.language_adapters import attach_lora
from desa2va.training.phases import build_objective, free_parameters, trainable_prefixes

BACKBONES = ["internvl/qwen2", "qwen2_5_vl", "qwen3_vl", "qwen3_5"]
HEADS = ["decoupling", "fusion", "segmenter.visual_decoder"]


def samples(kind):
    """Two pictures, or a clip of three frames beside a picture."""
    pictures = RefShapes("train", conversations=2, length=2)
    clips = RefShapes("train", conversations=2, length=1, video_fraction=1.0, num_frames=3, seed=1)
    return [pictures[0], pictures[1]] if kind == "image" else [clips[0], pictures[0]]


def objective_of(model, processor, language_model, folder):
    """Phase 3: a language model that learns in full (with its vision tower) or by LoRA, and the heads."""
    trainable = [*HEADS, "mllm"] if language_model == "full" else HEADS
    arguments = DeSa2VATrainingArguments(
        output_dir=str(folder), phase="fusion", language_model=language_model, lora_rank=4, trainable=trainable
    )
    free_parameters(model, trainable_prefixes(arguments))
    reader = LabelReader(model, processor.tokenizer) if model.config.prompt_mode == "desa2va" else None
    if language_model == "lora":
        torch.manual_seed(0)
        attach_lora(model, arguments)
        with torch.no_grad():
            for name, weight in model.named_parameters():
                if "lora_B" in name:  # zero at the start: lora_A would have no gradient to compare
                    torch.nn.init.normal_(weight, std=0.1)
    return build_objective(model, arguments, MaskLossArguments(mask_target_size=32), processor, reader).train()


@contextlib.contextmanager
def counted_activations(objective, found):
    """Adds to `found` the bytes that autograd keeps for the backward pass, each memory once, weights left out."""
    known = {weight.untyped_storage().data_ptr() for weight in objective.parameters()}

    def keep(tensor):
        memory = tensor.untyped_storage()
        if memory.data_ptr() not in known:
            known.add(memory.data_ptr())
            found.append(memory.nbytes())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        yield


def a_step(objective, batch):
    """Terms and gradients of one step, and the bytes it kept in between."""
    objective.zero_grad()
    torch.manual_seed(0)
    kept = []
    with counted_activations(objective, kept):
        terms = objective(**batch)["terms"]
    sum(terms.values()).backward()
    gradients = {name: weight.grad for name, weight in objective.named_parameters() if weight.requires_grad}
    return {name: term.item() for name, term in terms.items()}, gradients, sum(kept)


@pytest.mark.filterwarnings("error:.*_checkpointing:FutureWarning")
@pytest.mark.parametrize("kind", ["image", "video"])
@pytest.mark.parametrize("mode", ["desa2va", "sa2va"])
@pytest.mark.parametrize("language_model", ["full", "lora"])
@pytest.mark.parametrize("backbone", BACKBONES)
def test_losses_and_gradients_stay_and_memory_falls(make_backbone, backbone, language_model, mode, kind, tmp_path):
    """A layer that is run again outside of its context (hooks, shared pictures) would compute something else.

    transformers listens to the image encoder's patches then, so a frozen encoder takes transformers' steps; here
    somebody listens without it too.
    """
    model, processor = make_backbone(backbone, prompt_mode=mode)
    model.segmenter.sam.vision_encoder.backbone.patch_embed.register_forward_hook(lambda *given: None)
    objective = objective_of(model, processor, language_model, tmp_path)
    batch = processor.collate(samples(kind))
    terms, gradients, kept = a_step(objective, batch)
    # What the trainer calls: the newest name where the model has it.
    name = "activation" if hasattr(model, "activation_checkpointing_enable") else "gradient"
    getattr(objective, f"{name}_checkpointing_enable")()
    again, others, less = a_step(objective, batch)
    assert again == pytest.approx(terms, abs=1e-6)
    for name, gradient in gradients.items():
        if gradient is None:
            assert others[name] is None, name
        else:
            torch.testing.assert_close(others[name], gradient, rtol=1e-6, atol=1e-6, msg=lambda m, n=name: f"{n}: {m}")
    assert less < 0.6 * kept
