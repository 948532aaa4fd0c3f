"""Files as targets: complete or absent, and no device, folder or link in their place."""

import os

import pytest

from desa2va.processing.files import VideoWriter, check_file_target, write_file
from desa2va.processing.files.claims import hidden_sibling, make_file


def fill(path):
    path.write_text("new")


@pytest.mark.parametrize(
    ("make", "error", "word"),
    [
        (lambda path: path.mkdir(), IsADirectoryError, "is a folder"),
        (lambda path: os.mkfifo(path), ValueError, "a device or a pipe"),
    ],
)
def test_what_is_no_file_is_refused_before_the_work(make, error, word, tmp_path):
    """`--json /dev/null`, run as root, put a plain file in the place of the device."""
    make(tmp_path / "a.json")
    with pytest.raises(error, match=f"--json .*{word}"):
        check_file_target("--json", tmp_path / "a.json")
    with pytest.raises(ValueError, match="is no file that could be replaced"):
        write_file(tmp_path / "a.json", fill, overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_a_folder_that_is_not_there_is_told_before_the_work(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"--json .*nowhere does not exist"):
        check_file_target("--json", tmp_path / "nowhere" / "a.json")


@pytest.mark.parametrize("write", [lambda path: write_file(path, fill), lambda path: VideoWriter(path, 5.0)])
def test_a_missing_folder_is_named_and_not_the_hidden_file(write, tmp_path):
    """The error spoke of `.x.mp4.writing-59126a81.mp4`, a name that no user ever gave."""
    with pytest.raises(FileNotFoundError, match=r"nowhere.x\.mp4 can not be written: the folder .*nowhere does not"):
        write(tmp_path / "nowhere" / "x.mp4")


def test_a_folder_that_takes_nothing_is_told_before_the_work(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(PermissionError, match="nothing can be written"):
        check_file_target("--json", tmp_path / "a.json")


def test_of_two_writers_one_fails(tmp_path):
    """Looked at before the work alone, the second took the first one's place."""
    path = tmp_path / "a.json"

    def meanwhile(temporary):
        temporary.write_text("second")
        path.write_text("first")

    with pytest.raises(FileExistsError, match="a.json exists"):
        write_file(path, meanwhile)
    assert path.read_text() == "first"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.json"]


def test_a_file_system_without_hard_links_will_do(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "link", lambda *_: (_ for _ in ()).throw(OSError(95, "Operation not supported")))
    write_file(tmp_path / "a.json", fill)
    assert (tmp_path / "a.json").read_text() == "new"
    with pytest.raises(FileExistsError):
        write_file(tmp_path / "a.json", fill)
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.json"]


def test_a_link_keeps_pointing(tmp_path):
    """`scores.json -> /data/scores.json` must not become a file of its own."""
    (tmp_path / "real.json").write_text("old")
    (tmp_path / "link.json").symlink_to("real.json")
    write_file(tmp_path / "link.json", fill, overwrite=True)
    assert (tmp_path / "link.json").is_symlink()
    assert (tmp_path / "real.json").read_text() == "new"


def test_the_next_run_clears_what_a_kill_left(tmp_path):
    """What another run is writing right now stays."""
    target = tmp_path / "a.json"
    left, held = hidden_sibling(target, "writing"), hidden_sibling(target, "writing")
    make_file(left).release()
    claim = make_file(held)
    check_file_target("--json", target)
    assert not left.exists()
    assert held.exists()
    claim.release()
