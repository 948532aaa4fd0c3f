"""Folders as targets: complete or absent, never somebody else's, whoever writes at the same time."""

import errno
import json
import os
import shutil
import signal
import threading
from pathlib import Path

import pytest

from desa2va.processing.files import check_folder_target, folder_targets, output_folder
from desa2va.processing.files.claims import Claim, hidden_sibling, make_folder, signals_wait
from desa2va.processing.files.folder_targets import MARKER


def write(target, text="new", **options):
    """A result of one file."""
    with output_folder(target, **options) as folder:
        (folder / "result.json").write_text(text)


def content(folder):
    """File names and texts below a folder, without markers."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != MARKER)
    return {str(path.relative_to(folder)): path.read_text() for path in files}


def test_a_folder_is_complete_or_absent(tmp_path):
    """An error half-way must leave no folder that looks like a result, no parents, and an old one untouched."""
    for target in (tmp_path / "out", tmp_path / "a" / "b" / "c"):
        with pytest.raises(ZeroDivisionError), output_folder(target) as folder:
            (folder / "half").write_text(str(1 / 0))
    assert list(tmp_path.iterdir()) == []
    write(tmp_path / "a" / "b" / "c", "old", replace=False)
    with pytest.raises(ZeroDivisionError), output_folder(tmp_path / "a" / "b" / "c", replace=True):
        _ = 1 / 0
    assert content(tmp_path) == {"a/b/c/result.json": "old"}


def test_a_result_is_replaced_when_the_new_one_is_there(tmp_path):
    """Removed before, both would be lost to a full disk."""
    target = tmp_path / "out"
    write(target, "old", replace=False)
    with output_folder(target, replace=True) as folder:
        (folder / "result.json").write_text("new")
        assert content(target) == {"result.json": "old"}
    assert content(target) == {"result.json": "new"}
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    with pytest.raises(FileExistsError, match="--replace"):
        write(target, replace=False)
    with pytest.raises(FileExistsError, match="another target"):
        write(target)


def test_a_full_disk_is_told_with_its_place(tmp_path):
    """The system says "No space left on device" of no file, and the line told nobody which disk."""
    with pytest.raises(OSError, match="No space left") as caught, output_folder(tmp_path / "out"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert caught.value.filename == str(tmp_path / "out")
    with pytest.raises(OSError, match="refused") as caught, output_folder(tmp_path / "out"):
        raise OSError(errno.ECONNREFUSED, "refused")
    assert caught.value.filename is None


def test_a_folder_that_can_not_be_made_is_told_before_the_work(tmp_path, monkeypatch):
    """A calibration of an hour ended with "Read-only file system"."""
    check_folder_target("--out", tmp_path / "a" / "b")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("")
    for target, error in ((tmp_path, FileExistsError), (tmp_path / "file" / "b", PermissionError)):
        with pytest.raises(error):
            check_folder_target("--out", target)
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(PermissionError, match="--out .*nothing can be written in"):
        check_folder_target("--out", tmp_path / "a" / "b")


def refused(target, error, match, **options):
    """Asserts that a target is refused before the block runs, and leaves everything as it was."""
    with pytest.raises(error, match=match), output_folder(target, **options):
        pytest.fail("the work was begun")


def test_only_what_was_written_here_is_replaced(tmp_path):
    """`--out photos --replace` emptied a folder of photographs."""
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "1.jpg").write_text("precious")
    refused(photos, FileExistsError, "was not written by desa2va", replace=True)
    (photos / MARKER).write_text("null")
    refused(photos, FileExistsError, "was not written by desa2va", replace=True)
    write(tmp_path / "out", "old", replace=False)
    (tmp_path / "out" / "notes.txt").write_text("mine")
    refused(tmp_path / "out", FileExistsError, r"holds 'notes\.txt'", replace=True)
    (tmp_path / "file").write_text("mine")
    refused(tmp_path / "file", FileExistsError, "exists", replace=True)
    assert content(tmp_path) == {
        "photos/1.jpg": "precious",
        "out/result.json": "old",
        "out/notes.txt": "mine",
        "file": "mine",
    }


@pytest.mark.parametrize("place", ["working directory", "above it", "home", "input folder", "input file", "root"])
def test_places_one_works_in_are_never_replaced(place, tmp_path, monkeypatch):
    """Even where the marker says that they were written here, and where they are empty."""
    work = tmp_path / "work"
    for folder in (work / "here", work / "home", work / "frames"):
        write(folder, "old", replace=False)
    monkeypatch.chdir(work / "here")
    monkeypatch.setenv("HOME", str(work / "home"))
    targets = {
        "working directory": (".", "the working directory"),
        "above it": ("..", "the working directory"),
        "home": ("~", "your home"),
        "input folder": ("../frames", "the input"),
        "input file": ("../frames", "the input"),
        "root": ("/", "the working directory"),
    }
    target, what = targets[place]
    source = "../frames/result.json" if place == "input file" else "../frames"
    refused(target, ValueError, f"is or holds {what}", replace=True, sources=["https://x.invalid/a.png", source])
    assert len(content(work)) == 3


def test_an_empty_working_directory_stays(tmp_path, monkeypatch):
    """A rename over it would leave the shell in a folder that is gone."""
    monkeypatch.chdir(tmp_path)
    refused(".", ValueError, "working directory")


def test_links_and_mount_points_are_refused_before_the_work(tmp_path, monkeypatch):
    """The rename at the end fails on them, after an hour."""
    (tmp_path / "real").mkdir()
    for name, aim in (("link", "real"), ("dangling", "nowhere")):
        (tmp_path / name).symlink_to(tmp_path / aim)
        refused(tmp_path / name, ValueError, "symbolic link", replace=True)
    monkeypatch.setattr(os.path, "ismount", lambda path: Path(path) == tmp_path / "real")
    refused(tmp_path / "real", ValueError, "mount point")


@pytest.mark.parametrize("replace", [False, True])
def test_of_two_runs_one_wins(tmp_path, replace):
    """Both ended well and one result was lost. The other must say so and leave nothing half."""
    target = tmp_path / "out"
    if replace:
        write(target, "old", replace=False)
    meeting, failed = threading.Barrier(2), []

    def run(text):
        try:
            # Both have looked at the target; neither sees the other's folder. They meet again before the rename.
            with output_folder(target, replace) as folder:
                (folder / "result.json").write_text(text)
                meeting.wait()
        except FileExistsError as error:
            failed.append((text, str(error)))

    runs = [threading.Thread(target=run, args=(text,)) for text in ("one", "two")]
    usual = folder_targets._clear_leftovers
    folder_targets._clear_leftovers = lambda *_: meeting.wait()
    try:
        for thread in runs:
            thread.start()
        for thread in runs:
            thread.join()
    finally:
        folder_targets._clear_leftovers = usual
    assert len(failed) == 1
    loser, message = failed[0]
    assert "another run" in message
    assert content(target) == {"result.json": {"one": "two", "two": "one"}[loser]}
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_target_that_is_being_written_is_refused_at_once(tmp_path):
    """Hours later one of the two would be dropped."""
    target = tmp_path / "out"
    with output_folder(target) as folder:
        refused(target, FileExistsError, "is being written by another run")
        (folder / "a").write_text("a")
    assert content(target) == {"a": "a"}


def test_a_result_somebody_added_to_meanwhile_stays(tmp_path):
    """What was checked an hour ago is looked at again."""
    target = tmp_path / "out"
    write(target, "old", replace=False)
    with pytest.raises(FileExistsError, match="holds 'notes'"), output_folder(target, replace=True):
        (target / "notes").write_text("mine")
    assert content(target) == {"result.json": "old", "notes": "mine"}


def test_a_swap_that_fails_brings_the_old_result_back(tmp_path, monkeypatch):
    """Between the two renames nothing stands at the target."""
    target = tmp_path / "out"
    write(target, "old", replace=False)
    usual = Path.rename

    def rename(self, aim):
        if ".writing-" in self.name:
            raise OSError(5, "Input/output error")
        return usual(self, aim)

    monkeypatch.setattr(Path, "rename", rename)
    with pytest.raises(OSError, match="Input/output"):
        write(target, replace=True)
    assert content(tmp_path) == {"out/result.json": "old"}
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def leave_behind(target, purpose, text):
    """What a killed run leaves."""
    path = hidden_sibling(target, purpose)
    make_folder(path).release()
    (path / "result.json").write_text(text)
    return path


def test_the_next_run_clears_what_a_kill_left(tmp_path):
    """Of this target alone; a result that was moved aside comes back where the new one never arrived."""
    target = tmp_path / "out"
    other = leave_behind(tmp_path / "outer", "writing", "of another target")
    leave_behind(target, "writing", "half")
    aside = leave_behind(target, "replaced", "old")
    (aside / MARKER).write_text(json.dumps({"entries": ["result.json"]}))
    with pytest.raises(ZeroDivisionError), output_folder(target, replace=True):
        _ = 1 / 0
    assert content(target) == {"result.json": "old"}
    leave_behind(target, "replaced", "older")
    write(target, replace=True)
    assert content(target) == {"result.json": "new"}
    assert {path.name for path in tmp_path.iterdir()} == {"out", other.name}


def test_what_is_worth_keeping_is_moved_away(tmp_path):
    """After an error, and of a killed run before the next one begins."""
    target, kept = tmp_path / "out", []

    def rescue(folder):
        kept.append((folder / "result.json").read_text())
        shutil.move(folder, tmp_path / f"kept{len(kept)}")
        return True

    leave_behind(target, "writing", "of the killed")

    def fail(folder):
        (folder / "result.json").write_text("of the failed")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), output_folder(target, rescue=rescue) as folder:
        fail(folder)
    assert kept == ["of the killed", "of the failed"]
    assert {path.name for path in tmp_path.iterdir()} == {"kept1", "kept2"}


def test_folders_have_the_permissions_of_any_other(tmp_path):
    """A private temporary folder stays private after the move; services fail on it."""
    (tmp_path / "plain").mkdir()
    write(tmp_path / "out", replace=False)
    modes = {path.name: path.stat().st_mode for path in tmp_path.iterdir()}
    assert modes["out"] == modes["plain"]


def test_a_claim_is_held_by_one(tmp_path):
    with Claim(tmp_path) as claim:
        assert claim.held
        assert claim.is_of(tmp_path)
        with pytest.raises(BlockingIOError):
            Claim(tmp_path)
    assert Claim(tmp_path / "nowhere").held is False


def test_signals_wait_for_a_clean_up():
    """Ctrl-C while the old result was being removed left half of it behind under a hidden name."""
    done = []

    def clean_up():
        with signals_wait():
            signal.raise_signal(signal.SIGINT)
            done.append(True)

    with pytest.raises(KeyboardInterrupt):
        clean_up()
    assert done == [True]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_interrupt_while_the_old_result_goes_leaves_nothing(tmp_path, monkeypatch):
    target = tmp_path / "out"
    write(target, "old", replace=False)
    usual = shutil.rmtree

    def interrupted(path, **options):
        signal.raise_signal(signal.SIGINT)
        usual(path, **options)

    monkeypatch.setattr(shutil, "rmtree", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write(target, replace=True)
    assert content(target) == {"result.json": "new"}
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
