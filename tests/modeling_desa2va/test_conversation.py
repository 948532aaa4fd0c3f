"""Several turns: each the answer of a fresh call with the whole history, and nothing computed twice."""

import numpy as np
import pytest
import torch
from transformers import LogitsProcessor

from desa2va.modeling_desa2va.conversation import DeSa2VAConversation
from desa2va.processing.files import encode_mask

FAMILIES = ["internvl/qwen2", "qwen2_5_vl", "qwen3_vl", "qwen3_5"]
CACHED = FAMILIES[:3]  # Qwen3.5's recurrent layers can not be cut back
CLOSE = {"rtol": 0, "atol": 1e-5}
ANSWER = "Sure it is [SEG] and [SEG]."
TURNS = [("find the red circle", "auto"), ("blue square", "segment"), ("is it red?", "chat")]


def pixels(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (*shape, 3), dtype=np.uint8)


VISUALS = {"image": pixels(40, 60), "video": pixels(6, 30, 60, seed=1)}


class Says(LogitsProcessor):
    """Lets the model give one answer, spelled as the history spells it."""

    def __init__(self, processor, text=ANSWER):
        self.ids = [*processor.assembler.encoder.answer(text), processor.tokenizer.eos_token_id]
        self.step = 0

    def __call__(self, input_ids, scores):
        token = self.ids[self.step]
        self.step += 1
        return torch.full_like(scores, float("-inf")).index_fill(1, torch.tensor([token]), 0.0)


def seeing(model, monkeypatch):
    """Lets every object be seen on every key frame, so that it is tracked."""
    original = model._decode_pairs

    def decode(features, pairs, prompts):
        kept = original(features, pairs, prompts)
        kept.fused.object_score = torch.full_like(kept.fused.object_score, 3.0)
        return kept

    monkeypatch.setattr(model, "_decode_pairs", decode)
    return model


class Counts:
    """Inputs of the vision tower and of SAM-2's encoder, and tokens that the language model reads in one go."""

    def __init__(self, model, monkeypatch):
        self.images, self.frames, self.tokens = [], [], []
        inner = model.mllm.model
        tower = inner.visual if hasattr(inner, "visual") else inner.vision_tower
        handles = [
            tower.register_forward_pre_hook(lambda *_: self.images.append(1)),
            inner.language_model.register_forward_pre_hook(self.read, with_kwargs=True),
        ]
        self.handles = handles
        encode = model.segmenter.encode_frames
        monkeypatch.setattr(
            model.segmenter, "encode_frames", lambda pixels: self.frames.append(len(pixels)) or encode(pixels)
        )

    def read(self, module, args, kwargs):
        given = kwargs["inputs_embeds"] if kwargs.get("inputs_embeds") is not None else kwargs["input_ids"]
        self.tokens.append(given.shape[1])

    def take(self):
        """(images, frames, tokens of the first reading) since the last call."""
        taken = sum(self.images), sum(self.frames), (self.tokens or [0])[0]
        self.images, self.frames, self.tokens = [], [], []
        return taken


@pytest.fixture
def counted(monkeypatch):
    made = []

    def count(model):
        made.append(Counts(seeing(model, monkeypatch), monkeypatch))
        return made[-1]

    yield count
    for counts in made:
        for handle in counts.handles:
            handle.remove()


@pytest.fixture
def spied(monkeypatch):
    """Keeps what `answer_key_frames` returns."""

    def spy(model):
        said, answer = [], model.answer_key_frames
        monkeypatch.setattr(model, "answer_key_frames", lambda *a, **k: said.append(answer(*a, **k)) or said[-1])
        return said

    return spy


def fresh(model, processor, kind, messages, text, task, marks=None, **generation):
    """One call with the whole history, and its result."""
    history = {"messages": messages} if messages else {}
    batch = processor(**{f"{kind}s": [VISUALS[kind]]}, text=text, task=task, **history, **(marks or {}))
    output = model.generate(**batch, output_logits=True, **generation)
    return output, processor.post_process(output, batch)[0]


def assert_same(answer, result, output, expected):
    """Logits, text and masks."""
    assert torch.equal(answer.sequences, output.sequences)
    for one, other in zip(answer.logits, output.logits, strict=True):
        torch.testing.assert_close(one, other, **CLOSE)
    assert (result.text, result.raw_text, result.status) == (expected.text, expected.raw_text, expected.status)
    assert len(result.objects) == len(expected.objects)
    for one, other in zip(result.objects, expected.objects, strict=True):
        assert one.codes == other.codes
        np.testing.assert_allclose(one.object_scores, other.object_scores, **CLOSE)
        np.testing.assert_allclose(one.iou_scores, other.iou_scores, **CLOSE)


@pytest.mark.parametrize("kind", VISUALS)
@pytest.mark.parametrize("family", FAMILIES)
def test_every_turn_equals_a_fresh_call_with_the_whole_history(make_backbone, spied, family, kind):
    """Guards against stale keys, and against M-RoPE positions of another call: transformers keeps the offset of the
    pictures it saw last in the model, and here another picture is seen between the turns.
    """
    model, processor = make_backbone(family)
    said = spied(model)
    other = processor(images=pixels(80, 28, seed=5), text="star", task="segment")
    with DeSa2VAConversation(model, processor, **{kind: VISUALS[kind]}) as talk:
        for text, task in TURNS:
            messages = talk.messages
            result = talk.ask(text, task, output_logits=True, max_new_tokens=6)
            answer = said[-1]
            assert_same(answer, result, *fresh(model, processor, kind, messages, text, task, max_new_tokens=6))
            model.generate(**other, max_new_tokens=2)


@pytest.mark.parametrize("kind", VISUALS)
@pytest.mark.parametrize("family", CACHED)
def test_a_further_turn_encodes_no_picture_and_reads_new_tokens_alone(make_backbone, counted, family, kind):
    """The saving is counted: nothing else shows whether anything is reused."""
    model, processor = make_backbone(family)
    counts = counted(model)
    with DeSa2VAConversation(model, processor, **{kind: VISUALS[kind]}) as talk:
        talk.ask("find the red circle", logits_processor=[Says(processor)])
        images, frames, first = counts.take()
        assert images == 1
        assert frames == (1 if kind == "image" else 6)
        messages = talk.messages
        talk.ask("blue square", logits_processor=[Says(processor)])
        images, frames, second = counts.take()
        assert (images, frames) == (0, 0)
        batch = processor(**{f"{kind}s": [VISUALS[kind]]}, messages=messages, text="blue square")
        spelled = len(processor.assembler.encoder.answer(ANSWER))
        # All but the first turn's prompt and answer; the token that ended the answer has not been read yet.
        assert second == batch["input_ids"].shape[1] - first - spelled
        assert second < 20 < first + spelled


def test_a_recurrent_model_reads_again_but_frames_are_encoded_once(make_backbone, counted):
    """A state that can not be cut back must not be used."""
    model, processor = make_backbone("qwen3_5")
    counts = counted(model)
    with DeSa2VAConversation(model, processor, video=VISUALS["video"]) as talk:
        talk.ask("find the red circle", logits_processor=[Says(processor)])
        assert counts.take()[1] == 6
        talk.ask("blue square", logits_processor=[Says(processor)])
        assert counts.take()[:2] == (1, 0)


def test_rules_about_ids_see_what_a_fresh_call_shows_them(make_backbone, spied):
    """A repetition penalty looks at ids, and InternVL's first reading shows it none of the prompt."""
    model, processor = make_backbone("internvl/qwen2")
    said = spied(model)
    talk = DeSa2VAConversation(model, processor, image=VISUALS["image"])
    rule = {"repetition_penalty": 5.0, "max_new_tokens": 6}
    talk.ask("find the red circle", "chat", **rule)
    messages = talk.messages
    result = talk.ask("is it red?", "chat", output_logits=True, **rule)
    assert_same(said[-1], result, *fresh(model, processor, "image", messages, "is it red?", "chat", **rule))


@pytest.mark.parametrize("family", CACHED)
def test_undo_and_edit_go_on_from_the_turn_before(make_backbone, counted, spied, family):
    """Keys of a turn that was taken back must not be heard again, and the picture need not be seen again."""
    model, processor = make_backbone(family)
    said = spied(model)
    talk = DeSa2VAConversation(model, processor, image=VISUALS["image"])
    counts = counted(model)
    talk.ask("find the red circle", logits_processor=[Says(processor)])
    small, messages = talk.num_bytes, talk.messages
    talk.ask("blue square star", logits_processor=[Says(processor)])
    assert talk.num_bytes > small
    talk.undo()
    assert talk.num_bytes == small
    assert talk.messages == messages
    talk.ask("star", logits_processor=[Says(processor)])
    counts.take()
    result = talk.edit("is it red?", "chat", output_logits=True, max_new_tokens=5)
    assert counts.take()[:2] == (0, 0)
    expected = fresh(model, processor, "image", messages, "is it red?", "chat", max_new_tokens=5)
    assert_same(said[-2], result, *expected)
    talk.undo()
    counts.take()
    talk.edit("find the blue circle", "chat", max_new_tokens=2)  # the first turn, after the same picture
    assert counts.take()[:2] == (0, 0)
    talk.undo()
    assert talk.messages == []
    counts.take()
    result = talk.ask("star", "segment", output_logits=True, max_new_tokens=5)
    answer = said[-1]
    assert counts.take()[1] == 0
    assert_same(answer, result, *fresh(model, processor, "image", [], "star", "segment", max_new_tokens=5))
    with pytest.raises(ValueError, match="nothing to undo"):
        DeSa2VAConversation(model, processor, image=VISUALS["image"]).undo()


def test_numbers_go_on_and_are_not_used_twice(make_backbone):
    """Each answer counted its objects from 0, so a number named several of them."""
    model, processor = make_backbone("internvl/qwen2")
    talk = DeSa2VAConversation(model, processor, image=VISUALS["image"])
    first = talk.ask("find the red circle", logits_processor=[Says(processor)])
    second = talk.ask("blue square", logits_processor=[Says(processor)])
    assert [entry.object_id for entry in [*first.objects, *second.objects]] == [0, 1, 2, 3]
    talk.undo()
    third = talk.ask("star", logits_processor=[Says(processor, "it is [SEG].")])
    assert sorted(talk.objects) == [0, 1, 4]
    assert talk.objects[4] is third.objects[0]
    assert talk.results == [first, third]


def test_the_reason_names_objects_by_the_numbers_they_have(make_backbone):
    """The second answer's object was number 2, and its reason spoke of "object 0", which is one of the first."""
    model, processor = make_backbone("internvl/qwen2")
    with DeSa2VAConversation(model, processor, image=VISUALS["image"]) as talk:
        talk.ask("find the red circle", logits_processor=[Says(processor)])
        second = talk.ask("star", "segment", logits_processor=[Says(processor, "it is [SEG].")], max_new_tokens=20)
        (found,) = second.objects
        found.status, found.reason = "no_target", "absent"
        second.number_from(2)
        assert (found.object_id, second.status, second.reason) == (2, "no_target", "object 2: absent")
        third = talk.ask("blue square", logits_processor=[Says(processor)])
        for entry in third.objects:
            assert f"object {entry.object_id}: {entry.reason}" in third.reason


def test_a_turn_may_leave_the_words_to_its_task(make_backbone):
    """`ask(task="caption")` was a TypeError, though the processor asks in words of its own; no later turn could."""
    model, processor = make_backbone("internvl/qwen2")
    with DeSa2VAConversation(model, processor, image=VISUALS["image"]) as talk:
        for _ in range(2):
            talk.ask(task="caption", max_new_tokens=2)
        talk.ask(task="region", boxes=[2, 2, 20, 20], max_new_tokens=2)
        said = [entry["content"] for entry in talk.messages if entry["role"] == "user"]
        assert said[0][1]["text"] == said[1] == "Describe the image."
        assert said[2] == "What is region 1?"
        for task in ("auto", "segment", "chat"):
            with pytest.raises(ValueError, match=f"nothing is asked in this turn with task='{task}'"):
                talk.ask(task=task)
        two = [[2, 2, 20, 20], [4, 4, 9, 9]]
        with pytest.raises(ValueError, match="2 regions are marked"):
            talk.ask(task="region", boxes=two)
        assert len(talk.results) == 3
    with DeSa2VAConversation(model, processor, image=VISUALS["image"]) as talk:
        with pytest.raises(ValueError, match="a turn asks one thing, but 2 regions are marked"):
            talk.ask(task="region", boxes=two)
        assert talk.results == []


@pytest.mark.parametrize("family", CACHED)
def test_an_earlier_mask_is_marked_by_its_number(make_backbone, counted, spied, family):
    """Marked regions change the picture that the language model sees: what was read of the other one is void."""
    model, processor = make_backbone(family)
    said = spied(model)
    talk = DeSa2VAConversation(model, processor, image=VISUALS["image"])
    counts = counted(model)
    talk.ask("find the red circle", logits_processor=[Says(processor)])
    mask = np.zeros((40, 60), bool)
    mask[5:20, 10:30] = True
    talk.objects[1].codes = [encode_mask(mask)]
    marks, messages = {"masks": [mask]}, talk.messages
    counts.take()
    result = talk.ask("is it red?", "chat", objects=[1], output_logits=True, max_new_tokens=5)
    assert counts.take()[:2] == (1, 0)
    marked = fresh(model, processor, "image", messages, "is it red?", "chat", marks, max_new_tokens=5)
    assert_same(said[-2], result, *marked)
    assert result.objects == []
    messages = talk.messages
    counts.take()
    result = talk.ask("blue square", "segment", output_logits=True, max_new_tokens=5)
    answer = said[-1]
    assert counts.take()[:2] == (0, 0)
    assert_same(
        answer, result, *fresh(model, processor, "image", messages, "blue square", "segment", marks, max_new_tokens=5)
    )
    messages = talk.messages
    result = talk.ask("star", "segment", objects=[], output_logits=True, max_new_tokens=5)
    assert_same(said[-1], result, *fresh(model, processor, "image", messages, "star", "segment", max_new_tokens=5))


def test_what_can_not_be_marked_is_named_and_nothing_changes(make_backbone):
    """A refused turn must leave no half of itself in the history."""
    model, processor = make_backbone("internvl/qwen2")
    talk = DeSa2VAConversation(model, processor, image=VISUALS["image"])
    with pytest.raises(ValueError, match=r"no object 0; the conversation has: none"):
        talk.ask("is it red?", objects=[0])
    talk.ask("find the red circle", logits_processor=[Says(processor)])
    before, kept = talk.messages, talk.num_bytes
    talk.objects[0].codes = [encode_mask(np.zeros((40, 60), bool))]
    for wrong, words in (
        ({"objects": [0]}, "object 0 has no pixel on frame 0"),
        ({"objects": [7]}, "no object 7; the conversation has: 0, 1"),
        ({"objects": [1], "boxes": [1, 1, 5, 5]}, "by objects= or by boxes=, not both"),
        ({"task": "draw"}, "task='draw' is unknown"),
        ({"num_beams": 2}, "num_beams"),
    ):
        with pytest.raises(ValueError, match=words):
            talk.ask("is it red?", **wrong)
    with pytest.raises(ValueError, match="empty"):
        talk.edit(" ")
    assert talk.messages == before
    result = talk.ask("star", "segment", max_new_tokens=4)
    assert result.text == fresh(model, processor, "image", before, "star", "segment", max_new_tokens=4)[1].text
    assert kept > 0


class Fails(LogitsProcessor):
    """Stops the third step, as Ctrl-C does."""

    def __init__(self):
        self.step = 0

    def __call__(self, input_ids, scores):
        self.step += 1
        if self.step == 3:
            raise KeyboardInterrupt
        return scores


@pytest.mark.parametrize("family", CACHED)
def test_an_interrupted_turn_is_as_if_it_had_not_been(make_backbone, spied, family):
    """The cache held tokens that the conversation knew nothing of."""
    model, processor = make_backbone(family)
    said = spied(model)
    talk = DeSa2VAConversation(model, processor, image=VISUALS["image"])
    for _ in range(2):
        messages = talk.messages
        with pytest.raises(KeyboardInterrupt):
            talk.ask("blue square star", "chat", logits_processor=[Fails()], max_new_tokens=6)
        assert talk.messages == messages
        result = talk.ask("is it red?", "chat", output_logits=True, max_new_tokens=5)
        assert_same(
            said[-1], result, *fresh(model, processor, "image", messages, "is it red?", "chat", max_new_tokens=5)
        )


def test_memory_has_a_bound_and_is_given_back(make_backbone, counted):
    """A long video must not fill the memory; results outlive the conversation."""
    model, processor = make_backbone("internvl/qwen2")
    counts = counted(model)
    with DeSa2VAConversation(model, processor, video=VISUALS["video"]) as talk:
        talk.ask("find the red circle", logits_processor=[Says(processor)])
        each = talk._encodings.num_bytes // 6
    assert talk.num_bytes == 0
    assert talk.results[0].objects[0].masks.shape == (6, 30, 60)
    with pytest.raises(ValueError, match="conversation is closed"):
        talk.ask("star")
    with DeSa2VAConversation(model, processor, video=VISUALS["video"], num_key_frames=2) as talk:
        talk._encodings.max_bytes = 4 * each + 1
        counts.take()
        first = talk.ask("find the red circle", logits_processor=[Says(processor)])
        again = talk.edit("find the red circle", logits_processor=[Says(processor)])
        assert talk._encodings.num_bytes == 4 * each
        assert counts.take()[1] == 6 + 2
        assert [one.codes for one in first.objects] == [one.codes for one in again.objects]


def test_a_conversation_is_about_one_visual(make_backbone):
    """Neither would be text alone, both could not be told apart."""
    model, processor = make_backbone("internvl/qwen2")
    for wrong in ({}, {"image": VISUALS["image"], "video": VISUALS["video"]}):
        with pytest.raises(ValueError, match="one picture or one video"):
            DeSa2VAConversation(model, processor, **wrong)
    with pytest.raises(ValueError, match="num_key_frames= choose frames of a video"):
        DeSa2VAConversation(model, processor, image=VISUALS["image"], num_key_frames=2)
    model.train()
    try:
        with pytest.raises(ValueError, match="eval mode"):
            DeSa2VAConversation(model, processor, image=VISUALS["image"])
    finally:
        model.eval()
