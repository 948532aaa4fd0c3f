"""What only a GPU can show; `python -m benchmarks.gpu_check` runs these and more."""

import copy

import accelerate
import pytest
import torch

import desa2va
from benchmarks.scenarios import SCENARIOS, assert_same, overlap, picture, session, stream, video_memory
from benchmarks.training_steps import STEPS, take_step
from desa2va.modeling_desa2va.cuda_graphs import replay_networks, stop_replaying
from desa2va.modeling_desa2va.tracking import BatchedEncoder

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


@pytest.fixture(scope="module")
def on_gpu(shipped):
    model, processor = shipped
    return copy.deepcopy(model).to("cuda"), processor


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_answers_are_those_of_the_cpu(scenario, on_gpu, expected):
    found, wanted = scenario(*on_gpu), expected(scenario)
    assert found.texts == wanted.texts
    assert overlap(found, wanted) > 0.99


@pytest.mark.parametrize("scenario", [picture, video_memory, stream, session], ids=lambda scenario: scenario.__name__)
def test_half_precision_changes_little(scenario, expected):
    loaded = desa2va.load(device="cuda", dtype=torch.bfloat16)
    assert overlap(scenario(*loaded), expected(scenario)) > 0.9


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("scenario", [picture, video_memory, stream, session], ids=lambda scenario: scenario.__name__)
def test_replayed_graphs_change_nothing_but_rounding(scenario, dtype):
    """Twice eager, then recorded, then replayed: all say and show the same."""
    model, processor = desa2va.load(device="cuda", dtype=dtype)
    usual = scenario(model, processor)
    model.use_cuda_graphs()
    for _ in range(4):
        found = scenario(model, processor)
        assert found.texts == usual.texts
        assert overlap(found, usual) > (0.999 if dtype == torch.float32 else 0.99)
    networks = model._replayed_networks()
    assert sum(len(network._compiled_call_impl._graphs) for network in networks) >= 3
    model.drop_cuda_graphs()
    assert not any(network._compiled_call_impl for network in networks)


def test_graphs_follow_weights_that_change(on_gpu):
    """A recorded graph reads memory; weights that moved elsewhere, or changed, must not be read as they were."""
    segmenter, side = copy.deepcopy(on_gpu[0]).segmenter.eval(), on_gpu[0].config.image_size
    pixels = torch.randn(2, 3, side, side, device="cuda")
    replay_networks([segmenter.sam.vision_encoder])
    with torch.no_grad():
        for _ in range(4):
            before = segmenter.encode_frames(pixels).low
        for weight in segmenter.sam.vision_encoder.parameters():
            weight.mul_(1.1)
        after = [segmenter.encode_frames(pixels).low for _ in range(5)]
    stop_replaying([segmenter.sam.vision_encoder])
    with torch.no_grad():
        wanted = segmenter.encode_frames(pixels).low
    assert not torch.equal(before, wanted)
    for found in after:
        torch.testing.assert_close(found, wanted, rtol=0, atol=0)


def test_a_callers_autocast_changes_little(on_gpu, expected):
    with torch.autocast("cuda", dtype=torch.bfloat16):
        found = session(*on_gpu)
    assert overlap(found, expected(session)) > 0.9


@pytest.mark.parametrize("scenario", [picture, session], ids=lambda scenario: scenario.__name__)
def test_weights_may_stay_in_the_memory_of_the_cpu(scenario, shipped, expected):
    model = copy.deepcopy(shipped[0])
    accelerate.cpu_offload(model, execution_device=torch.device("cuda", 0))
    assert_same(scenario(model, shipped[1]), expected(scenario), pixels=20, scores=2e-2)


def test_a_map_with_parts_on_both(shipped, expected, tmp_path):
    """The parts on the CPU are brought to the GPU for each call."""
    places = {"mllm": 0, "segmenter": "cpu", "decoupling": 0, "fusion": "disk"}
    loaded = desa2va.load(device_map=places, offload_folder=str(tmp_path), dtype=torch.float32)  # stored: bfloat16
    assert overlap(session(*loaded), expected(session)) > 0.99


@pytest.mark.parametrize("name", STEPS)
def test_a_step_of_every_phase_in_bfloat16(name, tmp_path):
    step = take_step(name, tmp_path / "run", bf16=True)
    assert step["grad_norm"] > 0
    assert step["device"].startswith("cuda")


@torch.no_grad()
def test_memory_that_runs_out_halves_the_batch(on_gpu):
    """The allocator's own error, not one a test made up."""
    segmenter, side = on_gpu[0].segmenter, on_gpu[0].config.image_size
    pixels = torch.randn(96, 3, side, side)
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    whole = BatchedEncoder(segmenter, 8)(pixels[:8])
    work, kept = torch.cuda.max_memory_allocated() - before, torch.cuda.memory_allocated() - before
    torch.cuda.empty_cache()
    # All 96 at once take twelve times the work of eight. Three times fit, beside all features, held twice when joined.
    allowed = torch.cuda.memory_reserved() + 3 * work + 24 * kept
    torch.cuda.set_per_process_memory_fraction(allowed / torch.cuda.get_device_properties(0).total_memory)
    try:
        encoder = BatchedEncoder(segmenter, 96)
        with pytest.warns(UserWarning, match="memory ran out"):
            features = encoder(pixels)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert encoder.batch_size < 96
    torch.testing.assert_close(features.low[:8], whole.low, rtol=1e-3, atol=1e-3)
