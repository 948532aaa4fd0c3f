"""SAM-2's image encoder without what nobody reads: the same outputs, gradients and weights."""

import copy

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from transformers import AutoModel

from desa2va.configuration.presets import preset_config
from desa2va.modeling_desa2va.image_encoder import KEPT_CODES, KeptSineCodes, ReadAttention, read_only_what_counts

OUTPUTS = "fpn_hidden_states", "fpn_position_encoding"


@pytest.fixture(scope="module")
def encoders():
    """transformers' encoder with the tiny preset's shapes, and ours with the same weights."""
    torch.manual_seed(0)
    plain = AutoModel.from_config(preset_config("tiny").sam_config.vision_config).eval()
    for parameter in plain.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    lean = copy.deepcopy(plain)
    read_only_what_counts(lean)
    return plain, lean


@pytest.fixture
def pixels(encoders):
    torch.manual_seed(1)
    size = encoders[0].config.backbone_config.image_size
    return torch.randn(2, 3, *([size, size] if isinstance(size, int) else size))


def test_outputs_and_gradients_are_those_of_transformers(encoders, pixels):
    """Bit for bit, at the first call and when the codes are kept already."""
    plain, lean = encoders
    for _ in range(2):
        results = []
        for encoder in (plain, lean):
            encoder.zero_grad()
            output = encoder(pixels, return_dict=True)
            sum(level.square().sum() for level in output.fpn_hidden_states).backward()
            results.append(output)
        for name in OUTPUTS:
            for one, other in zip(getattr(results[0], name), getattr(results[1], name), strict=True):
                assert torch.equal(one, other), name
        for (name, one), other in zip(plain.named_parameters(), lean.parameters(), strict=True):
            assert torch.equal(one.grad, other.grad), name


def test_nothing_but_what_is_read_is_computed(encoders, pixels):
    """Guards against both coming back: products of heads with heads, and sines at every call."""
    plain, lean = encoders
    with torch.no_grad():
        lean(pixels)
        counts = []
        for encoder in (plain, lean):
            with torch.profiler.profile() as profile:
                encoder(pixels)
            counts.append({event.key: event.count for event in profile.key_averages()})
    assert counts[0]["aten::sin"] > 0
    assert counts[0].get("aten::bmm", 0) > counts[1].get("aten::bmm", 0)
    assert "aten::sin" not in counts[1]


def test_weights_copies_and_states_are_as_before(encoders):
    plain, lean = encoders
    assert list(plain.state_dict()) == list(lean.state_dict())
    again = copy.deepcopy(lean)
    assert sum(type(module) is ReadAttention for module in again.modules()) > 0
    again.load_state_dict(plain.state_dict())


def codes_of(dtype=torch.float32, device="cpu", side=4, batch=1):
    return (torch.Size((batch, 8, side, side)), torch.device(device), dtype)


def test_codes_are_kept_by_size_device_and_dtype():
    """Guards against codes of another level, of meta tensors, or made under inference mode."""
    codes = KeptSineCodes(4, normalize=True)
    with torch.inference_mode():
        inferred = codes(*codes_of())
    assert not inferred.is_inference()
    assert codes(*codes_of(batch=3)).data_ptr() == inferred.data_ptr()
    assert codes(*codes_of(side=6)).shape == (1, 8, 6, 6)
    assert codes(*codes_of(torch.float64)).dtype == torch.float64
    assert codes(*codes_of(device="meta")).is_meta
    assert not codes(*codes_of()).is_meta
    assert codes(*codes_of(side=7)).shape == (1, 8, 7, 7)
    assert len(codes.kept) == KEPT_CODES
    assert not KeptSineCodes(4, normalize=True).kept


def test_a_pretended_call_leaves_nothing_behind():
    """Codes of a fake tensor have no values; kept, they would be everybody's."""
    codes = KeptSineCodes(4, normalize=True)
    with FakeTensorMode():
        codes(*codes_of(side=5))
    assert not codes.kept
    assert codes(*codes_of(side=7)).sum().isfinite()


def test_the_encoder_can_be_exported(encoders, pixels):
    exported = torch.export.export(encoders[1], (pixels,), strict=False)
    with torch.no_grad():
        expected = encoders[1](pixels).fpn_hidden_states[0]
        torch.testing.assert_close(exported.module()(pixels).fpn_hidden_states[0], expected)
