"""Drafted answers: what greedy decoding says, its states, and one reading where the draft is right."""

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks.gpu_answers import Says
from desa2va.commands.picture_folder import segment_picture
from desa2va.modeling_desa2va.conversation import DeSa2VAConversation
from desa2va.modeling_desa2va.language import ReadTokens, answers
from desa2va.modeling_desa2va.pipeline import ReferringSegmentationPipeline
from desa2va.modeling_desa2va.session import DeSa2VASession
from desa2va.serving.engine import Question, answer_questions
from desa2va.training.data.wording import SINGLE_ANSWER
from desa2va.training.stage_model import start_model

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


def by_pipeline(model, processor):
    pipe = ReferringSegmentationPipeline(model, processor)
    return pipe(Image.fromarray(PICTURE), text=TEXTS[0]).objects


def by_command(model, processor):
    return segment_picture(model, processor, PICTURE, TEXTS[:1])[0].objects


def by_stream(model, processor):
    with model.stream([PICTURE, PICTURE[::-1].copy()], TEXTS[0], processor) as stream:
        return [entry for frame in stream for entry in frame.objects]


def by_session(model, processor):
    with DeSa2VASession(model, processor, [PICTURE, PICTURE[::-1].copy()]) as session:
        session.add(text=TEXTS[0])
        return [entry for frame in session.propagate() for entry in frame.objects]


def by_conversation(model, processor):
    with DeSa2VAConversation(model, processor, image=PICTURE) as talk:
        return talk.ask(TEXTS[0], task="segment").objects


def by_service(model, processor):
    return answer_questions(model, processor, [Question(PICTURE, TEXTS[:1], "segment")])[0][0].objects


def mask_of(entry):
    """Of a picture's object, or of an object on one frame."""
    return entry.mask() if callable(entry.mask) else entry.mask


@pytest.mark.parametrize(
    "ask", [by_pipeline, by_command, by_stream, by_session, by_conversation, by_service], ids=lambda ask: ask.__name__
)
def test_every_way_of_asking_reads_the_usual_answer_at_once(shipped, passes, monkeypatch, ask):
    """The draft was to be had by naming its ids in a call of `generate`, which none of these is."""
    model, processor = shipped
    read = passes(model)
    drafted = ask(model, processor)
    assert len(read) == 1
    read.clear()
    monkeypatch.setattr(model.config, "answer_draft", None)
    expected = ask(model, processor)
    assert len(read) > 4
    assert len(drafted) == len(expected) > 0
    for one, other in zip(drafted, expected, strict=True):
        assert one.seg_probability == pytest.approx(other.seg_probability, abs=1e-5)
        assert np.array_equal(mask_of(one), mask_of(other))


@pytest.mark.parametrize("task", ["chat", "auto", "gcg", ["segment", "chat"]])
def test_the_usual_answer_is_that_of_a_request_for_masks(model, processor, monkeypatch, task):
    """Other tasks would read it in vain, and so would a batch that holds one of them."""
    monkeypatch.setattr(model.config, "answer_draft", [9, 8, 6])
    monkeypatch.setattr(answers, "answer_drafted", None)
    count = 1 if isinstance(task, str) else 2
    inputs = processor(images=PICTURE, text=TEXTS[:count], task=task)
    assert len(model.answer_key_frames(**inputs, max_new_tokens=2).sequences) == count


def test_another_answer_than_the_usual_one_is_given(make_model, processor):
    """A draft that the model would not say is left where it would not, and another one may be named."""
    model, other = make_model(), make_model(answer_draft=[9, 8, 6])
    inputs = asked(processor, 3)
    expected = model.answer_key_frames(**inputs, max_new_tokens=LIMIT)
    same(other.answer_key_frames(**inputs, max_new_tokens=LIMIT), expected)
    same(other.answer_key_frames(**inputs, max_new_tokens=LIMIT, draft_ids=expected.sequences[0]), expected)


def test_what_is_trained_knows_the_answer_it_is_taught():
    """A model of one's own would go on token by token; the ids are those of the answer in a sample."""
    model, processor = start_model({"model": {"preset": "tiny"}})
    assert processor.tokenizer.decode(model.config.answer_draft) == SINGLE_ANSWER
    assert processor.seg_token_ids[0] in model.config.answer_draft
