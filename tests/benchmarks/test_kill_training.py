"""What the benchmark of kills calls damaged: one that finds none would report none."""

import pytest
import torch

from benchmarks.kill_training import look_at
from desa2va.training.checkpoints import OBJECTIVE_FILE
from desa2va.training.state_file import write_state
from desa2va.training.trainer import AUXILIARY_FILE


def checkpoint(folder, step):
    place = folder / f"checkpoint-{step}"
    place.mkdir()
    (place / "trainer_state.json").write_text("{}")
    for name in (OBJECTIVE_FILE, AUXILIARY_FILE):
        write_state({"weight": torch.zeros(3)}, place / name)
    for name in ("optimizer.pt", "scheduler.pt"):
        torch.save({"weight": torch.zeros(3)}, place / name)
    return place


@pytest.mark.parametrize(
    "damage",
    [
        lambda place: (place / "optimizer.pt").unlink(),
        lambda place: (place / AUXILIARY_FILE).write_bytes((place / AUXILIARY_FILE).read_bytes()[:-4]),
        lambda place: (place / "trainer_state.json").write_text("{"),
    ],
)
def test_a_checkpoint_that_is_not_whole_is_counted(tmp_path, damage):
    assert look_at(tmp_path) == (0, 0)
    checkpoint(tmp_path, 9)
    newest = checkpoint(tmp_path, 10)
    assert look_at(tmp_path) == (10, 0)
    damage(newest)
    assert look_at(tmp_path) == (10, 1)
