"""Training batches: what SAM-2 is shown, where its pixels are made, what the masks' memory is."""

import numpy as np
import pytest
import torch

from desa2va.training.data.sample import Conversation, Sample

STEP = 1 / 255 / 0.224 * 1.001  # one of 255 after normalisation


def test_sam_sees_the_frames_of_samples_with_objects_alone(tiny, make_sample):
    """Guards against encoding a picture that nobody asks a mask of: the segmenter costs more than the answer."""
    samples = [make_sample(["It"]), make_sample(["It", "[SEG]"], frames=2, seed=1), make_sample(["No"], seed=2)]
    batch = tiny.collate(samples)
    assert batch["sequence_visual"].tolist() == [0, 1, 1, 2]
    assert batch["sam_frame_visual"].tolist() == [1, 1]
    assert torch.equal(batch["sam_pixel_values"], tiny.collate(samples[1:2])["sam_pixel_values"])
    assert len(batch["pixel_values"]) == 4
    assert "sam_pixel_values" not in tiny.collate([samples[0]])
    assert tiny.collate(samples, every_frame=True)["sam_frame_visual"].tolist() == [0, 1, 1, 2]


def test_masks_of_a_batch_are_one_piece_of_memory(tiny, make_sample):
    """A worker sent every mask as a file of its own, and ran out of files at a thousand."""
    samples = [make_sample(["[SEG] [SEG]"], frames=3), make_sample(["[SEG]"], size=(9, 7), seed=1)]
    masks = tiny.collate(samples)["mask_labels"]
    assert len({mask.untyped_storage().data_ptr() for mask in masks}) == 1
    expected = [mask for sample in samples for part in sample.conversations for mask in part.masks]
    assert all(np.array_equal(mask, true) for mask, true in zip(masks, expected, strict=True))


@pytest.mark.parametrize("rule", ["stock", "sa2va"])
def test_pixels_made_on_the_device_are_those_of_the_worker(tiny, rule, monkeypatch):
    """Frames of several sizes, larger and smaller than SAM-2's, against `collate`; a device resizes in float32."""
    if rule == "sa2va":
        monkeypatch.setattr(tiny.sam_image_processor, "pixel_rule", "sa2va", raising=False)
    generator = np.random.default_rng(0)
    samples = []
    for number, size in enumerate(((90, 130), (40, 20), (90, 130))):
        mask = np.ones((1, 1, *size), bool)
        frames = generator.integers(0, 256, (1, *size, 3), dtype=np.uint8)
        samples.append(Sample(frames, (Conversation((("a", "[SEG]"),), mask, ("b",)),), name=str(number)))
    raw = tiny.collate(samples, raw_frames=True)
    assert "sam_pixel_values" not in raw
    assert [frame.dtype for frame in raw["sam_frames"]] == [torch.uint8] * 3
    plain = tiny.collate(samples)
    monkeypatch.setattr(
        "torchvision.transforms.v2.functional._geometry._do_native_uint8_resize_on_cpu", lambda _: False
    )
    made = tiny.finish_frames(raw)
    assert set(made) == set(plain)
    assert torch.equal(made["sam_frame_visual"], plain["sam_frame_visual"])
    difference = (made["sam_pixel_values"] - plain["sam_pixel_values"]).abs().max()
    assert difference <= STEP
