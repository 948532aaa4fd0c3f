"""Asking back: the region is outlined, yes and no are told apart."""

import numpy as np
import pytest
import torch

from desa2va.processing.batch import Check, answer_ids


def test_the_batch_asks_about_the_outlined_region(processor):
    """The answer begins where the labels do; SAM-2 is shown nothing; each mask has a picture of its own,
    which two requests that marked alike share.
    """
    picture = np.full((64, 64, 3), 90, np.uint8)
    inputs = processor(images=picture, text="the red circle")
    mask = np.zeros((64, 64), bool)
    mask[20:40, 20:40] = True
    checks = [Check(0, 0, shape, "the red circle") for shape in (mask, ~mask, mask.copy())]
    batch, agree, disagree = processor.checks(inputs["visuals"], checks)
    assert batch["input_ids"].shape[0] == 3
    assert len(batch["num_tiles"]) == 2
    assert batch["image_index"].tolist() == [0, 1, 0]
    assert not torch.equal(batch["pixel_values"][:1], inputs["pixel_values"])
    said = processor.tokenizer.decode(batch["input_ids"][0])
    assert "Is region 1 the red circle?" in said
    first = (batch["labels"][0] != -100).int().argmax()
    assert batch["labels"][0, first].item() in agree
    assert not set(agree) & set(disagree)
    assert "sam_pixel_values" not in batch


def test_words_that_can_not_be_told_apart_are_an_error():
    class Encoder:
        def plain(self, text):
            return [3]

    with pytest.raises(ValueError, match="yes and no"):
        answer_ids(Encoder())
