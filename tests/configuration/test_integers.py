"""Whole numbers of every origin, everywhere one is taken."""

import json

import numpy as np
import pytest
import torch

from desa2va.configuration.configuration_desa2va import DeSa2VAConfig
from desa2va.configuration.integers import as_integer, is_integer
from desa2va.modeling_desa2va.session import DeSa2VASession
from desa2va.processing.files import MaskOptions
from desa2va.processing.inputs import LiveSource

VIDEO = np.random.default_rng(0).integers(0, 255, (6, 40, 64, 3), np.uint8)


@pytest.mark.parametrize("value", [3, np.int64(3), np.uint8(3), np.array(3), torch.tensor(3)])
def test_whatever_has_an_index_is_an_integer(value):
    assert is_integer(value)
    assert type(as_integer(value, "count", least=3)) is int


@pytest.mark.parametrize(
    "value", [True, np.True_, torch.tensor(True), 3.0, np.float32(3), torch.tensor(3.0), "3", None]
)
def test_booleans_floats_and_texts_are_none(value):
    assert not is_integer(value)
    with pytest.raises(TypeError, match="count=.* must be an integer, not "):
        as_integer(value, "count")


def test_the_smallest_value_is_named():
    with pytest.raises(ValueError, match="count=0 must be at least 1"):
        as_integer(np.int64(0), "count", least=1)


@pytest.mark.parametrize(
    "chosen", [np.linspace(0, 5, 3).astype(int), [np.int64(5), 0, 2], torch.tensor([0, 2, 5]), range(0, 6, 2)]
)
def test_key_frames(processor, chosen):
    """`np.linspace(...).astype(int)` was refused, a list of numpy integers taken for one entry per visual."""
    batch = processor(videos=[VIDEO], text="the star", key_frames=chosen, num_key_frames=np.int64(2))
    assert batch["visuals"][0].key_frames == sorted(int(frame) for frame in chosen)
    assert all(type(frame) is int for frame in batch["visuals"][0].key_frames)


@pytest.mark.parametrize("chosen", [[0.0, 2.0], [True, False], np.array([0.5])])
def test_key_frames_that_are_no_integers(processor, chosen):
    with pytest.raises(ValueError, match="key_frames holds .*; frames of this video are 0 to 5"):
        processor(videos=[VIDEO], text="the star", key_frames=chosen)


def test_numbers_of_key_frames(processor, model):
    batch = processor(videos=[VIDEO], text="the star", num_key_frames=np.int64(2))
    assert len(batch["visuals"][0].key_frames) == 2
    with model.stream(iter(VIDEO), "the star", processor, num_key_frames=np.int64(2), max_new_tokens=1) as stream:
        assert len(stream.key_frames) == 2
    for call in (lambda count: processor(videos=[VIDEO], text="the star", num_key_frames=count),):
        with pytest.raises(TypeError, match="num_key_frames=2.0 must be an integer"):
            call(2.0)
    with pytest.raises(TypeError, match="num_key_frames=True must be an integer"):
        model.stream(VIDEO, "the star", processor, num_key_frames=True)


def test_sessions(processor, model):
    with DeSa2VASession(model, processor, VIDEO) as session:
        number = session.add(points=[(20, 10)], frame=np.int64(2))[0]
        session.correct(torch.tensor(number), np.int32(3), points=[(22, 12)])
        frames = [frame.frame for frame in session.propagate(np.int64(number), start=np.int64(2))]
        assert frames == [2, 3, 4, 5]
        assert session.result(torch.tensor(2)).objects[0].object_id == number
        with pytest.raises(ValueError, match="frame 2.0 is not in"):
            session.result(2.0)
        with pytest.raises(ValueError, match="there is no object False"):
            session.remove(False)
        session.remove(np.int64(number))


def test_results(processor, model):
    inputs = processor(videos=[VIDEO], text="the star", task="segment", key_frames=[0])
    found = processor.post_process(model.generate(**inputs, max_new_tokens=1), inputs)[0].objects[0]
    assert np.array_equal(found.mask(np.int64(1)), found.mask(torch.tensor(1)))


def test_options_and_sources():
    assert type(MaskOptions(max_hole_area=np.int64(4)).max_hole_area) is int
    with pytest.raises(TypeError, match="max_speckle_area=1.5 must be an integer"):
        MaskOptions(max_speckle_area=1.5)
    assert len(LiveSource(iter(VIDEO), np.int64(2))) == 2
    with pytest.raises(TypeError, match="buffered=2.0 must be an integer"):
        LiveSource(iter(VIDEO), 2.0)


def test_saved_fields_are_plain(tmp_path, processor):
    """numpy's integers can not be written as JSON."""
    config = DeSa2VAConfig(num_reprompts=np.int64(2), seg_token_ids=np.array([6]))
    assert json.loads(config.to_json_string(use_diff=False))["num_reprompts"] == 2
    parts = (processor.image_processor, processor.tokenizer, processor.sam_image_processor)
    type(processor)(*parts, max_tiles=np.int64(3)).save_pretrained(tmp_path)
    assert json.loads((tmp_path / "processor_config.json").read_text())["max_tiles"] == 3
