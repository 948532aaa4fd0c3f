"""Prompts about one picture whose beginning is read once: the same answers and states."""

import numpy as np
import pytest
import torch

from desa2va.modeling_desa2va.language import answers
from desa2va.modeling_desa2va.language.prompt_beginnings import common_beginnings

IMAGE = 9
PICTURES = [np.random.default_rng(seed).integers(0, 255, (90, 110, 3), dtype=np.uint8) for seed in range(2)]
TEXTS = ["the star", "the small red circle on the left of the blue square", "the ring", "find the green star"]


def test_rows_begin_with_what_their_picture_has_in_common():
    """Two prompts about picture 0, one about picture 1, one about none: three beginnings, each row with its own."""
    ids = [[0, 1, IMAGE, 3, 4, 7], [1, IMAGE, 3, 5, 6, 7], [0, 0, 1, IMAGE, 2, 7], [0, 0, 0, 0, 8, 7]]
    mask = [[0, 1, 1, 1, 1, 1], [1] * 6, [0, 0, 1, 1, 1, 1], [0, 0, 0, 0, 1, 1]]
    wide = torch.nn.functional.pad(torch.tensor(ids), (6, 0)), torch.nn.functional.pad(torch.tensor(mask), (6, 0))
    read = common_beginnings(*wide, torch.tensor([0, 0, 1]), IMAGE)
    assert (wide[0].flatten()[read.source] * read.mask).tolist() == [[1, IMAGE, 3], [1, IMAGE, 2], [0, 0, 8]]
    assert read.owner.tolist() == [0, 0, 1, 2]
    rows = [[1, IMAGE, 3, 0, 4, 7], [1, IMAGE, 3, 5, 6, 7], [1, IMAGE, 2, 0, 0, 7], [0, 0, 8, 0, 0, 7]]
    assert (wide[0].flatten()[read.whole] * read.whole_mask).tolist() == rows
    assert read.whole_mask.tolist() == [[int(token > 0) for token in row] for row in rows]


@pytest.mark.parametrize("broken", [None, "right padding", "no index", "runs", "one token", "little in common"])
def test_other_prompts_are_left_alone(broken):
    ids = torch.tensor([[1, IMAGE, 3, 4, 5, row] for row in range(10, 14)])
    mask, index = torch.ones_like(ids), torch.zeros(4, dtype=torch.long)
    if broken == "right padding":
        mask[0, -1] = 0
    elif broken == "one token":
        mask[0, :-1] = 0
    elif broken == "little in common":
        ids[1:, 0] = torch.arange(3)
    index = {"no index": None, "runs": torch.zeros(5, dtype=torch.long)}.get(broken, index)
    assert (common_beginnings(ids, mask, index, IMAGE) is None) == (broken is not None)


class Counted:
    """Counts the places that the language model reads before it has said anything."""

    def __init__(self, model):
        self.places = 0
        layers = model.mllm.model.language_model
        self.handle = layers.register_forward_pre_hook(self.add, with_kwargs=True)

    def add(self, module, args, inputs):
        shown = inputs.get("inputs_embeds")
        self.places += shown.shape[0] * shown.shape[1] if shown is not None and shown.shape[1] > 1 else 0


CASES = {
    "one picture": {"images": PICTURES[0], "text": TEXTS},
    "two pictures, ragged": {"images": [PICTURES[0]] * 3 + [PICTURES[1]], "text": TEXTS},
    "a video": {"videos": [[*PICTURES, PICTURES[0]]], "text": TEXTS[:2], "num_key_frames": 3},
}


@pytest.mark.parametrize("seg_states", ["normed", "raw"])
@pytest.mark.parametrize("case", CASES)
def test_answers_are_those_of_prompts_read_whole(make_model, processor, monkeypatch, case, seg_states):
    """Guards against places that are counted from the wrong beginning, a row that goes on from another's picture, and
    a picture that is read once for every sentence again.
    """
    model = make_model(seg_states=seg_states)
    inputs = processor(**CASES[case], task="segment")
    if case == "two pictures, ragged":
        inputs["image_index"] = torch.tensor([0, 0, 0, 3])  # the first three are the same picture
    results = []
    for once in (True, False):
        if not once:
            monkeypatch.setattr(answers, "common_beginnings", lambda *args: None)
        counted = Counted(model)
        answer = model.answer_key_frames(**inputs, max_new_tokens=5, output_logits=True)
        counted.handle.remove()
        results.append((answer, counted.places))
    (one, few), (other, many) = results
    assert few < 0.85 * many
    assert torch.equal(one.sequences, other.sequences)
    assert torch.equal(one.object_sequence, other.object_sequence)
    for name in ("seg_probability", "mark_probability"):
        torch.testing.assert_close(getattr(one, name), getattr(other, name), rtol=1e-5, atol=1e-6)
    for step, expected in zip(one.logits, other.logits, strict=True):
        torch.testing.assert_close(step, expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(one.prompts.visual, other.prompts.visual, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("options", [{"use_cache": False}, {"cache_implementation": "static"}])
def test_another_cache_is_the_callers(model, processor, monkeypatch, options):
    """The caller's own cache, or none, must not be replaced by ours."""
    monkeypatch.setattr(answers, "common_beginnings", None)
    inputs = processor(**CASES["one picture"], task="segment")
    assert len(model.answer_key_frames(**inputs, max_new_tokens=2, **options).sequences) == len(TEXTS)
