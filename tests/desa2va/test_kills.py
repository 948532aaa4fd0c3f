"""Commands that are killed, interrupted or run out of disk: nothing lost, nothing left, and the next run goes on.

Each command runs in a forked child, which needs no second import, up to a named moment; there it waits for its signal.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import desa2va.processing.results as results_wing
from desa2va import hub
from desa2va.cli import main
from desa2va.commands import demo, segment, video_folder
from desa2va.modeling_desa2va.conversation import DeSa2VAConversation
from desa2va.processing.files import file_targets, folder_targets
from desa2va.processing.results import read_frame_results

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="children are forked")
EXIT_CODES = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGKILL: -signal.SIGKILL}


def forked(words, prepare=lambda: None):
    """Process id of a child that does `prepare()`, `main(words)` and ends."""
    process = os.fork()
    if not process:
        code = 99  # an error that is no line
        try:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            prepare()
            code = main([str(word) for word in words])
        finally:
            os._exit(code)
    return process


def exit_code(process):
    """Of a child, when it has ended."""
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def stopped_at(words, moment, number, after=0):
    """Exit code of a command that gets signal `number` when it calls `moment` for the `after + 1`st time."""
    reader, writer = os.pipe()
    owner, name = moment

    def prepare():
        usual, calls = getattr(owner, name), []

        def wait(*arguments, **options):
            calls.append(name)
            if len(calls) <= after:
                return usual(*arguments, **options)
            os.write(writer, b"!")
            return time.sleep(60)

        setattr(owner, name, wait)

    process = forked(words, prepare)
    os.close(writer)
    came = os.read(reader, 1)
    os.close(reader)
    os.kill(process, number)
    code = exit_code(process)
    assert came == b"!", "the command ended before the moment came"
    return code


def with_little_disk(words, limit):
    """Exit code and standard error of a command whose files can hold `limit` bytes: what a full disk does to it."""
    resource = pytest.importorskip("resource")
    reader, writer = os.pipe()

    def prepare():
        sys.stderr = open(writer, "w")  # noqa: SIM115 - a file of the test's own would be as short
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    process = forked(words, prepare)
    os.close(writer)
    with open(reader) as told:
        return exit_code(process), told.read()


def content(folder):
    """Every file below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def loaded(saved_model):
    """The saved model and its processor, which no command changes."""
    return hub.load(saved_model, device="cpu")


@pytest.fixture
def commands(saved_model, loaded, picture, frames, tmp_path, monkeypatch):
    """For each command its words, the moment when much of its result is written, and bytes of disk it fails on."""
    for module in (segment, demo):
        monkeypatch.setattr(module, "load_model", lambda args: loaded)
    model = ["--model", saved_model]
    segmenting = [*model, "--max-new-tokens", 2, "--out", tmp_path / "a" / "out", "--replace"]
    scoring = [*model, "--limit", 1, "--videos", 0, "--json", tmp_path / "scores.json"]
    shapes = ["--out", tmp_path / "a" / "out", "--limit", 1, "--split", "train"]
    return {
        "picture": (["segment", picture, "it", *segmenting], (video_folder, "write_answers"), 200),
        "video": (["segment", frames, "it", *segmenting], (results_wing, "write_frame_png"), 200),
        "export": (["export", tmp_path / "a" / "out", *model], (hub, "write_card"), 100_000),
        "demo": (["demo", "--out", tmp_path / "a" / "out", "--replace", *model], (DeSa2VAConversation, "ask"), 500),
        "data": (["data", "refshapes", *shapes], (folder_targets, "_finish"), 200),
        "eval": (["eval", "refshapes", *scoring], (file_targets, "move_file"), 20),
    }


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("name", ["picture", "video", "export", "data", "eval"])
def test_an_interrupt_leaves_nothing(commands, name, number, tmp_path):
    """SIGTERM left hidden folders, and every failure the parents it had made."""
    words, moment, _ = commands[name]
    assert stopped_at(words, moment, number) == EXIT_CODES[number]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["picture", "video", "export", "demo", "data", "eval"])
def test_after_a_kill_the_next_run_goes_on(commands, name, tmp_path):
    """Nobody can clean up after SIGKILL but the next run of the same target."""
    words, moment, _ = commands[name]
    assert stopped_at(words, moment, signal.SIGKILL) == EXIT_CODES[signal.SIGKILL]
    hidden = [path for path in tmp_path.rglob(".*.writing-*") if path.parent in (tmp_path, tmp_path / "a")]
    assert len(hidden) == 1
    assert main([str(word) for word in words]) == 0
    assert not list(tmp_path.rglob(".*.writing-*"))
    assert content(tmp_path)


@pytest.mark.parametrize("name", ["picture", "video"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_an_old_result_survives_its_replacement_that_stops(commands, name, number, tmp_path):
    """It is removed when the new one stands, not before."""
    words, moment, _ = commands[name]
    assert main([str(word) for word in words]) == 0
    old = content(tmp_path / "a" / "out")
    assert stopped_at(words, moment, number) == EXIT_CODES[number]
    assert content(tmp_path / "a" / "out") == old


def test_a_kill_between_the_two_renames_loses_nothing(commands, tmp_path):
    """Then nothing stands at the target; the next run brings the old result back before it looks."""
    words, _, _ = commands["picture"]
    assert main([str(word) for word in words]) == 0
    old = content(tmp_path / "a" / "out")
    assert stopped_at(words, (Path, "rename"), signal.SIGKILL, after=1) == EXIT_CODES[signal.SIGKILL]
    assert not (tmp_path / "a" / "out").exists()
    assert main([str(word) for word in words if word != "--replace"]) == 2
    assert content(tmp_path / "a") == {f"out/{name}": data for name, data in old.items()}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_finished_frames_are_kept(commands, number, tmp_path):
    """Of a killed run the next one keeps them; a line that was cut off half-way goes."""
    words, moment, _ = commands["video"]
    assert stopped_at(words, moment, number, after=2) == EXIT_CODES[number]
    if number == signal.SIGKILL:
        (left,) = (tmp_path / "a").iterdir()
        with open(left / "frames.jsonl", "a") as file:
            file.write('{"frame": 3, "obj')
        (left / "masks" / ".00003.png.writing-0123abcd.png").touch()
        assert main([str(word) for word in words]) == 0
    partial = tmp_path / "a" / "out.partial"
    assert len(list(read_frame_results(partial / "frames.jsonl"))) == 2
    assert len(list((partial / "masks").iterdir())) == 2
    expected = {"out.partial", "out"} if number == signal.SIGKILL else {"out.partial"}
    assert {path.name for path in (tmp_path / "a").iterdir()} == expected


@pytest.mark.parametrize("name", ["picture", "video", "export", "demo", "data", "eval"])
def test_a_full_disk_is_one_line_and_leaves_nothing(commands, name, tmp_path, capfd):
    """A full disk in `export` was a traceback, at the overlay it left a file behind."""
    words, _, limit = commands[name]
    code, told = with_little_disk(words, limit)
    assert code == 2
    assert "Traceback" not in told
    assert "File too large" in told.splitlines()[-1]
    assert ".writing-" not in told
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_fills_at_the_overlay_keeps_all_frames(commands, monkeypatch, tmp_path):
    """The overlay is the largest file and comes last."""
    clip = tmp_path.parent / f"{tmp_path.name}-clip"
    clip.mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (4, 96, 128, 3), np.uint8)  # what video compresses badly
    for number, pixels in enumerate(noise):
        Image.fromarray(pixels).save(clip / f"{number}.png")
    words = [clip if place == 1 else word for place, word in enumerate(commands["video"][0])]
    for name in ("write_coco", "write_result"):
        monkeypatch.setattr(results_wing, name, lambda *_: None)
    assert main([str(word) for word in words]) == 0
    sizes = {path.name: path.stat().st_size for path in (tmp_path / "a" / "out").rglob("*")}
    assert sizes["overlay.mp4"] > sizes["frames.jsonl"] > sizes["00000.png"]
    code, told = with_little_disk(words, sizes["frames.jsonl"])
    assert code == 2
    assert "overlay.mp4: File too large" in told.splitlines()[-1]
    kept = tmp_path / "a" / "out.partial"
    assert len(list(read_frame_results(kept / "frames.jsonl"))) == 4
    assert not list(tmp_path.rglob(".*.writing-*"))


def test_of_two_processes_with_one_target_one_wins(commands, tmp_path):
    """Both ended with exit code 0, and one result was gone."""
    words, _, _ = commands["data"]
    processes = [forked([*words, "--seed", seed]) for seed in (1, 2)]
    assert sorted(exit_code(process) for process in processes) == [0, 2]
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["out"]
    assert len(json.loads((tmp_path / "a" / "out" / "train.json").read_text())) == 1


def test_the_program_itself_ends_cleanly(tmp_path):
    """The same from outside: a process of its own, its handlers, its exit code and its one line."""
    words = ["data", "refshapes", "--out", "out", "--limit", "1000000", "--level", "easy"]
    process = subprocess.Popen(
        [sys.executable, "-m", "desa2va", *words], cwd=tmp_path, stderr=subprocess.PIPE, text=True
    )
    while not list(tmp_path.glob(".out.writing-*/*.json")) and not list(tmp_path.glob(".out.writing-*/images/*")):
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.05)
    process.terminate()
    told = process.communicate()[1]
    assert process.returncode == 143
    assert told.splitlines()[-1] == "desa2va: ended by SIGTERM"
    assert "Traceback" not in told
    assert list(tmp_path.iterdir()) == []
