"""Requests without a picture or video beside requests with one."""

import numpy as np
import pytest
import torch
from transformers import LogitsProcessor

PICTURE = {"type": "image", "image": np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)}
OTHER = {"type": "image", "image": np.random.default_rng(1).integers(0, 256, (40, 40, 3), dtype=np.uint8)}
REASON = "the request is about no picture or video; nothing can be marked"


def ask(words, *parts):
    return [{"role": "user", "content": [*parts, {"type": "text", "text": words}]}]


class SaysSeg(LogitsProcessor):
    """Every row begins with `[SEG]`, as a model of its own choice might."""

    def __init__(self, seg):
        self.seg, self.step = seg, 0

    def __call__(self, input_ids, scores):
        self.step += 1
        if self.step == 1:
            scores = scores.clone()
            scores[:, self.seg] = scores.max() + 100
        return scores


def run(model, processor, messages, task, **options):
    batch = processor(messages=messages, task=task)
    output = model.generate(**batch, max_new_tokens=4, **options)
    return batch, output, processor.post_process(output, batch)


@pytest.mark.parametrize("task", ["auto", "segment"])
def test_mixed_batches_equal_single_calls(model, processor, task):
    """A conversation without a picture was answered with the other one's picture, and three with two raised."""
    messages = [ask("hello"), ask("the red circle", PICTURE), ask("What is it?"), ask("the ring", OTHER)]
    batch, output, results = run(model, processor, messages, task)
    assert batch["sequence_visual"].tolist() == [-1, 0, -1, 1]
    for index, conversation in enumerate(messages):
        alone = "auto" if batch["sequence_visual"][index] < 0 else task
        ids = run(model, processor, [conversation], alone)
        mask = batch["attention_mask"][index].bool()
        assert torch.equal(batch["input_ids"][index][mask], ids[0]["input_ids"][0])
        mine, single = results[index], ids[2][0]
        assert (mine.text, mine.status, mine.reason) == (single.text, single.status, single.reason)
        assert [found.phrase for found in mine.objects] == [found.phrase for found in single.objects]
        for one, other in zip(mine.objects, single.objects, strict=True):
            assert (one.masks != other.masks).mean() < 1e-3
    assert [results[index].status for index in (0, 2)] == ["no_visual"] * 2
    if task == "segment":
        assert len(results[1].objects) == len(results[3].objects) == 1


@pytest.mark.parametrize(
    ("places", "task"), [((0,), "auto"), ((0, 1), "auto"), ((1, 0), "auto"), ((0, 1), "segment"), ((1, 0), "segment")]
)
def test_a_row_without_a_visual_yields_no_object_whatever_it_says(model, processor, places, task):
    """It took the last visual of the batch: "object 0 has masks of 0 frames"."""
    messages = [(ask("hello"), ask("the ring", PICTURE))[place] for place in places]
    seg = model.config.seg_token_ids[0]
    batch, output, results = run(model, processor, messages, task, logits_processor=[SaysSeg(seg)])
    assert (output.sequences[:, 0] == seg).all()
    assert output.object_sequence.tolist() == [index for index, place in enumerate(places) if place]
    for place, result in zip(places, results, strict=True):
        assert result.raw_text.startswith("[SEG]")
        if not place:
            assert (result.objects, result.status, result.reason) == ([], "no_visual", REASON)
            assert type(result).from_dict(result.to_dict()) == result


def test_nothing_is_forced_where_nothing_can_be_marked(model, processor):
    """`task="segment"` forced a `[SEG]` whose result then read that there is none."""
    with pytest.raises(ValueError, match="task='segment' marks objects in a picture or video, but none is given"):
        processor(text="hello", task="segment")
    batch = processor(text="hello")
    output = model.generate(**{**batch, "task": "segment"}, max_new_tokens=3)
    assert not torch.isin(output.sequences, torch.tensor(model.config.seg_token_ids)).any()
    assert processor.post_process(output, batch)[0].status == "no_visual"
