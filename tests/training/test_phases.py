"""Each phase moves exactly its parameters, and one step of every objective lowers nothing but what it may."""

import pytest
import torch

from desa2va.training.arguments import DeSa2VATrainingArguments, MaskLossArguments
from desa2va.training.data.refshapes.dataset import RefShapes
from desa2va.training.label_states import LabelReader
from desa2va.training.phases import PHASES_LEARN, build_objective, free_parameters, trainable_prefixes, validated_names

LOSS = MaskLossArguments(mask_target_size=32)


def one_step(model, phase, batch, processor, tmp_path, **fields):
    """Names of the parameters that one optimizer step changes."""
    arguments = DeSa2VATrainingArguments(output_dir=str(tmp_path), phase=phase, max_steps=1, use_cpu=True, **fields)
    reader = LabelReader(model, processor.tokenizer)
    free_parameters(model, trainable_prefixes(arguments))
    objective = build_objective(model, arguments, LOSS, processor, reader).train()
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    output = objective(**batch)
    assert {"loss", *output["metrics"], *(f"loss_{name}" for name in output["terms"])} <= validated_names(arguments)
    sum(output["terms"].values()).backward()
    torch.optim.SGD([p for p in model.parameters() if p.grad is not None], lr=0.1).step()
    return {name for name, value in model.named_parameters() if not torch.equal(before[name], value)}


@pytest.mark.parametrize("phase", sorted(PHASES_LEARN))
def test_a_phase_moves_its_parameters_and_no_other(make_model, processor, batch, tmp_path, phase):
    """A text decoder that drifts in phase 2 would silently change the teacher of the text mask."""
    model = make_model()
    moved = one_step(model, phase, batch, processor, tmp_path, language_model="full")
    allowed = tuple(PHASES_LEARN[phase])
    assert moved
    assert not [name for name in moved if not name.startswith(allowed)]
    for prefix in allowed:
        if prefix == "decoupling.motion":  # only with temporal="motion", only for videos: test_temporal
            continue
        assert any(name.startswith(prefix) for name in moved), f"{prefix} did not move"


def test_phase_two_leaves_the_text_decoder_the_label_projection_and_sam_alone(make_model, processor, batch, tmp_path):
    moved = one_step(make_model(), "decoupling", batch, processor, tmp_path, language_model="full")
    frozen = ("segmenter.text_decoder", "decoupling.label", "segmenter.sam")
    assert not [name for name in moved if name.startswith(frozen)]


def test_text_mask_is_taught_by_the_label_not_by_the_ground_truth(make_model, processor, batch, tmp_path):
    """Paper section 3.4: m_t is compared with m_l. Moving the ground truth must leave the text term where it is."""
    model = make_model()
    arguments = DeSa2VATrainingArguments(
        output_dir=str(tmp_path), phase="decoupling", language_model="full", use_cpu=True
    )
    objective = build_objective(model, arguments, LOSS, processor, LabelReader(model, processor.tokenizer))
    moved = {**batch, "mask_labels": [masks.flip(-1) for masks in batch["mask_labels"]]}
    first, second = objective(**batch)["terms"], objective(**moved)["terms"]
    torch.testing.assert_close(first["text_mask"], second["text_mask"])
    assert not torch.allclose(first["visual_mask"], second["visual_mask"])


def test_label_masks_give_no_gradient_to_their_own_prompt(make_model, processor, batch, tmp_path):
    model = make_model()
    arguments = DeSa2VATrainingArguments(
        output_dir=str(tmp_path), phase="decoupling", language_model="full", use_cpu=True
    )
    objective = build_objective(model, arguments, LOSS, processor, LabelReader(model, processor.tokenizer))
    objective(**batch)["terms"]["text_mask"].backward()
    assert model.decoupling.label.layers[0].weight.grad is None
    assert model.decoupling.text.layers[0].weight.grad.abs().sum() > 0


def test_fusion_supervises_every_pass(make_model, processor, batch, tmp_path):
    """Phase 3 decodes twice, phase 2 once."""
    calls = {}
    for phase in ("decoupling", "fusion"):
        model = make_model()
        arguments = DeSa2VATrainingArguments(
            output_dir=str(tmp_path), phase=phase, language_model="full", use_cpu=True
        )
        objective = build_objective(model, arguments, LOSS, processor, LabelReader(model, processor.tokenizer))
        seen = []
        model.segmenter.visual_decoder.register_forward_hook(lambda m, a, o, seen=seen: seen.append(1))
        objective(**batch)
        calls[phase] = len(seen)
    assert calls == {"decoupling": 1, "fusion": 2}


def test_a_prefix_that_names_nothing_is_an_error(make_model):
    with pytest.raises(ValueError, match="segmenter.sma"):
        free_parameters(make_model(), ("segmenter.sma",))


@pytest.mark.parametrize(
    ("field", "value"),
    [("phase", "warmup"), ("language_model", "half"), ("adversarial_pairing", "mixed"), ("adversarial_loss", "hinge")],
)
def test_unknown_choices_are_named(tmp_path, field, value):
    with pytest.raises(ValueError, match=value):
        DeSa2VATrainingArguments(output_dir=str(tmp_path), **{field: value})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("adversarial_anneal", "slowly"),
        ("adversarial_start", -3),
        ("adversarial_anneal_steps", -3),
        ("auxiliary_every", 0),
        ("auxiliary_hidden", 0),
        ("auxiliary_learning_rate", -1e-3),
        ("discriminator_learning_rate", -1e-3),
        ("discriminator_noise", -0.1),
        ("discriminator_label_smoothing", 1.0),
        ("discriminator_gradient_penalty", -1.0),
        ("club_components", 0),
        ("club_steps", 0),
        ("club_start", -1),
        ("club_log_variance_bound", 0.0),
        ("queue_size", -1),
    ],
)
def test_impossible_auxiliary_options_are_named(tmp_path, field, value):
    with pytest.raises(ValueError, match=str(value)):
        DeSa2VATrainingArguments(output_dir=str(tmp_path), **{field: value})


def test_centred_orthogonality_reaches_the_loss(make_model, processor, batch, tmp_path):
    model, values = make_model(), []
    for center in (False, True):
        arguments = DeSa2VATrainingArguments(
            output_dir=str(tmp_path), language_model="full", use_cpu=True, orthogonality_center=center
        )
        objective = build_objective(model, arguments, LOSS, processor, LabelReader(model, processor.tokenizer))
        values.append(objective(**batch)["terms"]["orthogonality"].item())
    assert values[1] < 0.9 * values[0]


def test_alignment_of_equal_labels_stays_in_bounds(make_model, processor, tmp_path):
    """Four times the same label has no variance: divided by it, the term was a million times its size."""
    model = make_model()
    arguments = DeSa2VATrainingArguments(
        output_dir=str(tmp_path), language_model="full", use_cpu=True, weights={"alignment": 1.0, "text_mask": 1.0}
    )
    objective = build_objective(model, arguments, LOSS, processor, LabelReader(model, processor.tokenizer))
    dataset = RefShapes("train", conversations=1, length=40, level="full", kinds={"multiple": 1.0})
    samples = [dataset[i] for i in range(40)]
    equal = next(s for s in samples if len(s.conversations[0].labels) > 1 and len(set(s.conversations[0].labels)) == 1)
    mixed = next(s for s in samples if len(set(s.conversations[0].labels)) > 2)
    terms = [objective(**processor.collate([sample]))["terms"]["alignment"].item() for sample in (equal, mixed)]
    assert terms[0] < 10 * terms[1]


def test_alignment_of_a_sample_does_not_depend_on_its_neighbours(make_model, processor, scenes, tmp_path):
    """The unit was the variance of the labels in a micro-batch: accumulated singles were another step than a batch."""
    model = make_model()
    arguments = DeSa2VATrainingArguments(
        output_dir=str(tmp_path), language_model="full", use_cpu=True, weights={"alignment": 1.0, "text_mask": 1.0}
    )
    objective = build_objective(model, arguments, LOSS, processor, LabelReader(model, processor.tokenizer)).train()
    objective(**processor.collate(scenes[2:]))
    objective.end_step()
    terms = [
        objective(**processor.collate(part))["terms"]["alignment"] for part in (scenes[:2], scenes[:1], scenes[1:2])
    ]
    counts = [sum(len(one.masks) for one in scene.conversations) for scene in scenes[:2]]
    mean = sum(term * count for term, count in zip(terms[1:], counts, strict=True)) / sum(counts)
    torch.testing.assert_close(mean, terms[0], rtol=1e-4, atol=0)


def test_unknown_loss_terms_are_named(tmp_path):
    """A misspelt weight would silently count zero."""
    with pytest.raises(ValueError, match="visual_msk"):
        DeSa2VATrainingArguments(output_dir=str(tmp_path), weights={"visual_msk": 1.0})


def test_isolated_text_losses_teach_the_text_projection_and_not_the_language_model(
    make_model, processor, batch, tmp_path
):
    """A text teacher that pulls at the shared state cost two points of IoU in two hundred steps."""
    moved = {}
    for isolated in (False, True):
        model = make_model()
        arguments = DeSa2VATrainingArguments(
            output_dir=str(tmp_path), use_cpu=True, language_model="full", weights={"text_mask": 1.0}
        )
        model.isolate_text(isolated)
        free_parameters(model, trainable_prefixes(arguments))
        objective = build_objective(model, arguments, LOSS, processor, LabelReader(model, processor.tokenizer))
        objective.train()(**batch)["terms"]["text_mask"].backward()
        gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
        moved[isolated] = {name for name, gradient in gradients.items() if gradient.abs().max() > 0}
    assert any(name.startswith("mllm.") for name in moved[False])
    assert {name.split(".layers")[0] for name in moved[True]} == {"decoupling.text"}


@pytest.mark.parametrize("phase", ["decoupling", "fusion"])
def test_nothing_but_text_losses_teaches_an_isolated_text_projection(make_model, processor, batch, tmp_path, phase):
    """Paper section 3.4: the text prediction is not compared with the visual ground truth. The predicted IoU and the
    object score of the text decoder were, and the gradient went through the frozen decoder into W_t.
    """
    names = ("language", "visual_mask", "fused_mask", "iou", "object_score", "text_mask", "alignment", "orthogonality")
    model, learned, values = make_model(), set(), {}
    arguments = DeSa2VATrainingArguments(
        output_dir=str(tmp_path), phase=phase, use_cpu=True, language_model="full", weights=dict.fromkeys(names, 1.0)
    )
    free_parameters(model, trainable_prefixes(arguments))
    objective = build_objective(model, arguments, LOSS, processor, LabelReader(model, processor.tokenizer))
    for isolated in (False, True):
        model.isolate_text(isolated)
        terms = objective(**batch)["terms"]
        values[isolated] = {name: terms[name].item() for name in names}
        for name in names:
            (gradient,) = torch.autograd.grad(
                terms[name], [model.decoupling.text.layers[0].weight], retain_graph=True, allow_unused=True
            )
            if isolated and gradient is not None and gradient.abs().max() > 0:
                learned.add(name)
    assert learned == {"text_mask", "alignment", "orthogonality"}
    assert values[True] == pytest.approx(values[False], rel=1e-5)


def test_a_single_object_is_compared_with_remembered_ones(make_model, processor, tmp_path):
    """Eq. 7 of one object is the constant 1: with one object per micro-batch the term taught nothing."""
    model = make_model()
    arguments = DeSa2VATrainingArguments(
        output_dir=str(tmp_path), use_cpu=True, language_model="full", weights={"orthogonality": 1.0}, queue_size=8
    )
    free_parameters(model, trainable_prefixes(arguments))
    objective = build_objective(model, arguments, LOSS, processor, LabelReader(model, processor.tokenizer)).train()
    dataset = RefShapes("train", conversations=1, length=9, level="full", kinds={"attribute": 1.0})
    weight = model.decoupling.text.layers[0].weight
    sizes = []
    for index in range(9):
        term = objective(**processor.collate([dataset[index]]))["terms"]["orthogonality"]
        sizes.append(torch.autograd.grad(term, weight)[0].abs().max().item())
        objective.end_step()
    assert sizes[0] < 1e-6
    assert min(sizes[1:]) > 1e-5
    assert len(objective.memory) == 8
    objective.eval()(**processor.collate([dataset[0]]))  # a validation is not remembered
    before = objective.memory.rows.clone()
    objective.end_step()
    assert torch.equal(objective.memory.rows, before)
