"""Two trainings in one folder write over each other's checkpoints."""

import os
import signal

import pytest

from desa2va.training.folder_lock import LOCK_FILE, folder_lock
from desa2va.training.train import run_recipe


@pytest.fixture
def holder(tmp_path):
    """The number of another process that trains in `tmp_path / "run"`."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        with folder_lock(tmp_path / "run"):
            os.write(writing, b"x")
            signal.pause()
    os.read(reading, 1)
    yield child
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


@pytest.mark.parametrize("stages", [None, [{"name": "one"}]])
def test_the_second_training_is_refused_by_name(holder, tmp_path, stages):
    config = {"output_dir": str(tmp_path / "run"), **({"stages": stages} if stages else {})}
    with pytest.raises(BlockingIOError, match=rf"run is being trained by process {holder} on"):
        run_recipe(config)
    assert [path.name for path in (tmp_path / "run").iterdir()] == [LOCK_FILE]


def test_a_lock_dies_with_its_process(tmp_path):
    """A file that outlives a kill would refuse every later run."""
    child = os.fork()
    if child == 0:
        with folder_lock(tmp_path):
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    assert (tmp_path / LOCK_FILE).is_file()
    with folder_lock(tmp_path):
        assert f"process {os.getpid()} " in (tmp_path / LOCK_FILE).read_text()
    assert not list(tmp_path.iterdir())


def test_of_one_distributed_training_the_first_process_holds_it(holder, tmp_path, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    with folder_lock(tmp_path / "run"):
        pass
