"""The model is asked back about its own masks: one reading of all, and the best verified key frame conditions."""

from copy import copy

import numpy as np
import pytest
import torch

from desa2va.modeling_desa2va.answering import verification
from desa2va.modeling_desa2va.conversation import DeSa2VAConversation
from desa2va.modeling_desa2va.tracking import resize_logits
from desa2va.processing.batch import answer_ids
from desa2va.processing.files import resize_logits as to_source
from desa2va.processing.inputs import draw_regions
from desa2va.processing.results import SegmentationResult, collect_frames

FAMILIES = ["internvl/qwen2", "qwen2_5_vl", "qwen3_vl", "qwen3_5"]
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


@pytest.fixture
def seen(make_backbone, monkeypatch):
    """Builds `(model, processor)` of a family that sees every object on every key frame."""

    def make(family):
        model, processor = make_backbone(family)
        for name in ("mask_threshold", "object_score_threshold"):
            monkeypatch.setattr(model.config, name, -1000.0)
        return model, processor

    return make


@pytest.mark.parametrize("kind", ["images", "videos"])
@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_answers_as_if_asked_one_by_one(seen, family, kind):
    """Guards Qwen-VL's grids and positions, which come from the pictures of the questions and not of the request."""
    model, processor = seen(family)
    shown = {"images": PICTURES[0]} if kind == "images" else {"videos": [PICTURES[:3]], "num_key_frames": 2}
    inputs = processor(**shown, text=["the star", "the red circle"], task="segment")
    (info,) = inputs["visuals"]
    output = model.answer_key_frames(**inputs, max_new_tokens=3, verify=True, processor=processor)
    one_by_one = copy(processor)
    if kind == "videos":
        one_by_one.max_tiles = 1
    size, (found,), (agree, disagree) = (40, 64), output.visuals, answer_ids(processor.assembler.encoder)
    for number, name in enumerate(("the star", "the red circle")):
        for column, frame in enumerate(info.key_frames):
            mask = to_source(found.masks.logits[number, column][None], size)[0] > -1000.0
            picture = draw_regions(PICTURES[frame], mask.numpy()[None])
            asked = one_by_one(images=picture, text=f"Is region 1 {name}?")
            logits = model.generate(**asked, max_new_tokens=1, output_logits=True).logits[0][0].float()
            expected = (logits[agree].logsumexp(0) - logits[disagree].logsumexp(0)).sigmoid().item()
            assert float(output.agreement[number][column]) == pytest.approx(expected, abs=1e-4)


class Encodings:
    """Images of the language model's tower and frames of SAM-2's encoder."""

    def __init__(self, model, monkeypatch):
        self.images, self.frames = [], []
        count, encode = self.images, model.segmenter.encode_frames
        language = model.language_inputs
        monkeypatch.setattr(
            model, "language_inputs", lambda ids, **v: count.append(shown_images(v)) or language(ids, **v)
        )
        monkeypatch.setattr(
            model.segmenter, "encode_frames", lambda pixels: self.frames.append(len(pixels)) or encode(pixels)
        )


def shown_images(vision):
    given = vision.get("image_grid_thw", vision.get("num_tiles"))
    return 0 if given is None else len(given)


@pytest.mark.parametrize("family", FAMILIES)
def test_asking_back_encodes_outlined_pictures_and_nothing_else(seen, monkeypatch, family):
    """SAM-2's encodings are at hand, and a mask that two requests marked alike is one picture of two questions."""
    model, processor = seen(family)
    counts = Encodings(model, monkeypatch)
    inputs = processor(images=PICTURES[0], text=["the star", "the star", "the red circle"], task="segment")
    model.answer_key_frames(**inputs, max_new_tokens=3, verify=True, processor=processor)
    assert sum(counts.frames) == 1
    assert counts.images == [1, 1]  # every mask is the whole picture here


@pytest.mark.parametrize("family", FAMILIES)
def test_a_conversation_asks_back_and_goes_on(seen, family):
    """The questions lie beside the conversation: the next turn answers as if they had not been asked."""
    model, processor = seen(family)
    said = {}
    for verify in (True, False):
        with DeSa2VAConversation(model, processor, image=PICTURES[0]) as talk:
            first = talk.ask("the star", "segment", max_new_tokens=3, verify=verify)
            said[verify] = [first.text, talk.ask("the red circle", "chat", max_new_tokens=6).text]
            agreement = [entry.agreement for entry in first.objects]
        assert [value is not None for value in agreement] == [verify] * len(agreement)
    assert said[True] == said[False]


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
