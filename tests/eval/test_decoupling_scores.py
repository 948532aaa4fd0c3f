"""Sets of single requests on which models are compared scene by scene."""

import json
import re
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from desa2va.eval.answering import evaluation_mode
from desa2va.eval.decoupling_scores import SCENES, SETS, score_decoupling, scored_samples
from desa2va.eval.metrics.referring import overlap
from desa2va.modeling_desa2va.outputs import MaskPass, MaskPrediction
from desa2va.processing.files import resize_logits
from desa2va.training.data.refshapes import SHAPES, corrupt
from desa2va.training.objectives.base import model_inputs

HELD_OUT = ["small red circle", "large cyan square", "small blue triangle", "large green ring"]
KEPT = {"held_out": HELD_OUT, "unasked": ["yellow", "star"]}
UNASKED = re.compile(r"\b(yellow|stars?)\b")
FEW = {name: 6 if name == "in_distribution" else 4 for name in SETS}


def drawn(scenes=FEW, split="test", seed=0):
    found = {name: [] for name in scenes}
    for name, sample in scored_samples(scenes, split=split, seed=seed, **KEPT):
        found[name].append(sample)
    return found


@pytest.fixture(scope="module")
def sets():
    return drawn(dict.fromkeys(SETS, 20))


def test_every_set_is_what_its_name_says(sets):
    """Guards the comparison: a set that is like another, or that tests two new things at once, says nothing."""
    assert set(sets) == set(SETS) == set(SCENES)
    for name, samples in sets.items():
        assert len(samples) == 20
        for sample in samples:
            (conversation,) = sample.conversations
            shown = {f"{item['size']} {item['color']} {item['shape']}" for item in sample.scene["objects"]}
            assert len(conversation.masks) == 1
            assert (conversation.labels[0] in HELD_OUT) == (name == "held_out")
            assert bool(shown & set(HELD_OUT)) == (name == "held_out")
            assert bool(UNASKED.search(conversation.turns[0][0])) == (name == "unasked")
            assert bool(UNASKED.search(conversation.labels[0])) == (name == "unasked")
    kinds = {name: {sample.conversations[0].kind for sample in samples} for name, samples in sets.items()}
    assert kinds["negation"] == {"negation"}
    assert kinds["look_alike"] == {"look_alike"}
    for name in set(SETS) - {"negation", "look_alike"}:
        assert kinds[name] == {"attribute", "relation", "superlative"}


def test_worse_pictures_are_the_scenes_of_the_plain_set(sets):
    """Guards differences between a clean and a worse picture, which are paired by scene."""
    for name in ("noise", "dark", "occlusion"):
        for sample, worse in zip(sets["in_distribution"], sets[name], strict=True):
            assert np.array_equal(corrupt(sample, name).frames, worse.frames)


class Oracle(torch.nn.Module):
    """Draws the true mask, the whole picture as the text mask; knows the samples by their collated masks."""

    def __init__(self, batches):
        super().__init__()
        self.config = SimpleNamespace(mask_threshold=0.0)
        self.mllm = SimpleNamespace(dtype=torch.float32)
        self.embedding = torch.nn.Embedding(2, 2)
        self.batches = batches

    def get_input_embeddings(self):
        return self.embedding

    def forward(self, **inputs):
        assert not self.training
        true = torch.stack(self.batches[-1]["mask_labels"])[:, 0].float() * 2 - 1
        assert len(true) == len(inputs["input_ids"])
        fused, text, visual = (MaskPrediction(logits=logits) for logits in (true, torch.ones_like(true), -true))
        return SimpleNamespace(masks=fused, passes=[MaskPass(fused=fused, text=text, visual=visual)])


def test_truth_scores_one_and_everything_scores_its_share(processor):
    """Guards the way from logits to counts: order of the scenes, resolution, and which branch is which."""
    batches = []

    def collate(samples):
        batches.append(processor.collate(samples))
        return batches[-1]

    oracle = Oracle(batches).train()
    report = score_decoupling(oracle, SimpleNamespace(collate=collate), scenes=FEW, batch_size=7, **KEPT)
    assert oracle.training
    assert list(report) == list(FEW)
    for name, samples in drawn().items():
        areas = [int(sample.conversations[0].masks.sum()) for sample in samples]
        pixels = samples[0].conversations[0].masks.size
        assert report[name]["fused"] == {"ciou": 1, "giou": 1, "intersections": areas, "unions": areas}
        text = report[name]["text"]
        assert (text["intersections"], text["unions"]) == (areas, [pixels] * len(areas))
        assert text["ciou"] == pytest.approx(sum(areas) / len(areas) / pixels)
        assert report[name]["visual"]["ciou"] == 0
    json.dumps(report)


@pytest.mark.parametrize("mode", ["desa2va", "sa2va"])
def test_batches_of_mixed_sets_score_like_single_scenes(mode, make_model, processor):
    """Guards padding, and counts that land in the set or at the scene of a neighbour in the batch."""
    model = make_model(prompt_mode=mode, num_reprompts=0)
    scenes = {"in_distribution": 3, "noise": 2, "look_alike": 2}
    report = score_decoupling(model, processor, scenes=scenes, batch_size=4, **KEPT)
    assert {*report["noise"]} == ({"fused", "text", "visual"} if mode == "desa2va" else {"fused"})
    for name, samples in drawn(scenes).items():
        for place, sample in enumerate(samples):
            batch = processor.collate([sample])
            with evaluation_mode(model), torch.no_grad():
                output = model(**model_inputs(batch))
            masks = {"fused": output.masks, "text": output.passes[0].text, "visual": output.passes[0].visual}
            for branch, figures in report[name].items():
                (mask,) = resize_logits(masks[branch].logits, sample.frames.shape[1:3]).numpy() > 0
                expected = overlap(mask, sample.conversations[0].masks[0, 0])
                counted = figures["intersections"][place], figures["unions"][place]
                assert counted == pytest.approx(expected, abs=3)  # pixels at logits of a last bit
                assert counted[1] > 0


def test_another_split_shows_other_scenes():
    """Guards learning rates chosen on the scenes that are then scored."""
    scenes = {"in_distribution": 3}
    one, other = (drawn(scenes, split=split)["in_distribution"] for split in ("test", "validation"))
    assert not any(np.array_equal(a.frames, b.frames) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"scenes": {"fog": 1}}, "set 'fog' is unknown"),
        ({"scenes": {"noise": 0}}, "scenes of noise must be at least 1"),
        ({"scenes": {"held_out": 1}}, "targets_held_out needs held_out"),
        ({"scenes": {"unasked": 1}}, "targets_unasked needs unasked"),
        ({"scenes": {"unasked": 1}, "unasked": SHAPES}, "unasked leaves no shape"),
    ],
)
def test_bad_sets_are_named(arguments, message, model, processor):
    with pytest.raises(ValueError, match=message):
        score_decoupling(model, processor, **arguments)
