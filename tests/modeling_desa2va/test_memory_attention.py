"""SAM-2's memory attention ordered for a CPU: what transformers' own gives, object by object."""

import copy

import pytest
import torch
from transformers.models.sam2_video.modeling_sam2_video import Sam2VideoMemoryAttention

from desa2va.configuration.presets import preset_config
from desa2va.modeling_desa2va import memory_attention
from desa2va.modeling_desa2va.memory_attention import LeanMemoryAttention, order_for_cpu

OBJECTS, MEMORIES, POINTERS = 5, 3, 4


def pair(**fields):
    """transformers' attention in the tiny preset's dimensions, and ours with the same weights."""
    torch.manual_seed(0)
    config = preset_config("tiny").sam_config
    for name, value in fields.items():
        setattr(config, name, value)
    plain = Sam2VideoMemoryAttention(config).eval()
    for parameter in plain.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    lean = copy.deepcopy(plain)
    order_for_cpu(lean)
    assert type(lean) is LeanMemoryAttention
    return plain, lean


def given(plain, shared, pointers=POINTERS):
    """A frame of every object, or one for all, with memories."""
    torch.manual_seed(1)
    places, width = len(plain.position_ids), plain.config.memory_attention_hidden_size
    length = MEMORIES * places + pointers
    seen = torch.randn(places, 1 if shared else OBJECTS, width)
    memory = torch.randn(OBJECTS, length, 64).transpose(0, 1)
    codes = torch.randn(places, 1, width), torch.randn(length, 1, 64)
    return seen, memory, *codes, pointers


def by_transformers(plain, seen, memory, position, codes, pointers):
    """One object after the other."""
    parts = []
    for number in range(OBJECTS):
        own = seen if seen.shape[1] == 1 else seen[:, number : number + 1]
        parts.append(plain(own, memory[:, number : number + 1], position, codes, pointers))
    return torch.cat(parts, dim=1)


@pytest.mark.parametrize("pointers", [0, POINTERS])
@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize(("scores", "rows"), [(1 << 20, 128), (1 << 15, 24), (1, 24)])
def test_every_object_sees_what_it_sees_alone(monkeypatch, scores, rows, shared, pointers):
    """All objects at once, a few, or one by one in pieces: an object that is given the first one's memory, frame or
    places would pass every check of shapes. The second call has the tables kept.
    """
    monkeypatch.setattr(memory_attention, "SCORES_AT_ONCE", scores)
    monkeypatch.setattr(memory_attention, "FEWEST_ROWS", rows)
    plain, lean = pair()
    inputs = given(plain, shared, pointers)
    with torch.no_grad():
        expected = by_transformers(plain, *inputs)
        for _ in range(2):
            torch.testing.assert_close(lean(*inputs), expected, atol=1e-5, rtol=1e-5)


def test_memories_are_not_projected_before_they_are_read():
    """Guards against wide values coming back, and sines at every call: a third of the work, and nothing else tells."""
    plain, lean = pair()
    inputs = given(plain, shared=True)
    lengths = []
    for layer in lean.layers:
        layer.cross_attn_image.v_proj.register_forward_pre_hook(lambda _, inputs: lengths.append(inputs[0].shape[1]))
    with torch.no_grad():
        lean(*inputs)
        with torch.profiler.profile() as profile:
            lean(*inputs)
    assert set(lengths) == {len(plain.position_ids)}
    assert not {"aten::cos", "aten::sin"} & {event.key for event in profile.key_averages()}


@pytest.mark.parametrize("fields", [{}, {"memory_attention_num_attention_heads": 2}])
@pytest.mark.parametrize("grad", [True, False])
def test_other_cases_are_left_to_transformers(fields, grad):
    """Bit for bit: gradients, training, several heads and autocast; a frame for all objects is spread for it."""
    plain, lean = pair(**fields)
    seen, *rest = given(plain, shared=True)
    spread = seen.expand(-1, OBJECTS, -1)
    with torch.set_grad_enabled(grad), torch.autocast("cpu", torch.bfloat16, enabled=not (grad or fields)):
        assert torch.equal(lean(seen, *rest), plain(spread, *rest))


def test_gradients_reach_memories_and_weights():
    """In-place steps would cut them off or raise."""
    plain, lean = pair()
    seen, memory, *rest = given(plain, shared=True)
    memory = memory.requires_grad_()
    lean(seen, memory, *rest).square().sum().backward()
    assert memory.grad.abs().sum() > 0
    assert all(parameter.grad is not None for parameter in lean.parameters())


def test_tables_follow_the_places():
    """Kept tables of other places would turn every channel by the wrong angle."""
    plain, lean = pair()
    inputs = given(plain, shared=True)
    with torch.no_grad():
        lean(*inputs)
        for module in (plain, lean):
            module.position_ids = module.position_ids.flip(0)
        torch.testing.assert_close(lean(*inputs), by_transformers(plain, *inputs), atol=1e-5, rtol=1e-5)
