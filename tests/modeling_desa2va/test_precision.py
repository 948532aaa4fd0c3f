"""Half precision: the language model's weights, and autocast around them."""

import numpy as np
import pytest
import torch

from desa2va.modeling_desa2va.modeling_desa2va import DeSa2VAModel
from desa2va.modeling_desa2va.precision import inference_autocast
from desa2va.training.objectives.base import model_inputs

HALVES = [torch.bfloat16, torch.float16]
EXACT = {"rtol": 0, "atol": 0}


@pytest.fixture(scope="module")
def folder(make_model, tmp_path_factory):
    path = tmp_path_factory.mktemp("precision") / "model"
    make_model(5).save_pretrained(path)
    return path


def parts(model):
    return (model.segmenter, model.decoupling, model.fusion)


def casts(folder, dtype):
    """A model in half precision, by every way there is."""
    yield DeSa2VAModel.from_pretrained(folder, dtype=dtype).eval()
    yield DeSa2VAModel.from_pretrained(folder, dtype=torch.float32).eval().to(dtype)
    yield getattr(DeSa2VAModel.from_pretrained(folder).eval(), "half" if dtype == torch.float16 else "bfloat16")()


@pytest.mark.parametrize("dtype", HALVES)
def test_no_cast_reaches_sam(folder, dtype):
    """A blind cast loses bits of SAM-2's weights for good: casting back would not bring them back."""
    whole = [part.state_dict() for part in parts(DeSa2VAModel.from_pretrained(folder, dtype=torch.float32))]
    for model in casts(folder, dtype):
        assert model.dtype == model.mllm.dtype == dtype
        assert model.segmenter.autocast_dtype == model.segmenter.sam.autocast_dtype == dtype
        for part, other in zip(parts(model), whole, strict=True):
            for name, value in part.state_dict().items():
                torch.testing.assert_close(value, other[name], **EXACT)
        model.float()
        assert model.segmenter.autocast_dtype is None
        assert model.mllm.dtype == torch.float32


@pytest.mark.parametrize("dtype", HALVES)
def test_masks_and_scores_are_float32_and_close(folder, processor, dtype):
    """Scores in bfloat16 have steps of 0.004, logits round at 1/16; both decide about objects."""
    video = np.random.default_rng(0).integers(0, 255, (6, 64, 64, 3), np.uint8)
    inputs = processor(videos=[video], text="the red circle", task="segment", num_key_frames=2)
    exact = DeSa2VAModel.from_pretrained(folder).eval()
    model = DeSa2VAModel.from_pretrained(folder, dtype=dtype).eval()
    for each in (exact, model):
        each.config.object_score_threshold = -1024.0
    answer = model.answer_key_frames(**inputs, max_new_tokens=1)
    masks = answer.visuals[0].masks
    assert masks.logits.dtype == masks.iou.dtype == masks.object_score.dtype == torch.float32
    assert answer.prompts.visual.dtype == torch.float32
    ours, theirs = model.generate(**inputs, max_new_tokens=1), exact.generate(**inputs, max_new_tokens=1)
    assert ours.track_logits[0].isfinite().all()
    assert ((ours.track_logits[0] > 0) == (theirs.track_logits[0] > 0)).float().mean() > 0.9
    assert (ours.track_iou[0] - theirs.track_iou[0]).abs().max() < 0.1


@pytest.mark.parametrize("dtype", HALVES)
def test_the_encoder_really_computes_in_half_precision(folder, dtype):
    """Weights in float32 without autocast would be exact, and slow."""
    segmenter = DeSa2VAModel.from_pretrained(folder, dtype=dtype).eval().segmenter
    with torch.no_grad():
        features = segmenter.encode_frames(torch.randn(1, 3, 128, 128))
    assert features.low.dtype == features.high0.dtype == dtype


@torch.no_grad()
def test_clicks_keep_their_place(folder):
    """bfloat16 has 8 bits for a coordinate; two clicks three pixels apart must not become one."""
    codes = []
    for dtype in (torch.float32, torch.bfloat16):
        segmenter = DeSa2VAModel.from_pretrained(folder, dtype=dtype).eval().segmenter
        seen = []
        hook = segmenter.sam.mask_decoder.register_forward_hook(
            lambda m, a, k, o, seen=seen: seen.append(
                (k["sparse_prompt_embeddings"], k["image_positional_embeddings"])
            ),
            with_kwargs=True,
        )
        features = segmenter.encode_frames(torch.zeros(1, 3, 128, 128))
        points = (torch.tensor([[[100.0, 61.0]]]), torch.tensor([[1]]))
        segmenter.decode(segmenter.sam.mask_decoder, features, torch.tensor([0]), points=points)
        hook.remove()
        codes.append(seen[0])
    for exact, half in zip(*codes, strict=True):
        torch.testing.assert_close(half, exact, **EXACT)


@torch.no_grad()
def test_float32_and_training_are_untouched(make_model, batch):
    """A context that is entered for nothing changes a trainer's own autocast."""
    model = make_model()
    with torch.autocast("cpu", torch.bfloat16), inference_autocast(model.segmenter):
        assert torch.is_autocast_enabled("cpu")
    model.train().segmenter.set_precision(torch.bfloat16)
    with inference_autocast(model.segmenter):
        assert not torch.is_autocast_enabled("cpu")
    assert model(**model_inputs(batch)).masks.logits.dtype == torch.float32


def test_a_checkpoint_has_one_dtype(folder, tmp_path):
    """Half of the weights in float32 would double a file that calls itself bfloat16."""
    from safetensors.torch import load_file

    DeSa2VAModel.from_pretrained(folder, dtype=torch.bfloat16).save_pretrained(tmp_path / "half")
    stored = load_file(tmp_path / "half" / "model.safetensors")
    assert {value.dtype for value in stored.values()} == {torch.bfloat16}
    whole = load_file(folder / "model.safetensors")
    assert stored.keys() == whole.keys()
    for name, value in stored.items():
        torch.testing.assert_close(value, whole[name].bfloat16(), **EXACT)
