"""What data workers hand over: pixels once, and bytes alone where the device is to make pixels of them."""

import pickle

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from desa2va.training.data.collator import Collator
from desa2va.training.data.sample import Conversation, Sample


@pytest.fixture
def photo():
    """A video of two frames with an object and a region, as files give it: without a scene."""
    rng = np.random.default_rng(0)
    mask = rng.random((1, 2, 90, 120)) > 0.5
    talk = Conversation((("the circle", "[SEG]"),), mask, ("circle",), "target", regions=mask[0, :1])
    frames = rng.integers(0, 256, (2, 90, 120, 3), dtype=np.uint8)
    return Sample(frames, (talk,), True, "photo", seconds=(0.0, 0.5))


def test_pixels_and_masks_travel_once(processor, photo, scenes):
    """Guards the pipe between worker and training: samples went along whole, beside what was made of them."""
    batch = Collator(processor)([photo, scenes[0]])
    assert len(pickle.dumps(batch["samples"][0])) < 2000
    assert batch["samples"][0].conversations[0].kind == "target"
    assert batch["samples"][1] is scenes[0]
    whole = processor.collate([photo, scenes[0]])
    assert all(torch.equal(mask, true) for mask, true in zip(batch["mask_labels"], whole["mask_labels"], strict=True))


def test_workers_and_device_make_one_batch(processor, photo, scenes):
    """Through worker processes: the finished batch is the plain one."""
    samples = [photo, scenes[0], scenes[1], photo]
    collator = Collator(processor, preprocess_device=True)
    plain = DataLoader(samples, 2, collate_fn=Collator(processor))
    for made, batch in zip(DataLoader(samples, 2, num_workers=2, collate_fn=collator), plain, strict=True):
        assert "sam_pixel_values" not in made
        finished = collator.finish(made)
        assert set(finished) == set(batch)
        for name, value in batch.items():
            if isinstance(value, torch.Tensor):
                torch.testing.assert_close(finished[name], value, msg=lambda m, n=name: f"{n}: {m}")
