"""SA-V's example annotation and DAVIS' car-shadow in one run: every stage, both loaders, a training, five kills.

SA-V's video is not at hand; a made one of its size and length stands for it.
"""

import itertools
import json
import os
import signal
import time
from types import SimpleNamespace

import numpy as np
import pytest
from torch.utils.data import DataLoader

from desa2va.annotation.stages import STEPS
from desa2va.cli import main
from desa2va.training.data.build import open_dataset
from desa2va.training.data.collator import Collator
from desa2va.training.data.readers import READERS
from desa2va.training.data.sources import open_source
from desa2va.training.train import main as train
from tests.annotation.layouts import DAVIS, SAV
from tests.annotation.models import tiny_describer

pytestmark = [
    pytest.mark.skipif(not SAV.is_file(), reason="needs the example annotation of SA-V"),
    pytest.mark.skipif(not DAVIS.is_dir(), reason="needs the frames of DAVIS"),
]
OBJECTS = [("car-shadow", "1"), *(("sav_000001_manual", str(number)) for number in range(5))]


@pytest.fixture(scope="module")
def clips(tmp_path_factory, sav_video):
    """`(videos, masks)`: a file with SA-V's JSON, a folder of frames with a palette folder."""
    root = tmp_path_factory.mktemp("clips")
    for kind, sav, davis in (
        ("videos", sav_video / "sav_000001.mp4", DAVIS / "JPEGImages" / "480p" / "car-shadow"),
        ("masks", SAV, DAVIS / "Annotations" / "480p" / "car-shadow"),
    ):
        (root / kind).mkdir()
        (root / kind / sav.name).symlink_to(sav)
        (root / kind / davis.name).symlink_to(davis)
    return root / "videos", root / "masks"


def annotated(clips, out, describer, *words):
    words = ("--validation", "0", "--describer", describer, "--max-tokens", "8", "--device", "cpu", *words)
    return main(["annotate", str(clips[0]), "--masklets", str(clips[1]), "--out", str(out), *words])


@pytest.fixture(scope="module", params=["measured", "qwen2_5_vl"])
def finished(request, clips, tmp_path_factory):
    """A run by the describer that measures, or by a random model that describes, checks and shortens alone."""
    root = tmp_path_factory.mktemp(request.param)
    name = request.param if request.param == "measured" else str(tiny_describer(root / "model", request.param))
    assert annotated(clips, root / "out", name) == 0
    return SimpleNamespace(describer=name, out=root / "out", train=root / "out" / "dataset" / "train")


def test_every_object_goes_through_every_stage(finished):
    """Six objects, six steps each, all by the one describer; eight frames of SA-V's are shown, none in between."""
    lines = (finished.out / "dataset" / "annotations.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    assert [(row["video"], row["object"], row["status"]) for row in rows] == [(*key, "complete") for key in OBJECTS]
    for row in rows:
        assert [entry["step"] for entry in row["steps"]] == list(STEPS)
        assert {entry["model"] for entry in row["steps"]} == {finished.describer}
        frames = row["steps"][STEPS.index("video")]["frames"]
        assert 1 < len(frames) <= 8
        assert row["video"] == "car-shadow" or not any(frame % 4 for frame in frames)
        assert row["long"].split()
        assert row["short"].split()


def test_both_loaders_give_the_masks_that_went_in(finished):
    """SA-V's codes as they are; of DAVIS' 24 frames Ref-SAV's format has every fourth."""
    own = list(open_source(str(finished.train / "expressions.jsonl")).records())
    sav = list(READERS["ref_sav"].read(finished.train, "train", captions="both"))
    assert [(record.num_frames, len(record.dialogues)) for record in own] == [(24, 2), (121, 10)]
    assert [(record.num_frames, len(record.dialogues)) for record in sav] == [(6, 2), (121, 10)]
    given = [[code["counts"] for code in frame] for frame in json.loads(SAV.read_text())["masklet"]]
    for mine, theirs in zip(own, sav, strict=True):
        assert [said.ids["text"] for said in mine.dialogues] == [said.ids["exp"] for said in theirs.dialogues]
    for number, (mine, theirs) in enumerate(zip(own[1].dialogues, sav[1].dialogues, strict=True)):
        assert mine.targets[0].codes == theirs.targets[0].codes
        assert all(
            code is None or code["counts"] == frame[number // 2]
            for code, frame in zip(mine.targets[0].codes, given, strict=True)
        )
        assert any(mine.targets[0].codes)
    drawn = own[0].masks(own[0].dialogues[0])
    assert np.array_equal(drawn[:, ::4], sav[0].masks(sav[0].dialogues[0]))
    assert drawn.any(axis=(0, 2, 3)).all()


def test_an_epoch_of_both_records(finished, processor, tmp_path):
    """Through the data loader, and through the command: as many steps as samples, a loss, a model."""
    table = str(finished.train / "expressions.jsonl")
    data = open_dataset(table)
    (batch,) = DataLoader(data, batch_size=len(data), collate_fn=Collator(processor))
    assert len(data) == len(batch["samples"]) == 2
    words = [f"data.dataset={table}", f"output_dir={tmp_path / 'run'}", "training.num_train_epochs=1"]
    words += ["training.max_steps=-1", "training.per_device_train_batch_size=1", "training.save_strategy=no"]
    words += ["training.logging_steps=1", "training.use_cpu=true", "training.disable_tqdm=true"]
    assert train(["finetune", *words]) == 0
    state = json.loads((tmp_path / "run" / "trainer_state.json").read_text())
    losses = [entry["loss"] for entry in state["log_history"] if "loss" in entry]
    assert (state["epoch"], state["global_step"], len(losses)) == (1.0, 2, 2)
    assert np.isfinite(losses).all()
    assert (tmp_path / "run" / "model.safetensors").is_file()


def files_of(out):
    """Everything a run leaves but its answers; the page of a review names the folder it lies in."""
    files = sorted(path for path in (out / "dataset").rglob("*") if path.is_file())
    return {path.relative_to(out): path.read_bytes().replace(str(out).encode(), b"OUT") for path in files}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="children are forked")
def test_killed_five_times(clips, finished, tmp_path):
    """At drawn moments: while it describes, and the last time while the data set is written. All files are alike."""
    draw, out = np.random.default_rng(0), tmp_path / "out"
    lines = out / "answers-00000.jsonl"
    whole = (finished.out / lines.name).read_bytes()
    targets = [*sorted(draw.choice(np.arange(1, whole.count(b"\n")), 4, replace=False)), whole.count(b"\n")]
    for target in targets:
        child = os.fork()
        if not child:
            os._exit(annotated(clips, out, finished.describer))
        while not lines.exists() or lines.read_bytes().count(b"\n") < target:
            time.sleep(0.002)
        time.sleep(draw.uniform(0, 0.03))
        os.kill(child, signal.SIGKILL)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert not (out / "dataset").exists()
    assert annotated(clips, out, finished.describer) == 0
    said = [json.loads(line) for line in lines.read_text().splitlines()[1:]]
    asked = [(line["step"], entry["video"], entry["object"]) for line in said for entry in line["said"]]
    assert sorted(asked) == sorted((step, *key) for step, key in itertools.product(STEPS, OBJECTS))
    assert files_of(out) == files_of(finished.out)
    assert lines.read_bytes() == whole
