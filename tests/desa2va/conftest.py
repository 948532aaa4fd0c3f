"""Factories for the tests of the import root: a tiny untrained model with its processor, saved once."""

import gc

import numpy as np
import pytest
import torch

from desa2va.configuration.presets import preset_config
from desa2va.modeling_desa2va.modeling_desa2va import DeSa2VAModel
from desa2va.training.processors import preset_processor


@pytest.fixture(scope="session")
def saved_model(tmp_path_factory):
    """A folder that `save_pretrained` of a tiny model with an attached processor wrote."""
    torch.manual_seed(0)
    processor = preset_processor("tiny", {})
    model = DeSa2VAModel(preset_config("tiny", seg_token_ids=processor.seg_token_ids)).eval()
    model.processor = processor
    folder = tmp_path_factory.mktemp("saved") / "tiny-model"
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def picture(tmp_path_factory):
    """A picture file, 48 high and 64 wide: a red square on grey."""
    from PIL import Image

    pixels = np.full((48, 64, 3), 120, np.uint8)
    pixels[12:30, 20:44] = (200, 20, 20)
    path = tmp_path_factory.mktemp("pictures") / "square.png"
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture(scope="session")
def frames(tmp_path_factory):
    """A folder of four frames, 48 high and 64 wide: the square moves to the right."""
    from PIL import Image

    folder = tmp_path_factory.mktemp("frames") / "clip"
    folder.mkdir()
    for index in range(4):
        pixels = np.full((48, 64, 3), 120, np.uint8)
        pixels[12:30, 8 + 8 * index : 24 + 8 * index] = (200, 20, 20)
        Image.fromarray(pixels).save(folder / f"{index}.png")
    return folder


def reachable():
    """Numbers in tensors, and modules, that anything holds."""
    things = gc.get_objects()
    kinds = set(map(type, things))  # to ask each kind once
    tensors, modules = ({kind for kind in kinds if issubclass(kind, base)} for base in (torch.Tensor, torch.nn.Module))
    numbers = sum(thing.numel() for thing in things if type(thing) in tensors)
    return numbers, sum(type(thing) in modules for thing in things)
