"""Factories of the whole suite: a tiny model with weights large enough to show differences, its processor, a few
scenes."""

import gc
import os
import re

import pytest
import torch

from desa2va.configuration.presets import preset_config
from desa2va.hub import load
from desa2va.modeling_desa2va.modeling_desa2va import DeSa2VAModel
from desa2va.training.data.readers import published_files
from desa2va.training.data.refshapes.dataset import RefShapes
from desa2va.training.processors import preset_processor
from desa2va.training.warm_start import fan_in
from tests.built_once import built_once

os.environ.setdefault("HF_HUB_OFFLINE", "1")
torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
if hasattr(os, "register_at_fork"):  # see `tests/training/fork_server.py`
    os.register_at_fork(after_in_child=lambda: torch.set_num_threads(1))
re._MAXCACHE = 10_000  # transformers compiles a pattern for every weight at every load, more than are remembered


def pytest_collection_finish():
    """Every load that fails and every training collects garbage; what imports have made, millions of objects that
    live to the end, need not be looked through each time.
    """
    gc.freeze()


@pytest.fixture(scope="session")
def processor():
    """The tiny preset's processor."""
    return preset_processor("tiny", {})


@pytest.fixture(scope="session")
def make_model():
    """Builds a tiny model in eval mode; `seed` and configuration overrides as keywords."""

    def make(seed=0, **overrides):
        torch.manual_seed(seed)
        fields = {"seg_token_ids": [6], **overrides}
        model = DeSa2VAModel(preset_config("tiny", **fields))
        fan_in(model)
        return model.eval()

    return built_once(make)


@pytest.fixture(scope="session")
def shipped():
    """`(model, processor)` of the shipped model, not to be changed: loading takes longer than most tests."""
    return load(device="cpu")


@pytest.fixture(scope="session")
def model(make_model):
    """One tiny model, not to be changed."""
    return make_model()


@pytest.fixture(scope="session")
def scenes():
    """Eight pictures with two conversations each."""
    dataset = RefShapes("train", conversations=2, length=8)
    return [dataset[index] for index in range(8)]


@pytest.fixture(scope="session")
def batch(processor, scenes):
    """The first four of `scenes`, collated."""
    return processor.collate(scenes[:4])


@pytest.fixture
def own_files(monkeypatch):
    """Takes small files under the names of published ones."""
    for sums in (published_files.VLMEVALKIT, published_files.REVOS):
        for name in list(sums):
            monkeypatch.delitem(sums, name)
