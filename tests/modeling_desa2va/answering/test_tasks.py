"""Every task behind one call: what may be said, what is marked, and what streams."""

import threading

import numpy as np
import pytest
import torch
from transformers import LogitsProcessor, TextIteratorStreamer

from desa2va.processing.inputs import TASKS
from desa2va.training.data.refshapes.dataset import RefShapes

SEG = 6


@pytest.fixture(scope="module")
def scene():
    return RefShapes("test", "full", length=4, conversations=1, kinds={"caption": 1.0})[1]


@pytest.fixture(scope="module")
def pointer(make_model):
    """A model that would say [SEG] at every step."""
    model = make_model(4)
    model.mllm.lm_head.register_forward_hook(lambda m, args, out: out.index_fill(-1, torch.tensor([SEG]), 1e4))
    return model


def ask(pair, options, **inputs):
    model, processor = pair
    batch = processor(**inputs)
    return processor.post_process(model.generate(**batch, **options), batch)


@pytest.mark.parametrize("visual", ["images", "videos"])
def test_descriptions_never_hold_a_seg(pointer, processor, visual):
    """Guards a caption or the description of a region that marks an object."""
    picture = np.zeros((40, 64, 3), np.uint8)
    shown = {visual: picture if visual == "images" else np.stack([picture] * 3)}
    pair, options = (pointer, processor), {"max_new_tokens": 4}
    (caption,) = ask(pair, options, **shown, task="caption")
    first, second = ask(pair, options, **shown, task="region", boxes=[[2, 2, 20, 20], [30, 5, 50, 30]])
    (chat,) = ask(pair, options, **shown, text="What is it?", task="chat")
    for result in (caption, first, second, chat):
        assert result.objects == []
        assert result.status == "no_seg_token"
        assert "is answered in words alone" in result.reason  # it said that the model had marked no object
    (grounded,) = ask(pair, options, **shown, task="gcg")
    assert len(grounded.objects) == 4


def test_rows_of_one_batch_follow_their_own_tasks(pointer, processor):
    """Guards the task of one row that forbids or forces the [SEG] of its neighbours."""
    picture = np.zeros((40, 64, 3), np.uint8)
    tasks = ["chat", "auto", "caption", "segment"]
    results = ask((pointer, processor), {"max_new_tokens": 3}, images=picture, text=["it"] * 4, task=tasks)
    assert [len(result.objects) for result in results] == [0, 3, 0, 3]
    assert [result.forced for result in results] == [False] * 4


def test_a_mixed_batch_answers_as_single_calls_do(shipped, scene):
    texts, tasks = ["the object", "What is it?", "Describe the image."], ["segment", "chat", "caption"]
    together = ask(shipped, {"max_new_tokens": 12}, images=scene.frames[0], text=texts, task=tasks)
    for text, task, result in zip(texts, tasks, together, strict=True):
        (alone,) = ask(shipped, {"max_new_tokens": 12}, images=scene.frames[0], text=text, task=task)
        assert (alone.text, alone.status, len(alone.objects)) == (result.text, result.status, len(result.objects))
        for one, other in zip(alone.objects, result.objects, strict=True):
            assert (one.mask() != other.mask()).mean() < 1e-3


@pytest.mark.parametrize("marks", [{}, {"boxes": [[2, 2, 20, 20], [2, 2, 20, 20]]}], ids=["", "boxes"])
@pytest.mark.parametrize("words", [{}, {"text": "the star"}], ids=["", "words"])
def test_what_the_processor_takes_the_model_answers(model, processor, words, marks):
    """Guards a batch that is made and that `generate` or the reading of its results can not take."""
    picture = np.zeros((40, 64, 3), np.uint8)
    for task in TASKS:
        try:
            batch = processor(images=picture, videos=[np.stack([picture] * 2)], task=task, **words, **marks)
        except ValueError:
            continue  # what is refused is told in tests/processing/test_tasks_matrix.py
        results = processor.post_process(model.generate(**batch, max_new_tokens=3), batch)
        assert [result.num_frames for result in results] == [1, 2], task
        assert all(result.num_frames == len(entry.codes) for result in results for entry in result.objects)
        if task in ("chat", "caption", "region"):
            assert not any(result.objects for result in results)


class Says(LogitsProcessor):
    """Says the given tokens, one a step."""

    def __init__(self, tokens):
        self.tokens = list(tokens)

    def __call__(self, input_ids, scores):
        return torch.full_like(scores, -1e4).index_fill(1, torch.tensor([self.tokens.pop(0)]), 0.0)


def test_grounded_phrases_span_the_words_before_their_masks(model, processor):
    """Guards spans that slip when control tokens are taken out of the text, and phrases of another mask."""
    answer = "<p> a red circle </p> [SEG], <p> two small stars </p> [SEG] [SEG]."
    tokens = [*processor.assembler.encoder.answer(answer), processor.tokenizer.eos_token_id]
    options = {"max_new_tokens": 64, "logits_processor": [Says(tokens)]}
    (result,) = ask((model, processor), options, images=np.zeros((40, 64, 3), np.uint8), task="gcg")
    assert result.text == "a red circle, two small stars."
    phrases = ["a red circle", "two small stars", "two small stars"]
    assert [entry.phrase for entry in result.objects] == phrases
    assert [result.text[slice(*entry.span)] for entry in result.objects] == phrases
    assert [entry.object_id for entry in result.objects] == [0, 1, 2]
    stars = sum(entry.status == "ok" for entry in result.objects[1:])
    assert ("the text says 'two small stars'" in result.reason) == (stars != 2)
    assert result.count == sum(entry.status == "ok" for entry in result.objects)


@pytest.mark.parametrize("kind", ["points", "boxes", "masks"])
def test_a_prompt_and_words_make_a_mask_of_what_the_words_say(shipped, scene, kind):
    """Guards words that are dropped beside a click, and outlines that SAM-2 sees."""
    model, processor = shipped
    mask = scene.scene["instance_map"][0] == 1
    rows, columns = mask.nonzero()
    given = {
        "points": [[float(columns[0]), float(rows[0])]],
        "boxes": [int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1],
        "masks": mask,
    }
    batch = processor(images=scene.frames[0], text="all like this one", task="segment", **{kind: given[kind]})
    clean = processor(images=scene.frames[0], text="all like this one", task="segment")
    assert batch["texts"] == ["Please segment all like this one."]
    assert not torch.equal(batch["pixel_values"], clean["pixel_values"])
    assert torch.equal(batch["sam_pixel_values"], clean["sam_pixel_values"])
    output = model.generate(**batch, max_new_tokens=16)
    assert output.sequences is not None
    assert len(processor.post_process(output, batch)) == 1


def test_text_streams_while_masks_follow(shipped, scene):
    """Guards a stream that ends with the masks instead of with the words."""
    model, processor = shipped
    batch = processor(images=scene.frames[0], task="gcg")
    streamer = TextIteratorStreamer(processor.tokenizer, skip_prompt=True, timeout=60.0)
    done = []
    options = {"max_new_tokens": 64, "streamer": streamer}
    worker = threading.Thread(target=lambda: done.append(model.generate(**batch, **options)))
    worker.start()
    said = "".join(streamer)
    worker.join()
    (result,) = processor.post_process(done[0], batch)
    assert said == processor.tokenizer.decode(done[0].sequences[0])
    assert said.count("[SEG]") == len(result.objects) > 0
