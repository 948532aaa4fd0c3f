"""Drafted answers: what greedy decoding says, its states, and one reading where the draft is right."""

import numpy as np
import pytest
import torch

from benchmarks.gpu_answers import Says
from desa2va.modeling_desa2va.language import ReadTokens, answers

PICTURE = np.random.default_rng(0).integers(0, 255, (90, 110, 3), dtype=np.uint8)
TEXTS = ["the star", "the small red circle on the left of the blue square", "find the green star"]
LIMIT = 6


def asked(processor, count=1):
    return processor(images=PICTURE, text=TEXTS[:count], task="segment")


@pytest.fixture
def passes(monkeypatch):
    """Counts what the language model reads, call by call: tokens of a row."""

    def watch(model):
        read = []
        layers = model.mllm.model.language_model
        original = layers.forward

        def forward(*args, **inputs):
            shown = inputs["inputs_embeds"] if inputs.get("inputs_embeds") is not None else inputs["input_ids"]
            read.append(shown.shape[1])
            return original(*args, **inputs)

        monkeypatch.setattr(layers, "forward", forward)
        return read

    return watch


def same(one, other):
    assert torch.equal(one.sequences, other.sequences)
    assert torch.equal(one.object_sequence, other.object_sequence)
    assert torch.equal(one.seg_forced, other.seg_forced)
    for name in ("seg_probability", "mark_probability"):
        torch.testing.assert_close(getattr(one, name), getattr(other, name), rtol=1e-4, atol=1e-7)
    torch.testing.assert_close(one.prompts.visual, other.prompts.visual, rtol=1e-5, atol=1e-5)


DRAFTS = {
    "right": lambda said: said,
    "wrong from the start": lambda said: said[:1] + 1,
    "wrong in the middle": lambda said: torch.cat([said[:2], said[2:] + 1]),
    "too short": lambda said: said[:2],
    "too long": lambda said: torch.cat([said, said, said]),
    "empty": lambda said: said[:0],
}


@pytest.mark.parametrize("draft", DRAFTS)
@pytest.mark.parametrize(("count", "seg_states"), [(1, "normed"), (1, "raw"), (3, "normed")])
def test_the_answer_is_that_of_generate(make_model, processor, draft, count, seg_states):
    """Guards against a token that stays though the model would not have said it, states of another place, and rows of
    a batch that disagree with the draft at different places.
    """
    model, inputs = make_model(seg_states=seg_states), asked(processor, count)
    expected = model.answer_key_frames(**inputs, max_new_tokens=LIMIT)
    ids = DRAFTS[draft](expected.sequences[0])
    same(model.answer_key_frames(**inputs, max_new_tokens=LIMIT, draft_ids=ids), expected)


def test_a_right_draft_is_one_reading(shipped, passes):
    """And one that goes wrong is read on from where it did."""
    model, processor = shipped
    inputs = asked(processor)
    expected = model.answer_key_frames(**inputs)
    said = [token for token in expected.sequences[0].tolist() if token != processor.tokenizer.eos_token_id]
    read = passes(model)
    same(model.answer_key_frames(**inputs, draft_ids=torch.tensor(said)), expected)
    assert read == [inputs["input_ids"].shape[1] + len(said)]
    read.clear()
    same(model.answer_key_frames(**inputs, draft_ids=torch.tensor([*said[:-1], said[-1] + 1])), expected)
    assert read == [inputs["input_ids"].shape[1] + len(said), 1]


def test_a_conversation_goes_on_behind_a_draft(make_model, processor):
    """What was read beyond the answer must not be taken for a part of the conversation."""
    model, inputs = make_model(), asked(processor)
    said = model.answer_key_frames(**inputs, max_new_tokens=LIMIT).sequences[0]
    kept = []
    for draft in (None, torch.cat([said, said + 1]), torch.cat([said[:3], said])):
        read = ReadTokens(model.mllm)
        model.answer_key_frames(**inputs, max_new_tokens=LIMIT, read_tokens=read, draft_ids=draft)
        kept.append((read.ids, read.num_bytes))
    assert kept[0] == kept[1] == kept[2]


def test_rules_of_the_caller_hold_for_a_draft(make_model, processor, passes):
    model, inputs = make_model(), asked(processor, 2)
    rules = {"logits_processor": [Says([9, 8, 6, 7, processor.tokenizer.eos_token_id])]}
    expected = model.answer_key_frames(**inputs, **rules)
    assert expected.sequences[0].tolist()[:4] == [9, 8, 6, 7]
    read = passes(model)
    same(model.answer_key_frames(**inputs, **rules, draft_ids=torch.tensor([9, 8, 6, 7])), expected)
    same(model.answer_key_frames(**inputs, **rules, draft_ids=torch.tensor([9, 6])), expected)
    assert read.count(1) == 3  # the draft that was right at its first token alone


@pytest.mark.parametrize(
    "options", [{"repetition_penalty": 1.5}, {"do_sample": True}, {"output_logits": True}, {"use_cache": False}]
)
def test_other_ways_of_generating_take_no_draft(model, processor, monkeypatch, options):
    """Each of them would be ignored."""
    monkeypatch.setattr(answers, "answer_drafted", None)
    inputs = asked(processor)
    assert len(model.answer_key_frames(**inputs, max_new_tokens=2, draft_ids=torch.tensor([9]), **options).sequences)
