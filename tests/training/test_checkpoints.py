"""A training that is ended at any moment goes on where it was, and nothing half is taken for whole."""

import signal
from pathlib import Path

import pytest
import torch

from desa2va.training.checkpoints import OBJECTIVE_FILE, is_complete, newest_checkpoint
from desa2va.training.state_file import write_state

PROGRAM = Path(__file__).with_name("interrupted_runs.py")
EXITS = {
    "killed in the first step": -signal.SIGKILL,
    "killed in a file": -signal.SIGKILL,
    "terminated in a file": -signal.SIGTERM,
    "interrupted in a file": 130,
    "disk full": 2,
    "killed before the checkpoint is in place": -signal.SIGKILL,
    "killed while an older checkpoint is removed": -signal.SIGKILL,
    "killed in the model's weights": -signal.SIGKILL,
    "killed before the model is in place": -signal.SIGKILL,
}


@pytest.fixture(scope="module")
def report(run_program):
    """What `interrupted_runs.py` saw."""
    return run_program(PROGRAM)


@pytest.mark.parametrize("way", EXITS)
def test_the_next_run_goes_on_bit_for_bit(report, way):
    """Seven of fifteen kills ended in an EOFError or a missing file at the next start."""
    seen = report[way]
    assert seen["first"] == EXITS[way]
    assert seen["second"] == 0
    assert seen["equal"]
    assert seen["contents"] == report["contents"]


@pytest.mark.parametrize("way", EXITS)
def test_what_lies_there_after_the_end_is_whole(report, way):
    """One complete checkpoint, nothing that only looks like one, and no model that would load.

    An older checkpoint was removed where it lay: half of it, without its optimizer, would have been gone on from.
    """
    seen = report[way]
    assert len(seen["complete"]) == (0 if way == "killed in the first step" else 1)
    assert [name for name in seen["left"] if name.startswith("checkpoint")] == seen["complete"]
    assert "config.json" not in seen["left"]
    assert "stage.json" not in seen["left"]


def test_a_checkpoint_holds_what_is_not_as_it_was_loaded(report):
    """The frozen language model and SAM-2 are in the folder the stage started from; a warm start changed a decoder."""
    stored = report["stored"]
    for part in ("lora_A", "token_adapter.trainable", "decoupling.text", "visual_decoder", "text_decoder"):
        assert any(part in name for name in stored), part
    frozen = ("base_layer.weight", "sam.vision_encoder", "vision_tower.encoder", "decoupling.label")
    assert not [name for name in stored if any(part in name for part in frozen)]


def test_the_corrected_label_projection_is_compared_too(report):
    """It read the phrases since the last start only, so an interrupted training left another one."""
    assert report["label_refit"] is not None


def checkpoint(folder, step):
    place = folder / f"checkpoint-{step}"
    place.mkdir()
    (place / "trainer_state.json").write_text("{}")
    write_state({"weight": torch.zeros(3)}, place / OBJECTIVE_FILE)
    torch.save({"weight": torch.zeros(3)}, place / "rng_state.pth")
    return place


@pytest.mark.parametrize(
    "damage",
    [
        lambda place: (place / OBJECTIVE_FILE).unlink(),
        lambda place: (place / OBJECTIVE_FILE).write_bytes((place / OBJECTIVE_FILE).read_bytes()[:-4]),
        lambda place: (place / "trainer_state.json").unlink(),
        lambda place: (place / "trainer_state.json").write_text('{"global_st'),
        lambda place: (place / "rng_state.pth").write_bytes((place / "rng_state.pth").read_bytes()[:-40]),
        lambda place: (place / "optimizer.pt").touch(),
    ],
)
def test_incomplete_checkpoints_are_passed_over_and_removed(tmp_path, damage):
    """Such as an older version left; kept, they would count among `save_total_limit`."""
    older, newer = checkpoint(tmp_path, 9), checkpoint(tmp_path, 10)
    assert newest_checkpoint(tmp_path) == str(newer)
    damage(newer)
    assert not is_complete(newer)
    assert newest_checkpoint(tmp_path) == str(older)
    assert not newer.exists()


def test_no_checkpoint_is_no_error(tmp_path):
    (tmp_path / ".unfinished").mkdir()
    assert newest_checkpoint(tmp_path) is None
    assert list(tmp_path.iterdir()) == []
    assert newest_checkpoint(tmp_path / "missing") is None
