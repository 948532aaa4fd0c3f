"""Every row has to be about the object whose factors stand beside it."""

import math

import pytest
import torch

from desa2va.eval.probe.features import CONVERSATIONS, KINDS, TEXTUAL_FACTORS, collect
from desa2va.training.data.refshapes.dataset import RefShapes
from desa2va.training.label_states import LabelReader
from desa2va.training.objectives.base import model_inputs


@pytest.fixture(scope="module")
def features(model, processor):
    return collect(model, processor, scenes=5, batch_size=2)


def test_states_are_those_of_the_model(features, model, processor):
    """Batches, scenes and requests must not change places; prompts are what the decoders would read."""
    sample = RefShapes("test", conversations=CONVERSATIONS, kinds=KINDS, length=5)[3]
    batch = processor.collate([sample])
    with torch.no_grad():
        output = model(**model_inputs(batch, "labels"))
        labels = model.decoupling.label(LabelReader(model, processor.tokenizer)(batch["object_labels"]))
    rows = features.states
    part = slice(3 * CONVERSATIONS, 4 * CONVERSATIONS)
    for name, expected in (
        ("x", output.seg_states[:, 0]),
        ("h_t", output.text_prompts[:, 0]),
        ("h_v", output.visual_prompts[:, 0]),
        ("h_l", labels),
        ("V", output.visual_anchor),
    ):
        torch.testing.assert_close(rows[name][part].float(), expected, atol=1e-4, rtol=1e-4)
        assert rows[name].dtype == torch.float64
    assert features.scene[part].tolist() == [3] * CONVERSATIONS


def test_factors_are_those_of_the_target(features):
    """The label phrase names size, colour and shape; area and place are in the mask and the scene."""
    data = RefShapes("test", conversations=CONVERSATIONS, kinds=KINDS, length=5)
    row = 0
    for number in range(5):
        sample = data[number]
        for conversation in sample.conversations:
            words = [TEXTUAL_FACTORS[name][features.classes[name][row]] for name in ("size", "color", "shape")]
            assert " ".join(words) == conversation.labels[0]
            item = sample.scene["objects"][conversation.targets[0]]
            assert features.values["center_x"][row].item() == pytest.approx(item["center_x"] / 128)
            assert features.values["log_area"][row].item() == pytest.approx(math.log(conversation.masks.sum()))
            assert math.isnan(features.values["angle"][row]) == (item["shape"] in ("circle", "ring"))
            assert features.values["num_objects"][row] == len(sample.scene["objects"])
            row += 1
    assert row == len(features)


def test_one_row_per_object_and_per_scene(features):
    """Two requests for one object give nearly the same row twice; neighbours and CKA would count it as agreement."""
    pairs = list(zip(features.scene.tolist(), features.target.tolist(), strict=True))
    distinct = features.distinct()
    assert list(zip(distinct.scene.tolist(), distinct.target.tolist(), strict=True)) == list(dict.fromkeys(pairs))
    assert len(distinct) < len(features)
    assert features.one_per_scene().scene.tolist() == [0, 1, 2, 3, 4]


def test_halves_do_not_share_a_scene(features):
    fit = features.fit_half(0)
    assert not set(features.scene[fit].tolist()) & set(features.scene[~fit].tolist())
    assert len(features.scene[fit].unique()) == 3
    assert torch.equal(fit, features.fit_half(0))
    assert any(not torch.equal(fit, features.fit_half(seed)) for seed in range(1, 6))


def test_mode_sa2va_has_no_textual_prompt(make_model, processor):
    features = collect(make_model(prompt_mode="sa2va"), processor, scenes=2)
    assert set(features.states) == {"x", "h_v", "V"}
