"""Generation: forced, forbidden and last `[SEG]`s, their states, and masks on pictures and videos."""

import numpy as np
import pytest
import torch

from desa2va.modeling_desa2va.language.generation import SegmentationTokenControl, StateRecorder
from desa2va.training.processors import preset_processor

SEG, EOS = 6, 2


def pictures(count, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.integers(0, 255, (40 + 8 * k, 64, 3), np.uint8) for k in range(count)]


def test_state_of_a_seg_is_the_teacher_forced_state(model, processor):
    """The hook is off by one step easily: the state whose *input* is [SEG] comes one step after [SEG] is chosen."""
    inputs = processor(images=pictures(2), text=["find the red circle", "the square"], task="segment")
    seen = {}
    original = model._segment
    model._segment = lambda answer, *rest: seen.update(answer=answer) or original(answer, *rest)
    try:
        output = model.generate(**inputs, max_new_tokens=4)
    finally:
        del model._segment
    # Left padding costs positions; the same tokens in one pass give the reference states.
    ids = torch.cat([inputs["input_ids"], output.sequences], dim=1)
    mask = torch.cat([inputs["attention_mask"], torch.ones_like(output.sequences)], dim=1)
    with torch.no_grad():
        forced = model(
            input_ids=ids,
            attention_mask=mask,
            pixel_values=inputs["pixel_values"],
            image_index=inputs["image_index"],
            num_tiles=inputs["num_tiles"],
        )
    torch.testing.assert_close(seen["answer"].seg_states, forced.seg_states, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("limit", [1, 3])
def test_segment_forces_one_even_in_the_last_place(model, processor, limit):
    """A [SEG] that is the very last token was lost by the peer: its state needs one more step."""
    inputs = processor(images=pictures(3), text=["the red circle"] * 3, task="segment")
    output = model.generate(**inputs, max_new_tokens=limit)
    assert output.sequences.shape[1] <= limit
    assert output.object_sequence.tolist() == [0, 1, 2]
    assert all(logits.shape == (1, 32, 32) for logits in output.track_logits)
    assert ((output.seg_probability >= 0) & (output.seg_probability <= 1)).all()


def test_chat_never_holds_one(make_model, processor):
    """Even a model that wants nothing but [SEG]."""
    model = make_model(11)
    with torch.no_grad():
        model.mllm.lm_head.weight[SEG] += 50 * model.mllm.model.language_model.norm.weight.abs().mean()
    inputs = processor(images=pictures(1), text="the red circle", task="chat")
    output = model.generate(**inputs, max_new_tokens=6)
    assert SEG not in output.sequences
    assert len(output.object_sequence) == 0


def test_batch_equals_singles(model, processor):
    images, texts = pictures(3), ["the red circle", "Where is the large blue square?", "find the star"]
    together = model.generate(**processor(images=images, text=texts, task="segment"), max_new_tokens=3)
    for row, (image, text) in enumerate(zip(images, texts, strict=True)):
        alone = model.generate(**processor(images=image, text=text, task="segment"), max_new_tokens=3)
        assert together.sequences[row].tolist() == alone.sequences[0].tolist()
        torch.testing.assert_close(together.track_logits[row], alone.track_logits[0], rtol=1e-2, atol=2e-2)


def test_several_sentences_share_every_encoding(model, processor):
    """N sentences about one picture: one vision pass, one SAM-2 encoding, the masks of N single calls."""
    image, texts = pictures(1)[0], ["the red circle", "the blue square", "find the star"]
    counts = {"tower": 0, "sam": 0}
    hooks = [
        model.mllm.model.vision_tower.register_forward_hook(
            lambda m, a, k, o: counts.update(tower=counts["tower"] + len(k["pixel_values"])), with_kwargs=True
        ),
        model.segmenter.sam.vision_encoder.register_forward_hook(
            lambda m, a, o: counts.update(sam=counts["sam"] + len(a[0]))
        ),
    ]
    together = model.generate(**processor(images=image, text=texts, task="segment"), max_new_tokens=3)
    for hook in hooks:
        hook.remove()
    assert counts == {"tower": 1, "sam": 1}
    for row, text in enumerate(texts):
        alone = model.generate(**processor(images=image, text=text, task="segment"), max_new_tokens=3)
        torch.testing.assert_close(together.track_logits[row], alone.track_logits[0], rtol=1e-2, atol=2e-2)


@pytest.mark.parametrize("strategy", ["consistent", "memory", "per_frame"])
def test_video_gets_a_mask_on_every_frame_from_one_encoding_each(make_model, processor, strategy):
    model = make_model(track_strategy=strategy)
    video = pictures(1)[0][None].repeat(9, axis=0)
    inputs = processor(
        videos=[video],
        text="the red circle",
        task="segment",
        key_frames="first" if strategy == "memory" else "uniform",
        num_key_frames=3,
    )
    encoded = []
    hook = model.segmenter.sam.vision_encoder.register_forward_hook(lambda m, a, o: encoded.append(len(a[0])))
    output = model.generate(**inputs, max_new_tokens=2)
    hook.remove()
    assert output.track_logits[0].shape == (9, 32, 32)
    assert output.track_iou[0].shape == output.track_object_score[0].shape == (9,)
    assert sum(encoded) <= 9


@pytest.mark.parametrize(("design", "frames"), [("repetitive", 2), ("unique", 3)])
def test_token_designs_yield_one_object_per_group(make_model, design, frames):
    """Sa2VA table 12: several tokens per object; a group that has begun is completed, in order."""
    fields = {"seg_design": design, "num_seg_frames": frames}
    processor = preset_processor("tiny", fields)
    model = make_model(**fields, seg_token_ids=processor.seg_token_ids)
    video = pictures(1)[0][None].repeat(4, axis=0)
    inputs = processor(videos=[video], text="the red circle", task="segment", num_key_frames=frames)
    output = model.generate(**inputs, max_new_tokens=frames + 2)
    assert len(output.object_sequence) >= 1
    ids = [i for i in output.sequences[0].tolist() if i in processor.seg_token_ids]
    expected = processor.seg_token_ids if design == "unique" else processor.seg_token_ids * frames
    assert ids[:frames] == expected


def test_clicks_alone_need_no_language(model, processor):
    """Without words nothing is generated; pristine SAM-2 answers."""
    image = pictures(1)[0]
    inputs = processor(images=image, points=[[(10, 10)], [(30, 20, 1), (5, 5, 0)]])
    output = model.generate(**inputs)
    assert output.object_sequence.tolist() == [0, 0]
    assert [tuple(logits.shape) for logits in output.track_logits] == [(1, 32, 32)] * 2
    results = processor.post_process(output, inputs)
    assert len(results[0].objects) == 2


def test_branches_on_request(model, processor):
    inputs = processor(images=pictures(1)[0], text="the red circle", task="segment")
    output = model.generate(**inputs, max_new_tokens=2, return_branches=True)
    assert output.text_logits[0].shape == output.visual_logits[0].shape == (1, 32, 32)
    plain = model.generate(**inputs, max_new_tokens=2)
    assert plain.text_logits is plain.fused_logits is plain.gates is None


def test_branches_are_those_of_the_mask_that_was_kept(make_model, processor):
    """The branches of the last pass stood beside the mask of the first wherever the first was kept."""
    model = make_model(3, reprompt_guard=True)
    inputs = processor(images=pictures(6), text="the red circle", task="segment")
    passes = []
    original = model.decode_prompts
    model.decode_prompts = lambda *args, **kwargs: passes.append(original(*args, **kwargs)) or passes[-1]
    output = model.generate(**inputs, max_new_tokens=2, return_branches=True)
    first, second = (one.fused.iou for one in passes[0][0])
    assert (first >= second).any()
    for row in range(len(output.gates)):
        gate, text, visual = output.gates[row], output.text_logits[row], output.visual_logits[row]
        torch.testing.assert_close(output.fused_logits[row], gate * visual + (1 - gate) * text, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(output.fused_logits[row], output.track_logits[row])


def test_a_model_with_one_branch_says_that_it_can_not_be_explained(make_model, model, processor):
    inputs = processor(images=pictures(1)[0], text="the red circle", task="segment")
    output = make_model(prompt_mode="sa2va").generate(**inputs, max_new_tokens=2, return_branches=True)
    assert output.gates is output.text_logits is None
    with pytest.raises(ValueError, match="one branch .prompt_mode='sa2va'"):
        processor.post_process(output, inputs)[0].explain()
    with pytest.raises(ValueError, match="return_branches=True"):
        processor.post_process(model.generate(**inputs, max_new_tokens=2), inputs)[0].explain()


def test_explained_video(model, processor):
    """Branches of the key frames, scores of every frame, and one picture."""
    video = np.stack(pictures(1) * 5)
    inputs = processor(videos=[video], text="the red circle", task="segment", num_key_frames=2)
    output = model.generate(**inputs, max_new_tokens=2, return_branches=True)
    result = processor.post_process(output, inputs)[0]
    (entry,) = result.explain().objects
    assert entry.key_frames == inputs["visuals"][0].key_frames
    assert (len(entry.gates), len(entry.iou_scores), len(entry.object_scores)) == (2, 5, 5)
    for k in range(2):
        text, visual = entry.text_mask(k), entry.visual_mask(k)
        union = (text | visual).sum()
        assert entry.disagreement[k] == pytest.approx(1 - (text & visual).sum() / union if union else 0)
        assert entry.uncertainty(k).shape == text.shape == video.shape[1:3]
    assert result.explain().plot(1).dtype == np.uint8


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"task": "draw"}, "auto, segment, chat, caption, gcg, region"),
        ({"task": ["chat", "gcg"]}, "2 tasks but 1 sequences"),
        ({"num_beams": 3}, "num_beams"),
    ],
)
def test_impossible_requests_are_named(model, processor, options, named):
    inputs = {**processor(images=pictures(1)[0], text="the red circle"), **options}
    with pytest.raises(ValueError, match=named):
        model.generate(**inputs)


def test_generate_refuses_training_mode(make_model, processor):
    model = make_model().train()
    with pytest.raises(ValueError, match="eval"):
        model.generate(**processor(images=pictures(1)[0], text="the red circle"))


def test_control_records_the_probability_before_it_rules():
    """Two tokens of probability 1/2; the recorded value must not be the forced 1."""
    recorder = StateRecorder(torch.nn.Identity())
    control = SegmentationTokenControl(recorder, [1], 1, [0], "segment", max_new_tokens=1)
    scores = torch.tensor([[0.0, 0.0]])
    ruled = control(torch.zeros(1, 0, dtype=torch.long), scores)
    assert ruled.argmax().item() == 1
    assert control.probabilities[0].item() == pytest.approx(0.5)
