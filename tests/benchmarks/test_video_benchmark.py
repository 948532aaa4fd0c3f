"""The video benchmark at tiny shapes: counts, agreement of the two schedules, and the keys others read."""

import json
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks import tracking_cost  # noqa: E402
from benchmarks.encoder_calls import count_encodings  # noqa: E402
from benchmarks.flat_time import banked_time  # noqa: E402
from benchmarks.gpu_speed import gpu_fps  # noqa: E402
from benchmarks.memory_growth import stream_and_measure  # noqa: E402
from benchmarks.peer_schedule import peer_encodings, prompt_one_by_one, prompt_together, run_peer_schedule  # noqa: E402
from benchmarks.random_models import EncoderCounter, language_prompts, noise_clip, random_model  # noqa: E402
from benchmarks.video import main, parse_options  # noqa: E402


@pytest.fixture(scope="module")
def random_tiny():
    return random_model("tiny")


def test_every_frame_is_encoded_once(random_tiny):
    """A second encoding of key frames, or one per object, sentence or re-prompt, is what the figures must show."""
    report = count_encodings(random_tiny, num_frames=7, num_key_frames=3)
    assert report["encoder_calls"] == {"1": 7, "3": 7, "10": 7}
    assert set(report["encoder_calls_detail"]["by_strategy"]) == {"consistent", "memory", "per_frame"}


def test_counts_without_the_networks_are_the_same(random_tiny):
    """Size large is counted with made-up features; a frame encoded twice must show there too."""
    report = count_encodings(random_tiny, num_frames=7, num_key_frames=3, reduced=True)
    assert report["encoder_calls"] == {"1": 7, "3": 7, "10": 7}
    assert report["encoder_calls_detail"]["reduced"] is True


@pytest.mark.parametrize("num_frames", [3, 8])
def test_peer_schedule_does_the_same_work_in_another_order(random_tiny, num_frames):
    """A reference that computes something else, or encodes more than the peer does, would flatter the ratio."""
    pixels, prompts = noise_clip(random_tiny, num_frames), language_prompts(random_tiny, 2)
    with EncoderCounter(random_tiny.segmenter) as counter:
        peer = run_peer_schedule(random_tiny.segmenter, pixels, prompts)
    assert counter.count == peer_encodings(num_frames, 2) == 2 * (num_frames + min(5, num_frames))
    ours = tracking_cost.track_with_memory(random_tiny, pixels, prompts)
    assert peer.std() > 0.1
    torch.testing.assert_close(ours, peer, atol=5e-3, rtol=0)  # memories are stored in bf16


def test_a_picture_is_drawn_the_same_on_both_sides(random_tiny):
    """And the peer's side encodes it no more often than once for each object."""
    pixels, prompts = noise_clip(random_tiny, 1), language_prompts(random_tiny, 3)
    with EncoderCounter(random_tiny.segmenter) as counter:
        peer = prompt_one_by_one(random_tiny.segmenter, pixels, prompts)
    assert counter.count == 3
    assert peer.std() > 0.1
    torch.testing.assert_close(prompt_together(random_tiny.segmenter, pixels, prompts), peer, atol=1e-4, rtol=0)


def test_composed_ratio_counts_encodings(random_tiny):
    """Where encodings dwarf all else the ratios must be 13 / 8 and 39 / 8."""
    report = tracking_cost.peer_ratio(random_tiny, repeats=1, encoding=1e6)
    assert report["ratio_to_peer_schedule"] == {"1": 1.625, "3": 4.875}
    assert report["peer_schedule"]["composed"] is True
    together = tracking_cost.together_ratio(random_tiny, repeats=1, encoding=1e6)
    assert together["ratio_together_to_single"] == 0.1


def test_stages_are_those_of_frames_that_are_remembered(random_tiny):
    """The last frame of a video has no memory made of it, and is the only one timed at size large."""
    stages = tracking_cost.stage_shares(random_tiny, 1, random_tiny.segmenter.sam.num_maskmem + 1)
    assert stages.keys() == {*tracking_cost.STAGES, "other", "total"}


def test_bank_is_as_full_at_frame_50_as_at_1000(random_tiny):
    """The time per frame can be flat only where the bank is."""
    sizes = banked_time(random_tiny, window=1)["frames_in_bank"]
    assert sizes["50"] == sizes["1000"] < 20


def test_stream_process_reports_memory():
    """The keys the report is made of, from one short stream."""
    if not Path("/proc/self/status").exists():
        pytest.skip("resident memory is read from /proc, which this system has not")
    figures = stream_and_measure("tiny", 6, "cpu", reduced=True)
    assert figures["frames_yielded"] == 6
    assert figures["peak_rss_mb"] >= figures["after_close_mb"] > 0


def test_command_writes_what_it_has(random_tiny, tmp_path, monkeypatch):
    """A part that fails or can not run here must not cost the figures of the others."""
    monkeypatch.setattr("benchmarks.video.random_model", lambda *given: random_tiny)
    monkeypatch.setattr("benchmarks.video.together_ratio", lambda *given: 1 / 0)
    monkeypatch.setattr("benchmarks.video.peer_ratio", lambda *given: {"ratio_to_peer_schedule": {"1": 1.9, "3": 3.0}})
    monkeypatch.setattr("benchmarks.video.picture_ratio", lambda *given: {})
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    file = tmp_path / "new" / "video.json"
    assert main(["--size", "tiny", "--json", str(file), "--parts", "together,peer,path,gpu_eager"]) == 1
    report = json.loads(file.read_text())
    assert report["ratio_to_peer_schedule"] == {"1": 1.9, "3": 3.0}
    assert [check["met"] for check in report["targets"]] == [True, False]
    assert report["skipped"].keys() == {"path", "gpu_eager"}
    assert report["failed"] == {"together": "ZeroDivisionError: division by zero"}
    assert report["complete"] is False
    assert [path.name for path in file.parent.iterdir()] == ["video.json"]


def test_unknown_part_is_refused(tmp_path, capsys):
    """A misspelled part would silently measure nothing."""
    with pytest.raises(SystemExit):
        parse_options(["--json", str(tmp_path / "x.json"), "--parts", "call"])
    assert "choose from calls" in capsys.readouterr().err


def test_gpu_part_runs(random_tiny, monkeypatch):
    """The GPU part is rarely run; its code is checked on the CPU, for form, and must leave the model as it was."""
    monkeypatch.setattr("benchmarks.gpu_speed.OBJECT_COUNTS", (1, 2))
    monkeypatch.setattr("benchmarks.gpu_speed.WARM_FRAMES", 2)
    seen = []
    figures = gpu_fps(random_tiny, "replayed", lambda sofar: seen.append(len(sofar["tracking"])), timed_frames=2)
    assert figures["tracking"].keys() == {"1", "2"}
    assert figures["encoder"].keys() == {"1", "8"}
    assert seen == [0, 0, 1, 2]
    assert random_tiny.segmenter.autocast_dtype is None
