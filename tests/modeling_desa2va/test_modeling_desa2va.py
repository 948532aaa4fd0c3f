"""The composite: teacher-forced pass, modes, precision, and what transformers expects of a model."""

import copy

import pytest
import torch

from desa2va.configuration.presets import preset_config
from desa2va.modeling_desa2va.modeling_desa2va import DeSa2VAModel
from desa2va.modeling_desa2va.outputs import MaskPrediction
from desa2va.training.objectives.base import model_inputs

CLOSE = {"rtol": 1e-3, "atol": 1e-4}


@torch.no_grad()
def test_batch_equals_singles(model, processor, scenes):
    """Right padding, shared pictures and ragged objects must not leak from one sample into another."""
    together = model(**model_inputs(processor.collate(scenes[:3])))
    start = 0
    for scene in scenes[:3]:
        alone = model(**model_inputs(processor.collate([scene])))
        count = len(alone.seg_states)
        torch.testing.assert_close(together.seg_states[start : start + count], alone.seg_states, **CLOSE)
        torch.testing.assert_close(together.masks.logits[start : start + count], alone.masks.logits, **CLOSE)
        start += count
    assert start == len(together.seg_states)


@torch.no_grad()
def test_shared_pictures_equal_one_picture_per_sequence(model, batch):
    """`image_index` lets four sequences read one encoding; spelled out row by row the states are the same."""
    inputs = model_inputs(batch, "labels")
    shared = model(**inputs)
    order = inputs["image_index"]
    spelled = {**inputs, "pixel_values": inputs["pixel_values"][order], "num_tiles": inputs["num_tiles"][order]}
    spelled["image_index"] = torch.arange(len(order))
    torch.testing.assert_close(model(**spelled).seg_states, shared.seg_states, **CLOSE)


@torch.no_grad()
def test_language_states_are_transformers_own(model, batch):
    inputs = model_inputs(batch, "labels")
    rows = inputs["image_index"]
    theirs = model.mllm(
        input_ids=inputs["input_ids"],
        attention_mask=inputs["attention_mask"],
        pixel_values=inputs["pixel_values"][rows],
        output_hidden_states=True,
    )
    ours = model(**inputs)
    torch.testing.assert_close(ours.last_hidden_state, theirs.hidden_states[-1], **CLOSE)
    torch.testing.assert_close(ours.logits, theirs.logits, **CLOSE)


@torch.no_grad()
def test_logits_are_made_where_they_are_asked_for(model, batch):
    """Of every place they are the largest tensor of a pass; cut down afterwards they would still have been made."""
    inputs = model_inputs(batch, "labels", "sam_pixel_values")
    whole = model(**inputs).logits
    made = []
    handle = model.get_output_embeddings().register_forward_hook(lambda *call: made.append(call[2].shape[1]))
    for asked, places in ((1, [-1]), (3, [-3, -2, -1]), (torch.tensor([2, 0]), [2, 0])):
        torch.testing.assert_close(model(**inputs, logits_to_keep=asked).logits, whole[:, places], **CLOSE)
    handle.remove()
    assert made == [1, 3, 2]


@torch.no_grad()
def test_language_loss_is_transformers_own(model, batch):
    inputs = model_inputs(batch)
    theirs = model.mllm(
        input_ids=inputs["input_ids"],
        attention_mask=inputs["attention_mask"],
        pixel_values=inputs["pixel_values"][inputs["image_index"]],
        labels=inputs["labels"],
    ).loss
    torch.testing.assert_close(model(**inputs).loss, theirs, **CLOSE)


@torch.no_grad()
def test_one_sam_encoding_per_frame(model, batch, monkeypatch):
    """Whatever the number of objects, decoders and re-prompts."""
    seen = []
    handle = model.segmenter.sam.vision_encoder.register_forward_hook(lambda m, args, out: seen.append(len(args[0])))
    output = model(**model_inputs(batch), num_reprompts=2)
    handle.remove()
    assert sum(seen) == len(batch["sam_pixel_values"]) < len(output.seg_states)
    assert len(output.passes) == 3


def test_guard_keeps_the_mask_with_the_higher_predicted_iou(make_model, batch):
    model = make_model()
    model.config.reprompt_guard = True
    with torch.no_grad():
        output = model(**model_inputs(batch))
    first, second = output.passes[0].fused, output.passes[1].fused
    wins = second.iou > first.iou
    assert wins.any() or (~wins).any()
    torch.testing.assert_close(output.masks.iou, torch.maximum(first.iou, second.iou))
    torch.testing.assert_close(output.masks.logits[wins], second.logits[wins])
    torch.testing.assert_close(output.masks.logits[~wins], first.logits[~wins])


@torch.no_grad()
def test_text_only_and_unmasked_sequences_among_others(model, processor, scenes):
    """A batch that mixes pictures, plain dialogue and answers without objects."""
    import numpy as np

    from desa2va.training.data.sample import Conversation, Sample

    nothing = np.zeros((0, 1, 1, 1), bool)
    chat = Sample(None, (Conversation((("Is there a red circle?", "no"),), nothing),), name="chat")
    blank = Sample(
        scenes[0].frames,
        (Conversation((("Is there a red circle?", "yes"),), np.zeros((0, 1, 128, 128), bool)),),
        name="q",
    )
    mixed = processor.collate([chat, scenes[1], blank])
    output = model(**model_inputs(mixed))
    alone = model(**model_inputs(processor.collate([scenes[1]])))
    torch.testing.assert_close(output.masks.logits, alone.masks.logits, **CLOSE)
    assert output.visual_anchor.shape[0] == len(mixed["input_ids"]) - 1


@torch.no_grad()
def test_baseline_mode_has_no_text_branch(make_model, batch):
    model = make_model(prompt_mode="sa2va", projection="mlp")
    output = model(**model_inputs(batch))
    assert output.text_prompts is None
    assert output.passes[0].text is None
    assert model.segmenter.text_decoder is None
    assert not [name for name, _ in model.named_parameters() if "text_decoder" in name or "fusion" in name]


@pytest.mark.parametrize("fusion", ["gate", "mean", "pixel"])
def test_every_learnable_part_gets_a_gradient(make_model, batch, fusion):
    model = make_model(fusion=fusion)
    output = model(**model_inputs(batch), phrase_states=torch.randn(len(batch["object_labels"]), 128))
    loss = output.loss + output.masks.logits.square().mean() + output.label_masks.logits.square().mean()
    loss.backward()
    for part in ("mllm", "decoupling", "segmenter.text_decoder", "segmenter.visual_decoder"):
        grads = [p.grad for name, p in model.named_parameters() if name.startswith(part)]
        assert any(g is not None and g.abs().sum() > 0 for g in grads), part
    if fusion != "mean":
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.fusion.parameters())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@torch.no_grad()
def test_half_precision_agrees_with_fp32(make_model, batch, dtype):
    """bf16 and fp16 weights run on the CPU and stay close: thresholded masks agree on nearly every pixel."""
    full = make_model()
    half = copy.deepcopy(full).to(dtype)
    expected, got = full(**model_inputs(batch)).masks.logits, half(**model_inputs(batch)).masks.logits.float()
    assert torch.isfinite(got).all()
    assert ((expected > 0) == (got > 0)).float().mean() > 0.9


@torch.no_grad()
def test_autocast_runs_and_stays_close(model, batch):
    expected = model(**model_inputs(batch)).masks.logits
    with torch.autocast("cpu", torch.bfloat16):
        got = model(**model_inputs(batch)).masks.logits.float()
    assert ((expected > 0) == (got > 0)).float().mean() > 0.9


def test_activation_checkpointing_gives_the_same_gradients(make_model, batch):
    grads = []
    for checkpointing in (False, True):
        model = make_model().train()
        if checkpointing:
            getattr(model, "activation_checkpointing_enable", model.gradient_checkpointing_enable)()
        model(**model_inputs(batch)).loss.backward()
        grads.append(model.mllm.model.language_model.layers[0].mlp.up_proj.weight.grad)
    torch.testing.assert_close(grads[0], grads[1])


@torch.no_grad()
def test_attention_implementation_per_part(make_model, batch):
    model = make_model()
    expected = model(**model_inputs(batch)).masks.logits
    model.set_attn_implementation({"mllm_config": "eager", "sam_config": "sdpa"})
    assert model.config.mllm_config._attn_implementation == "eager"
    assert model.config.sam_config._attn_implementation == "sdpa"
    torch.testing.assert_close(model(**model_inputs(batch)).masks.logits, expected, **CLOSE)


def test_save_and_load_keep_every_weight(make_model, batch, tmp_path):
    model = make_model(5)
    model.save_pretrained(tmp_path)
    again, info = DeSa2VAModel.from_pretrained(tmp_path, output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    with torch.no_grad():
        torch.testing.assert_close(
            again.eval()(**model_inputs(batch)).masks.logits, model(**model_inputs(batch)).masks.logits, rtol=0, atol=0
        )


def test_device_map_on_the_cpu_and_low_memory_loading(make_model, batch, tmp_path):
    model = make_model(5)
    model.save_pretrained(tmp_path)
    again = DeSa2VAModel.from_pretrained(tmp_path, device_map="cpu", dtype=torch.bfloat16).eval()
    assert again.mllm.dtype == again.segmenter.autocast_dtype == torch.bfloat16
    assert again.segmenter.sam.dtype == torch.float32
    with torch.no_grad():
        assert torch.isfinite(again(**model_inputs(batch)).masks.logits).all()


def test_meta_device_builds_without_memory():
    with torch.device("meta"):
        model = DeSa2VAModel(preset_config("tiny"))
    assert all(parameter.is_meta for parameter in model.parameters())


@pytest.mark.parametrize("backbone", ["qwen2_5_vl", "qwen3_vl"])
@torch.no_grad()
def test_other_backbones_share_the_path(make_qwen, backbone):
    """A Qwen-VL language model takes its own vision inputs; states, prompts and masks come out the same way."""
    model, processor = make_qwen(backbone)
    start, image, end = processor.tokenizer.convert_tokens_to_ids(
        ["<|vision_start|>", "<|image_pad|>", "<|vision_end|>"]
    )
    ids = torch.tensor([[1, start, *[image] * 4, end, 3, *processor.seg_token_ids, 2]])
    output = model(
        input_ids=ids,
        pixel_values=torch.randn(16, 3 * 2 * 14 * 14),
        image_grid_thw=torch.tensor([[1, 4, 4]]),
        mm_token_type_ids=(ids == image).long(),
        sam_pixel_values=torch.randn(1, 3, 128, 128),
        sam_frame_visual=torch.tensor([0]),
        sequence_visual=torch.tensor([0]),
    )
    assert output.seg_states.shape == (1, 1, 32)
    assert output.masks.logits.shape == (1, 32, 32)
    assert isinstance(output.masks, MaskPrediction)
