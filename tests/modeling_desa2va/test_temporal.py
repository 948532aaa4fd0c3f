"""`temporal="motion"`: a visual prompt that moves from key frame to key frame, and leaves still images alone."""

import copy
import json
import subprocess
import sys

import numpy as np
import pytest
import torch

from desa2va.configuration.configuration_desa2va import DeSa2VAConfig
from desa2va.modeling_desa2va.modeling_desa2va import DeSa2VAModel
from desa2va.modeling_desa2va.objects import find_objects, frame_times, time_between
from desa2va.training.data.refshapes.dataset import RefShapes
from desa2va.training.objectives.base import model_inputs
from desa2va.training.stage_model import with_fields

EXACT = {"rtol": 0, "atol": 0}


@pytest.fixture(scope="module")
def moving(make_model):
    """A tiny model whose W_m is far from zero."""
    model = make_model(temporal="motion")
    torch.manual_seed(4)
    torch.nn.init.normal_(model.decoupling.motion.weight, std=0.1)
    torch.nn.init.normal_(model.decoupling.motion.bias, std=0.1)
    return model


@pytest.fixture(scope="module")
def video_batch(processor):
    """Two videos of four frames between two pictures."""
    videos = RefShapes("train", length=4, conversations=2, video_fraction=1.0, num_frames=4)
    pictures = RefShapes("train", length=4, conversations=2)
    return processor.collate([pictures[0], videos[0], pictures[1], videos[1]])


def test_time_is_the_rank_among_the_frames_shown():
    """Guards against t by frame number, which would mean another thing for every length of clip."""
    assert frame_times(torch.tensor([0, 1, 1, 1, 2, 2])).tolist() == [0, -1, 0, 1, -1, 1]
    torch.testing.assert_close(frame_times(torch.zeros(5, dtype=torch.long)), torch.linspace(-1, 1, 5))
    index = find_objects(torch.tensor([[6, 6], [6, 1]]), [6], 1, torch.tensor([0, 1, 1]), torch.tensor([1, 0]))
    assert index.pairs.time.tolist() == [-1, 1, -1, 1, 0]


def test_time_of_frames_between_key_frames():
    keys = [2, 3, 7]
    assert [time_between(frame, keys) for frame in (0, 2, 3, 5, 7, 9)] == [-1, -1, 0, 0.5, 1, 1]
    assert time_between(3, [3]) == time_between(8, [3]) == 0
    times = frame_times(torch.zeros(4, dtype=torch.long)).tolist()
    assert [time_between(frame, [1, 4, 5, 9]) for frame in (1, 4, 5, 9)] == times


@torch.no_grad()
def test_still_images_are_untouched_bit_for_bit(moving, batch):
    plain = with_fields(moving, {"temporal": "none"}).eval()
    assert plain.decoupling.motion is None
    ours, theirs = moving(**model_inputs(batch)), plain(**model_inputs(batch))
    torch.testing.assert_close(ours.masks.logits, theirs.masks.logits, **EXACT)
    torch.testing.assert_close(ours.masks.iou, theirs.masks.iou, **EXACT)


@torch.no_grad()
def test_pictures_beside_videos_are_untouched_and_videos_are_not(moving, video_batch):
    plain = with_fields(moving, {"temporal": "none"}).eval()
    ours, theirs = moving(**model_inputs(video_batch)), plain(**model_inputs(video_batch))
    time = frame_times(video_batch["sam_frame_visual"])[ours.pair_frame]
    still = time == 0
    assert still.any()
    torch.testing.assert_close(ours.masks.logits[still], theirs.masks.logits[still], **EXACT)
    assert (ours.masks.logits - theirs.masks.logits)[~still].abs().amax((1, 2)).min() > 1e-3


@torch.no_grad()
def test_a_model_starts_as_the_one_without(make_model, video_batch):
    plain = make_model()
    moving = with_fields(plain, {"temporal": "motion"}).eval()
    assert not any(parameter.any() for parameter in moving.decoupling.motion.parameters())
    torch.testing.assert_close(
        moving(**model_inputs(video_batch)).masks.logits, plain(**model_inputs(video_batch)).masks.logits, **EXACT
    )


@pytest.mark.parametrize("mode", ["desa2va", "sa2va"])
def test_gradient_reaches_the_projection_from_videos_alone(make_model, batch, video_batch, mode):
    """In both prompt modes. On pictures the gradient is zero, not absent: processes of one run must agree."""
    for inputs, moves in ((batch, False), (video_batch, True)):
        model = make_model(temporal="motion", prompt_mode=mode)
        model(**model_inputs(inputs)).masks.logits.square().mean().backward()
        gradient = model.decoupling.motion.weight.grad
        assert gradient is not None
        assert bool(gradient.any()) is moves


@pytest.mark.parametrize("design", [{}, {"seg_design": "repetitive", "num_seg_frames": 2}])
def test_generate_prompts_key_frames_as_the_teacher_forced_pass(make_model, design):
    """One helper for t: the prompts of `generate` at key frames are those of `forward` on the same tokens."""
    from desa2va.training.processors import preset_processor

    processor = preset_processor("tiny", design)
    model = make_model(temporal="motion", num_reprompts=0, **design, seg_token_ids=processor.seg_token_ids)
    torch.nn.init.normal_(model.decoupling.motion.weight, std=0.1)
    seen = []
    original = model.decode_prompts
    model.decode_prompts = lambda *args, **kwargs: seen.append(args[3]) or original(*args, **kwargs)
    video = np.random.default_rng(0).integers(0, 255, (9, 64, 64, 3), np.uint8)
    inputs = processor(videos=[video], text="the red circle", task="segment", num_key_frames=4)
    output = model.generate(**inputs, max_new_tokens=4)
    ids = torch.cat([inputs["input_ids"], output.sequences], dim=1)
    forced = {name: inputs[name] for name in ("pixel_values", "image_index", "num_tiles", "sam_pixel_values")}
    forced |= {name: inputs[name] for name in ("sam_frame_visual", "sequence_visual")}
    with torch.no_grad():
        model(input_ids=ids, attention_mask=torch.ones_like(ids), **forced)
    count = 4 * len(output.object_sequence)
    assert seen[0].shape == seen[-1].shape == (count, 64)
    torch.testing.assert_close(seen[0], seen[-1], rtol=1e-3, atol=1e-3)
    assert (seen[0][0] - seen[0][1]).abs().max() > 1e-2


@pytest.mark.parametrize("strategy", ["consistent", "memory", "per_frame"])
def test_every_strategy_follows_the_moving_prompt(moving, processor, strategy):
    video = np.random.default_rng(0).integers(0, 255, (6, 64, 64, 3), np.uint8)
    inputs = processor(videos=[video], text="the red circle", task="segment", num_key_frames=3)
    tracks = []
    for model in (moving, with_fields(moving, {"temporal": "none"}).eval()):
        model = copy.deepcopy(model)
        model.config.track_strategy, model.config.object_score_threshold = strategy, -1024.0
        tracks.append(model.generate(**inputs, max_new_tokens=2).track_logits[0])
    assert tracks[0].shape == tracks[1].shape == (6, 32, 32)
    assert not torch.equal(tracks[0], tracks[1])


def test_high_levels_are_made_once_per_decoder_and_frame_set(moving, processor):
    """Guards against 1x1 convolutions of all key frames per piece of object-frame pairs, and per pass."""
    frames = np.random.default_rng(1).integers(0, 255, (9, 64, 64, 3), np.uint8)
    texts = [f"the {color} circle" for color in ("red", "blue", "green", "yellow", "purple", "orange", "pink", "gray")]
    inputs = processor(videos=[frames], text=texts, task="segment", num_key_frames=9, key_frames="uniform")
    counts, hooks, pairs = {}, [], []
    for name in ("text_decoder", "visual_decoder"):
        decoder = getattr(moving.segmenter, name)
        for part in ("conv_s0", "conv_s1"):
            place = f"{name}.{part}"
            counts[place] = []
            hook = getattr(decoder, part).register_forward_hook(
                lambda m, args, out, place=place: counts[place].append(len(args[0]))
            )
            hooks.append(hook)
        hooks.append(decoder.register_forward_hook(lambda m, args, out: pairs.append(len(out[0]))))
    moving.generate(**inputs, max_new_tokens=2)
    for hook in hooks:
        hook.remove()
    assert max(pairs) == 64
    assert sum(pairs) >= 2 * 2 * 72, "two decoders, two passes, at least 8 objects on 9 frames"
    assert counts == dict.fromkeys(counts, [9])


def test_save_and_load(moving, video_batch, tmp_path):
    moving.save_pretrained(tmp_path)
    again, info = DeSa2VAModel.from_pretrained(tmp_path, output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    with torch.no_grad():
        expected = moving(**model_inputs(video_batch)).masks.logits
        torch.testing.assert_close(again.eval()(**model_inputs(video_batch)).masks.logits, expected, **EXACT)


def test_the_exported_folder_runs_without_the_package(moving, tmp_path):
    moving.save_pretrained(tmp_path)
    code = (
        "import sys; from transformers import AutoModel\n"
        f"model = AutoModel.from_pretrained({str(tmp_path)!r}, trust_remote_code=True)\n"
        "assert not any(name.split('.')[0] == 'desa2va' for name in sys.modules)\n"
        "print(model.config.temporal, float(model.decoupling.motion.weight.abs().sum()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    kind, total = done.stdout.split()
    assert kind == "motion"
    assert float(total) == pytest.approx(float(moving.decoupling.motion.weight.abs().sum()), rel=1e-5)


def test_configurations_without_the_field_load_unchanged(make_model, tmp_path):
    """Checkpoints of before know no `temporal`; asked to move, they start at rest, whatever the loader draws."""
    model = make_model()
    model.save_pretrained(tmp_path)
    path = tmp_path / "config.json"
    config = json.loads(path.read_text())
    del config["temporal"]
    path.write_text(json.dumps(config))
    again, info = DeSa2VAModel.from_pretrained(tmp_path, output_loading_info=True)
    assert not info["missing_keys"]
    assert again.config.temporal == "none"
    moving = DeSa2VAModel.from_pretrained(tmp_path, config=DeSa2VAConfig.from_pretrained(tmp_path, temporal="motion"))
    assert not any(parameter.any() for parameter in moving.decoupling.motion.parameters())
    torch.testing.assert_close(moving.decoupling.visual.layers[0].weight, model.decoupling.visual.layers[0].weight)


def test_unknown_choice_is_named():
    with pytest.raises(ValueError, match="temporal='speed'.*none, motion"):
        DeSa2VAConfig(temporal="speed")
