"""The model is asked back about its own masks: one reading of all, and the best verified key frame conditions."""

from copy import copy

import numpy as np
import pytest
import torch

from desa2va.modeling_desa2va.answering import verification
from desa2va.modeling_desa2va.tracking import resize_logits
from desa2va.processing.batch import answer_ids
from desa2va.processing.results import SegmentationResult, collect_frames

PICTURES = np.random.default_rng(0).integers(0, 255, (4, 40, 64, 3), np.uint8)


@pytest.fixture(scope="module")
def visible(make_model, processor):
    """A model whose every mask is drawn and present."""
    model = make_model(3)
    model.config.object_score_threshold = model.config.mask_threshold = -1000.0
    model.processor = processor
    return model


def test_agreement_is_what_generation_would_say(visible, processor):
    """Asked one by one in the usual way, the logits of yes and no after the question give the same figure."""
    inputs = processor(images=list(PICTURES[:2]), text=["the star", "the ring"], task="segment")
    output = visible.generate(**inputs, max_new_tokens=3, verify=True)
    results = processor.post_process(output, inputs)
    agree, disagree = answer_ids(processor.assembler.encoder)
    assert len(output.agreement) == len(output.object_sequence) == 2
    for number, (result, name) in enumerate(zip(results, ("the star", "the ring"), strict=True)):
        (entry,) = result.objects
        asked = processor(images=PICTURES[number], text=f"Is region 1 {name}?", masks=entry.mask(), task="chat")
        logits = visible.generate(**asked, max_new_tokens=1, output_logits=True).logits[0][0].float()
        expected = (logits[agree].logsumexp(0) - logits[disagree].logsumexp(0)).sigmoid().item()
        assert entry.agreement == pytest.approx(expected, abs=1e-4)
        assert result.frame(0).objects[0].agreement == entry.agreement
        assert SegmentationResult.from_dict(result.to_dict()).objects[0].agreement == entry.agreement


def test_off_by_default(visible, processor, monkeypatch):
    """Nothing is asked, and nothing is read, unless it is wanted."""
    monkeypatch.setattr(verification, "_agreement", None)
    inputs = processor(images=PICTURES[0], text="the star", task="segment")
    output = visible.generate(**inputs, max_new_tokens=3)
    assert output.agreement is None
    assert processor.post_process(output, inputs)[0].objects[0].agreement is None


def test_all_masks_are_read_in_one_forward(visible, processor, monkeypatch):
    """Two requests about a video of three key frames: six questions, one reading."""
    calls, usual = [], visible.read_states
    monkeypatch.setattr(
        visible, "read_states", lambda **inputs: calls.append(len(inputs["attention_mask"])) or usual(**inputs)
    )
    inputs = processor(videos=[PICTURES], text=["the star", "the ring"], task="segment", num_key_frames=3)
    output = visible.generate(**inputs, max_new_tokens=3, verify=True)
    assert calls == [6]
    assert [tuple(row.shape) for row in output.agreement] == [(3,), (3,)]


def test_the_best_verified_key_frame_alone_conditions(visible, processor, monkeypatch):
    """Agreement .2, .9, .4: the mask of the second key frame is kept as it is, the others become the tracker's."""
    inputs = processor(videos=[PICTURES], text="the star", task="segment", num_key_frames=3)
    frames = inputs["visuals"][0].key_frames
    plain = visible.generate(**inputs, max_new_tokens=3)
    monkeypatch.setattr(verification, "_agreement", lambda model, batch, yes, no: [0.2, 0.9, 0.4])
    chosen = visible.generate(**inputs, max_new_tokens=3, verify=True)
    assert chosen.agreement[0].tolist() == pytest.approx([0.2, 0.9, 0.4])
    same = [torch.equal(plain.track_logits[0][frame], chosen.track_logits[0][frame]) for frame in frames]
    assert same == [False, True, False]
    result = processor.post_process(chosen, inputs)[0]
    assert result.objects[0].agreement == pytest.approx(0.9)
    with visible.stream(PICTURES, "the star", processor, num_key_frames=3, max_new_tokens=3, verify=True) as stream:
        collected = collect_frames(list(stream), stream.answers, stream.source)[0]
    assert collected.objects[0].agreement == result.objects[0].agreement
    assert collected.objects[0].codes == result.objects[0].codes


def test_masks_without_a_pixel_are_not_asked_about(make_model, processor, monkeypatch):
    """There is nothing to outline; the tracker finds its frames as before."""
    model = make_model(3)
    model.config.object_score_threshold, model.config.mask_threshold = -1000.0, 1000.0
    monkeypatch.setattr(verification, "_agreement", None)
    inputs = processor(images=PICTURES[0], text="the star", task="segment")
    answer = model.answer_key_frames(**inputs, max_new_tokens=3, verify=True, processor=processor)
    assert answer.agreement[0].isnan().all()
    (found,) = answer.visuals
    assert not (resize_logits(found.masks.logits[0], 64) > 1000).any()


def test_models_without_region_prompts_say_so(visible, processor):
    """One sentence, before anything is generated."""
    inputs = processor(images=PICTURES[0], text="the star", task="segment")
    peer = copy(processor)
    peer.prompt_rule = "sa2va"
    with pytest.raises(ValueError, match="no outlined regions"):
        visible.answer_key_frames(**inputs, max_new_tokens=3, verify=True, processor=peer)
    tensors = {name: value for name, value in inputs.items() if name not in ("visuals", "texts")}
    with pytest.raises(ValueError, match="give the whole batch"):
        visible.generate(**tensors, max_new_tokens=3, verify=True)
    with pytest.raises(ValueError, match="clicks alone"):
        visible.generate(**processor(images=PICTURES[0], points=[(20, 10)]), verify=True)
