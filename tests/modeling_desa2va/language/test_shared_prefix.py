"""Conversations about one picture that are read as one row: the same states and gradients."""

import numpy as np
import pytest
import torch

from desa2va.modeling_desa2va.language.shared_prefix import pack_rows
from desa2va.training.data.refshapes.dataset import RefShapes
from desa2va.training.data.sample import Conversation, Sample
from desa2va.training.objectives.base import model_inputs

IMAGE = 9


def test_a_beginning_is_read_once():
    """Two sequences about picture 0, one about picture 1, one without: 3 + 1 + 2 places, and 3 and 2."""
    ids = [[1, IMAGE, 3, 4, 0], [1, IMAGE, 3, 5, 6], [1, IMAGE, 2, 0, 0], [7, 8, 0, 0, 0]]
    mask = torch.tensor([[1, 1, 1, 1, 0], [1] * 5, [1, 1, 1, 0, 0], [1, 1, 0, 0, 0]])
    wide = torch.nn.functional.pad(torch.tensor(ids), (0, 3)), torch.nn.functional.pad(mask, (0, 3))
    packed = pack_rows(*wide, torch.tensor([0, 0, 1]), IMAGE)
    assert wide[0].flatten()[packed.source[0]].tolist() == [1, IMAGE, 3, 4, 5, 6]
    assert packed.position[0].tolist() == [0, 1, 2, 3, 3, 4]
    assert packed.visible[0, 0].int().tolist()[3:5] == [[1, 1, 1, 1, 0, 0], [1, 1, 1, 0, 1, 0]]
    assert packed.source.shape == (2, 6)
    assert wide[0].flatten()[packed.source[1]].tolist()[:5] == [1, IMAGE, 2, 7, 8]
    assert packed.position[1].tolist()[:5] == [0, 1, 2, 0, 1]
    assert packed.visible[1, 0].int().tolist()[2:4] == [[1, 1, 1, 0, 0, 0], [0, 0, 0, 1, 0, 0]]
    real = wide[1].bool()
    assert torch.equal(packed.unpack(packed.pack(wide[0][..., None]))[..., 0][real], wide[0][real])


@pytest.mark.parametrize("broken", ["left padding", "no index", "runs"])
def test_other_layouts_are_left_alone(broken):
    ids = torch.tensor([[1, IMAGE, 3, 4, 5, 6]] * 4)
    mask, index = torch.ones_like(ids), torch.zeros(4, dtype=torch.long)
    assert pack_rows(ids, mask, index, IMAGE) is not None
    if broken == "left padding":
        mask[0, 0] = 0
    index = {"no index": None, "runs": torch.zeros(5, dtype=torch.long)}.get(broken, index)
    assert pack_rows(ids, mask, index, IMAGE) is None


def talk(*texts):
    """Text alone; the answer repeats what was asked."""
    masks = np.zeros((0, 1, 1, 1), bool)
    return [Sample(None, (Conversation(((text, text),), masks),), name=text[:9]) for text in texts]


TALK = talk(*("small red circle " * count for count in (40, 18, 17, 12, 9, 9, 3)))
CASES = {
    "normed": ({}, "pictures"),
    "raw": ({"seg_states": "raw"}, "pictures"),
    "text alone": ({}, "talk"),
    "pictures and text": ({}, "both"),
}


@pytest.mark.parametrize("case", CASES)
def test_states_loss_and_gradients_are_those_of_single_sequences(make_model, processor, monkeypatch, case):
    """Guards against a sequence that sees another's words, or counts its places from the wrong beginning."""
    overrides, content = CASES[case]
    model = make_model(**overrides).train()
    data = RefShapes("train", level="full", conversations=4, length=3)
    samples = [] if content == "talk" else [data[index] for index in range(3)]
    samples += [] if content == "pictures" else TALK
    batch = model_inputs(processor.collate(samples))
    packed = model.packing_of(batch["input_ids"], batch["attention_mask"], batch.get("image_index"))
    assert packed.source.numel() < 0.7 * batch["input_ids"].numel()
    results = []
    for packing in (lambda *args: packed, lambda *args: None):
        monkeypatch.setattr(model, "packing_of", packing)
        model.zero_grad()
        output = model(**batch)
        drawn = 0.0 if output.masks is None else output.masks.logits.square().mean()
        seg = output.seg_states.square().sum() / max(output.seg_states.numel(), 1)
        (output.loss + seg + drawn).backward()
        gradients = {name: value.grad for name, value in model.named_parameters() if value.grad is not None}
        results.append((output, gradients))
    (one, one_gradients), (other, other_gradients) = results
    torch.testing.assert_close(one.loss, other.loss, rtol=1e-6, atol=1e-6)
    for name in ("seg_states", "visual_anchor"):
        torch.testing.assert_close(getattr(one, name), getattr(other, name), rtol=1e-5, atol=1e-5)
    assert list(one_gradients) == list(other_gradients)
    for name, value in one_gradients.items():
        torch.testing.assert_close(
            value, other_gradients[name], rtol=1e-3, atol=1e-5, msg=lambda m, n=name: f"{n} {m}"
        )
