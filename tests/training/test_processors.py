"""A trained checkpoint can be taught another [SEG] design: processor, configuration and embeddings must agree."""

import pytest
import torch

from desa2va.configuration.presets import preset_config, tiny_sam_config
from desa2va.training.data.refshapes.dataset import RefShapes
from desa2va.training.processors import preset_processor, switch_image_size, switch_seg_design
from desa2va.training.stage_model import with_fields


def test_the_shipped_model_is_asked_in_the_words_it_learned(shipped):
    """Its file held the default of large models: task="gcg" asked in unknown words, and no phrase came back."""
    assert shipped[1].gcg_instruction == preset_processor("tiny", {}).gcg_instruction


@pytest.mark.parametrize("design", ["repetitive", "unique"])
def test_every_object_gets_one_token_per_frame(make_model, design):
    processor, model = preset_processor("tiny", {}), make_model()
    fields = {"seg_design": design, "num_seg_frames": 3}
    switch_seg_design(processor, model, fields)
    model = with_fields(model, fields)
    data = RefShapes("train", "easy", conversations=2, video_fraction=1.0, num_frames=3, length=2)
    batch = processor.collate([data[0], data[1]])
    batch.pop("samples", None)
    output = model(**{name: value for name, value in batch.items() if isinstance(value, torch.Tensor)})
    assert output.seg_states.shape[1] == 3
    if design == "unique":
        assert len(set(model.config.seg_token_ids)) == 3


def test_unique_tokens_start_as_the_token_they_replace(make_model):
    """Random rows would make this arm of Sa2VA's table 12 start from noise and lose for that reason alone."""
    processor, model = preset_processor("tiny", {}), make_model()
    old = model.get_input_embeddings().weight[processor.seg_token_ids[0]].clone()
    switch_seg_design(processor, model, {"seg_design": "unique", "num_seg_frames": 4})
    rows = model.get_input_embeddings().weight[processor.seg_token_ids]
    torch.testing.assert_close(rows, old.expand(4, -1))


def test_the_same_design_changes_nothing(make_model):
    processor, model = preset_processor("tiny", {}), make_model()
    size, fields = len(processor.tokenizer), {"seg_design": "single"}
    switch_seg_design(processor, model, fields)
    assert len(processor.tokenizer) == size
    assert fields == {"seg_design": "single"}


def test_more_tokens_than_rows_are_an_error(make_model):
    processor, model = preset_processor("tiny", {}), make_model()
    with pytest.raises(ValueError, match="embedding rows"):
        switch_seg_design(processor, model, {"seg_design": "unique", "num_seg_frames": 200})


def test_a_trained_model_takes_larger_pictures(make_model):
    """Weights stay as they are; what depends on the size are tables, the processor's pictures and the logits."""
    processor, model = preset_processor("tiny", {}), make_model()
    fields = {"image_size": 192}
    switch_image_size(processor, fields)
    larger = with_fields(model, fields)
    assert (larger.config.image_size, larger.config.mask_size, model.config.image_size) == (192, 48, 128)
    weights = model.state_dict()
    assert all(torch.equal(weights[name], value) for name, value in larger.state_dict().items())
    data = RefShapes("train", "easy", conversations=2, video_fraction=1.0, num_frames=3, length=2)
    batch = processor.collate([data[0], data[1]])
    assert batch["sam_pixel_values"].shape[-2:] == (192, 192)
    output = larger(**{name: value for name, value in batch.items() if isinstance(value, torch.Tensor)})
    assert output.masks.logits.shape[-2:] == (48, 48)


def test_a_fresh_model_and_its_processor_have_the_size_that_is_asked_for():
    processor = preset_processor("tiny", {"image_size": 64})
    config = preset_config("tiny", seg_token_ids=processor.seg_token_ids, image_size=64)
    assert processor.sam_image_processor.size["height"] == config.image_size == 64
    assert config.sam_config.to_dict() == tiny_sam_config(64).to_dict()
