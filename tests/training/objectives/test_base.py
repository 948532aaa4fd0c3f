"""What holds for the objective of every phase: batches without objects, and forgotten activations."""

import numpy as np
import pytest
import torch

from desa2va.training.arguments import PHASES, DeSa2VATrainingArguments, MaskLossArguments
from desa2va.training.data.refshapes import RefShapes
from desa2va.training.data.sample import Conversation, Sample
from desa2va.training.label_states import LabelReader
from desa2va.training.language_adapters import attach_lora
from desa2va.training.objectives.base import connected_zero
from desa2va.training.phases import build_objective, free_parameters, trainable_prefixes

MASK_PHASES = ("text_pretraining", "decoupling", "fusion")


def objective_of(make_model, processor, folder, phase, language_model="full", **fields):
    arguments = DeSa2VATrainingArguments(
        output_dir=str(folder), phase=phase, language_model=language_model, lora_rank=4, use_cpu=True, max_steps=4
    )
    model = make_model(**fields)
    reader = LabelReader(model, processor.tokenizer) if model.config.prompt_mode == "desa2va" else None
    free_parameters(model, trainable_prefixes(arguments))
    if language_model == "lora":
        torch.manual_seed(0)
        attach_lora(model, arguments)
    return build_objective(model, arguments, MaskLossArguments(mask_target_size=32), processor, reader).train()


def gradients(objective, batch):
    torch.manual_seed(0)
    output = objective(**batch)
    sum(output["terms"].values()).backward()
    return {name: p.grad for name, p in objective.named_parameters() if p.requires_grad}


@pytest.fixture(scope="module")
def questions(processor):
    """Two pictures with a question each: no `[SEG]`, no mask. By whether SAM-2 is to see every frame."""
    dataset = RefShapes("train", conversations=1, length=2, level="full", kinds={"qa_color": 1.0})
    return {every: processor.collate([dataset[0], dataset[1]], every_frame=every) for every in (True, False)}


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("language_model", ["full", "frozen"])
def test_without_objects_everything_that_learns_gets_a_gradient(
    make_model, processor, questions, tmp_path, phase, language_model
):
    """Phase 1 raised "stack expects a non-empty TensorList", and a process that raises ends all others."""
    objective = objective_of(make_model, processor, tmp_path, phase, language_model)
    found = gradients(objective, questions[objective.every_frame])
    assert found
    assert not [name for name, gradient in found.items() if gradient is None]
    assert all(torch.isfinite(gradient).all() for gradient in found.values())
    if phase == "text_pretraining":
        assert all(gradient.abs().sum() == 0 for gradient in found.values())


@pytest.mark.parametrize("phase", MASK_PHASES)
def test_questions_alone_never_call_the_segmenter(make_model, processor, questions, tmp_path, phase):
    """A picture that nobody asks a mask of was resized for SAM-2, sent, and encoded: most of the step, for nothing."""
    objective, calls = objective_of(make_model, processor, tmp_path, phase), []
    for module in objective.model.segmenter.modules():
        module.register_forward_hook(lambda module, *_: calls.append(type(module).__name__))
    gradients(objective, questions[objective.every_frame])
    assert not calls
    gradients(objective, questions[True])
    assert phase == "text_pretraining" or calls


@pytest.mark.parametrize("phase", MASK_PHASES)
def test_a_batch_of_text_alone_is_no_error(make_model, processor, tmp_path, phase):
    """Chat without a picture in a fine-tune file."""
    turns = (("what is this?", "a question"),)
    sample = Sample(None, (Conversation(turns, np.zeros((0, 1, 8, 8), bool)),))
    found = gradients(objective_of(make_model, processor, tmp_path, phase), processor.collate([sample]))
    assert not [name for name, gradient in found.items() if gradient is None]


def test_a_mixed_batch_says_what_its_samples_say_alone(make_model, processor, tmp_path):
    """Pictures and videos with and without masks and text alone: every term is the mean over its items."""
    pictures = RefShapes("train", conversations=2, length=1, level="easy")
    questions = RefShapes("train", conversations=2, length=1, level="full", kinds={"qa_color": 1.0})
    videos = RefShapes("train", conversations=1, length=1, level="easy", video_fraction=1.0, num_frames=3)
    absent = RefShapes("train", conversations=1, length=1, level="full", video_fraction=1.0, kinds={"no_target": 1.0})
    text = Sample(None, (Conversation((("what is red?", "a circle"),), np.zeros((0, 1, 8, 8), bool)),))
    samples = [pictures[0], text, videos[0], questions[0], absent[0]]
    objective = objective_of(make_model, processor, tmp_path, "decoupling").eval()
    objective.memory = None
    with torch.no_grad():
        mixed = objective(**processor.collate(samples))["terms"]
        sums = {"language": [0.0, 0], "visual_mask": [0.0, 0], "fused_mask": [0.0, 0]}
        for sample in samples:
            batch = processor.collate([sample])
            masks = sum(int(mask.flatten(1).any(dim=1).sum()) for mask in batch["mask_labels"])
            counts = {"language": int((batch["labels"][:, 1:] != -100).sum())}
            for name, value in objective(**batch)["terms"].items():
                if name in sums:
                    sums[name][0] += float(value) * counts.get(name, masks)
                    sums[name][1] += counts.get(name, masks)
    for name, (total, count) in sums.items():
        assert float(mixed[name]) == pytest.approx(total / count, rel=1e-4), name


def test_a_picture_without_visible_objects_trains_the_segmenter(make_model, processor, tmp_path):
    """Its clicks and names have nothing to point at."""
    dataset = RefShapes("train", conversations=1, length=1)
    sample = dataset[0]
    sample.scene["instance_map"][:] = 0
    objective = objective_of(make_model, processor, tmp_path, "segmenter")
    objective.named = True
    terms = objective(**processor.collate([sample]))["terms"]
    sum(terms.values()).backward()
    assert terms["prompt_mask"] == terms["named_mask"] == 0
    assert objective.name_decoder.iou_token.weight.grad is not None


@pytest.mark.parametrize(
    ("phase", "language_model", "mode"),
    [
        ("vision", "full", "desa2va"),
        ("segmenter", "full", "desa2va"),
        ("grounding", "full", "desa2va"),
        ("text_pretraining", "full", "desa2va"),
        ("decoupling", "lora", "desa2va"),
        ("decoupling", "full", "sa2va"),
        ("fusion", "full", "desa2va"),
        ("fusion", "lora", "sa2va"),
    ],
)
def test_forgotten_activations_change_no_gradient(make_model, processor, batch, tmp_path, phase, language_model, mode):
    """`activation_checkpointing` raised an AttributeError on the objective.

    transformers listens to the image encoder's patches then, so a frozen encoder takes transformers' steps; here
    somebody listens without it too.
    """
    found = []
    for forget in (False, True):
        objective = objective_of(make_model, processor, tmp_path, phase, language_model, prompt_mode=mode)
        patches = objective.model.segmenter.sam.vision_encoder.backbone.patch_embed
        patches.register_forward_hook(lambda *given: None)
        if forget:
            # The newest name where the model has it: the trainer of either version calls one of the two.
            name = "activation" if hasattr(objective.model, "activation_checkpointing_enable") else "gradient"
            getattr(objective, f"{name}_checkpointing_enable")()
            layers = objective.model.mllm.model.language_model.layers
            assert all(layer.gradient_checkpointing for layer in layers)
        found.append(gradients(objective, batch))
    for name, gradient in found[0].items():
        if gradient is None:
            assert found[1][name] is None, name
        else:
            torch.testing.assert_close(
                found[1][name], gradient, rtol=1e-5, atol=1e-7, msg=lambda m, n=name: f"{n}: {m}"
            )


def test_a_connected_zero_reads_no_value():
    """Zero times a weight that is not finite is not zero."""
    layer = torch.nn.Linear(2, 2)
    with torch.no_grad():
        layer.weight.fill_(float("inf"))
    layer.bias.requires_grad_(False)
    zero = connected_zero(layer)
    zero.backward()
    assert zero == 0
    assert torch.equal(layer.weight.grad, torch.zeros(2, 2))
    assert layer.bias.grad is None
    assert connected_zero(torch.nn.Identity()) == 0
