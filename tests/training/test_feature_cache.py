"""Features of SAM-2's frozen encoder on disk: the same losses with and without, and what they are refused with."""

import json
import os
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from desa2va.modeling_desa2va.modeling_desa2va import DeSa2VAModel
from desa2va.processing.files import encode_mask
from desa2va.training import feature_cache
from desa2va.training.data.build import open_dataset
from desa2va.training.data.refshapes import RefShapes
from desa2va.training.feature_cache import LEVELS, FeatureCache, check_room, frame_bytes, keep_features
from desa2va.training.train import run_recipe


def equal(first, second):
    return all(torch.equal(getattr(first, name), getattr(second, name)) for name in (*LEVELS, "position"))


@pytest.fixture
def segmenter(make_model):
    found = make_model().segmenter
    found.requires_grad_(False)
    return found


@pytest.fixture
def photos(tmp_path):
    """A fine-tune file of three pictures."""
    (tmp_path / "images").mkdir()
    records = []
    for number in range(3):
        noise = np.random.default_rng(number).integers(0, 256, (32, 32, 3)).astype(np.uint8)
        Image.fromarray(noise).save(tmp_path / "images" / f"{number}.png")
        mask = encode_mask(np.arange(32)[None] < np.full((32, 1), 9 + 5 * number))
        records.append({"image": f"{number}.png", "text": ["the red circle"], "mask": [mask]})
    (tmp_path / "train.json").write_text(json.dumps(records))
    return str(tmp_path / "train.json")


def test_what_is_read_is_what_was_encoded(segmenter, tmp_path, monkeypatch):
    """Guards bits, other weights (which must not find these files), and pixels that differ in one place."""
    pixels = torch.randn(3, 3, 128, 128, generator=torch.Generator().manual_seed(0))
    cache = FeatureCache(segmenter, tmp_path)
    with torch.no_grad():
        wanted = [segmenter.encode_frames(frame) for frame in pixels.split(1)]
    cache(pixels)
    assert all(equal(cache(frame), own) for frame, own in zip(pixels.split(1), wanted, strict=True))
    monkeypatch.setattr(cache, "encode", None)
    assert cache(pixels.flip(0)).low.equal(torch.cat([own.low for own in wanted]).flip(0))
    with pytest.raises(TypeError):
        cache(pixels + (torch.arange(128) == 7))
    with torch.no_grad():
        next(segmenter.sam.vision_encoder.parameters()).add_(1e-3)
    other = FeatureCache(segmenter, tmp_path)
    assert not equal(other(pixels[:1]), wanted[0])


def test_half_precision_has_files_of_its_own(segmenter, tmp_path):
    """Guards against float32 features read where bfloat16 is computed, and the other way."""
    pixels, cache = torch.randn(1, 3, 128, 128), FeatureCache(segmenter, tmp_path)
    plain = cache(pixels)
    with torch.autocast("cpu", torch.bfloat16):
        half, again = cache(pixels), cache(pixels)
    assert equal(half, again)
    assert half.low.dtype != plain.low.dtype or not torch.equal(half.low, plain.low)
    assert len(list(tmp_path.iterdir())) == 2


def test_processes_share_a_folder(segmenter, tmp_path):
    """Guards a file that one reads while another writes it."""
    pixels, children = torch.randn(2, 3, 128, 128), []
    for _ in range(3):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                cache = FeatureCache(segmenter, tmp_path)
                code = 0 if torch.equal(cache(pixels).low, cache(pixels).low) else 1
            finally:
                os._exit(code)
        children.append(child)
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0, 0, 0]
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 2


def test_a_training_has_the_same_losses(photos, tmp_path):
    """Guards the whole way: first epoch written, second one read, bit for bit in float32."""
    step = {"phase": "decoupling", "language_model": "frozen", "weights": {"visual_mask": 1.0, "fused_mask": 1.0}}
    step |= {"num_train_epochs": 2, "per_device_train_batch_size": 1, "logging_steps": 1, "save_strategy": "no"}
    losses = []
    for name, extra in (("without", {}), ("with", {"feature_cache": str(tmp_path / "features")})):
        training = {**step, "use_cpu": True, "disable_tqdm": True}
        data = {"dataset": photos, **extra}
        config = {"init_from": "desa2va-tiny", "output_dir": str(tmp_path / name), "data": data}
        out = run_recipe({**config, "training": training})
        log = json.loads((out / "trainer_state.json").read_text())["log_history"]
        losses.append([entry["loss_visual_mask"] for entry in log if "loss_visual_mask" in entry])
    assert len(losses[0]) == 6
    assert losses[0] == losses[1]
    assert len(list((tmp_path / "features").rglob("*.safetensors"))) == 3


def test_what_does_not_come_again_is_refused(segmenter, photos, tmp_path):
    """Guards a cache that is written and never read."""
    for dataset, message in (
        (open_dataset(photos, flip=0.5), "changes them: leave it or flip out"),
        (RefShapes("train", length=3), "RefShapes and streams do not"),
    ):
        with pytest.raises(ValueError, match=message):
            keep_features(segmenter, str(tmp_path / "features"), [dataset])
    segmenter.requires_grad_(True)
    with pytest.raises(ValueError, match="SAM-2's encoder learns"):
        keep_features(segmenter, str(tmp_path / "features"), [open_dataset(photos)])


def test_a_dry_run_knows_the_size(segmenter, model):
    """Guards the arithmetic on the meta device, where a dry run has its model."""
    with torch.device("meta"):
        shape = DeSa2VAModel(model.config).segmenter
    features = FeatureCache(segmenter, "unused").encode(torch.zeros(1, 3, 128, 128))
    assert frame_bytes(shape) == sum(getattr(features, name).nbytes for name in LEVELS)


def test_a_full_disk_is_told_before(segmenter, photos, tmp_path, monkeypatch):
    """Guards a training that dies in hour nine, and says how much it would have needed."""
    sentence = check_room(segmenter, str(tmp_path / "features"), [open_dataset(photos)])
    assert "3 frames of" in sentence
    assert not (tmp_path / "features").exists()
    monkeypatch.setattr(feature_cache.shutil, "disk_usage", lambda place: SimpleNamespace(free=1000))
    with pytest.raises(OSError, match="3 frames of .* GiB free, .*name a larger disk"):
        check_room(segmenter, str(tmp_path / "features"), [open_dataset(photos)])
