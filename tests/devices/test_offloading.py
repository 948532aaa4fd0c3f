"""Weights that lie on the disk or in the CPU's memory between calls (accelerate): the same answers as without."""

import copy

import accelerate
import pytest
import torch

import desa2va
from benchmarks.scenarios import assert_same, clicks_on_a_picture, clip, picture, session, stream, video_consistent

PARTS = ("mllm", "segmenter", "decoupling", "fusion")
MIB = 2**20
USED = (picture, clicks_on_a_picture, video_consistent, stream, session)


def segmenter_on_disk(shipped, folder):
    return desa2va.load(device_map={**dict.fromkeys(PARTS, "cpu"), "segmenter": "disk"}, offload_folder=folder)


def little_memory(shipped, folder):
    return desa2va.load(device_map="auto", max_memory={"cpu": 4 * MIB}, offload_folder=folder)


def offloaded_to_the_cpu(shipped, folder):
    model = copy.deepcopy(shipped[0])
    accelerate.cpu_offload(model)
    return model, shipped[1]


def numbers_away(model):
    """How many numbers of the weights are offloaded just now."""
    return sum(value.numel() for value in model.parameters() if value.device.type == "meta")


@pytest.mark.parametrize(
    ("load", "used"),
    [
        (segmenter_on_disk, (clicks_on_a_picture, session)),  # words: under little memory
        (little_memory, USED),
        (offloaded_to_the_cpu, USED),
    ],
)
def test_answers_are_those_without_offloading(load, used, shipped, expected, tmp_path):
    """Inputs went to the device of the weights, which is none while they are offloaded."""
    model, processor = load(shipped, str(tmp_path))
    away = numbers_away(model)
    for scenario in used:
        assert_same(scenario(model, processor), expected(scenario))
    assert numbers_away(model) > 0.7 * away > 0


@pytest.mark.parametrize("load", [segmenter_on_disk, little_memory, offloaded_to_the_cpu])
def test_what_is_saved_holds_every_weight(load, shipped, tmp_path):
    """A session file knows its model by the sum of its weights, and a model is its weights: none may be missing."""
    model, processor = load(shipped, str(tmp_path / "offload"))
    with desa2va.DeSa2VASession(model, processor, list(clip().frames)) as work:
        work.add(points=[[64, 64]])
        work.save(tmp_path / "work.session")
    desa2va.DeSa2VASession.load(tmp_path / "work.session", *shipped, video=list(clip().frames)).close()
    model.save_pretrained(tmp_path / "saved")
    again, _ = desa2va.load(tmp_path / "saved", device="cpu")
    own = again.state_dict()
    for name, value in shipped[0].state_dict().items():
        assert torch.equal(own[name], value), name
