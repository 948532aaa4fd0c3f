"""The command from end to end: every input through all steps, both outputs through their loaders and a training."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from desa2va.annotation import annotate, endpoint, measured
from desa2va.cli import main
from desa2va.training.data.readers import READERS
from desa2va.training.data.record_media import read_frames
from desa2va.training.data.records import Record
from desa2va.training.data.sources import open_source
from tests.annotation.layouts import write_palettes, write_sav
from tests.desa2va.chat_server import chat_server, completion

FILES = ("annotations.jsonl", "train/expressions.jsonl", "train/video_datas/Ref-SAV.json")


def annotated(videos, masks, out, *words):
    return main(["annotate", str(videos), "--masklets", str(masks), "--out", str(out), "--validation", "0", *words])


def rows_of(out):
    lines = (out / "dataset" / "annotations.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def written(out):
    return [(out / "dataset" / name).read_bytes() for name in FILES]


def ours(out, split="train"):
    return list(open_source(str(out / "dataset" / split / "expressions.jsonl")).records())


def ref_sav(out, captions="both", split="train"):
    root = out / "dataset" / split
    return list(READERS["ref_sav"].read(root, "train", captions=captions))


@pytest.mark.parametrize("write", [write_palettes, write_sav])
def test_both_outputs_hold_the_masklets(tmp_path, write):
    """Long and short, with the pixels that went in: SA-V's on every fourth frame in both, palettes on all in ours."""
    out = tmp_path / "out"
    assert annotated(*write(tmp_path), out) == 0
    (own,), (sav,) = ours(out), ref_sav(out)
    assert isinstance(sav, Record)
    expected = [row[kind] for row in rows_of(out)[:2] for kind in ("long", "short")]
    assert [dialogue.ids["text"] for dialogue in own.dialogues] == expected
    assert [dialogue.ids["exp"] for dialogue in sav.dialogues] == expected
    step = 1 if write is write_sav else 4
    assert (own.num_frames, sav.num_frames) == (6, len(range(0, 6, step)))
    for mine, theirs in zip(own.dialogues, sav.dialogues, strict=True):
        assert np.array_equal(own.masks(mine)[:, ::step], sav.masks(theirs))
        assert own.masks(mine).any()
    assert np.array_equal(read_frames(own, [0, 4]), read_frames(sav, [0, 4 // step]))
    skipped = rows_of(out)[2]
    assert (skipped["status"], skipped["reason"][:9]) == ("skipped", "too small")


def test_every_word_has_its_origin(tmp_path):
    out = tmp_path / "out"
    annotated(*write_sav(tmp_path), out)
    row = rows_of(out)[0]
    assert [entry["step"] for entry in row["steps"]] == ["crop", "blanked", "check", "scene", "video", "short"]
    assert {entry["model"] for entry in row["steps"]} == {"measured"}
    assert all(entry["prompt"].startswith("1 ") for entry in row["steps"])
    assert row["steps"][4]["frames"] == [0, 4, 8, 12, 16, 20]
    assert row["long"] == row["steps"][4]["text"]


def test_the_short_way_back(tmp_path):
    """Validation and training share no video, whatever its masks are called."""
    for number in range(12):
        videos, masks = write_palettes(tmp_path, f"clip{number}", num_frames=2)
    out = tmp_path / "out"
    words = ["annotate", str(videos), "--masklets", str(masks), "--out", str(out), "--validation", "0.4"]
    assert main(words) == 0
    names = [{Path(record.paths[0]).parent.name for record in ours(out, split)} for split in ("train", "validation")]
    assert names[0]
    assert names[1]
    assert not names[0] & names[1]
    assert len(names[0] | names[1]) == 12
    report = json.loads((out / "dataset" / "report.json").read_text())
    assert [report["table"][part]["videos"] for part in ("train", "validation", "all")] == [*map(len, names), 12]
    assert report["duplicates"]["long"]["across_videos"] == 24


def test_decisions_of_a_review(tmp_path, capsys):
    """Edits and rejections are kept with the run, and asked nobody again."""
    out, file = tmp_path / "out", tmp_path / "decisions.json"
    videos, masks = write_palettes(tmp_path)
    annotated(videos, masks, out)
    page = (out / "dataset" / "review.html").read_text()
    assert page.count("<article") == 2
    assert rows_of(out)[0]["long"] in page
    edited = {"video": "clip", "object": "1", "verdict": "edit", "long": "A  <b>bold</b> thing.", "short": ""}
    rejected = {"video": "clip", "object": "2", "verdict": "reject"}
    file.write_text(json.dumps({"format": "desa2va review 1", "decisions": [edited, rejected]}))
    assert annotated(videos, masks, out, "--decisions", str(file)) == 0
    assert annotated(videos, masks, out) == 0
    first, second = rows_of(out)[:2]
    assert (first["long"], first["short"], first["review"]) == ("A <b>bold</b> thing.", None, "edit")
    assert (second["status"], second["reason"]) == ("dropped", "review: rejected")
    assert "&lt;b&gt;bold" in (out / "dataset" / "review.html").read_text()
    assert [dialogue.ids["text"] for dialogue in ours(out)[0].dialogues] == ["A <b>bold</b> thing."]
    capsys.readouterr()
    file.write_text(json.dumps({"format": "desa2va review 1", "decisions": [{**rejected, "verdict": "maybe"}]}))
    assert annotated(videos, masks, out, "--decisions", str(file), "--decisions", str(file)) == 2
    assert "decision 0: needs video, object and one of accept, edit, reject" in capsys.readouterr().err


@pytest.mark.skipif(not hasattr(os, "fork"), reason="children are forked")
def test_killed_five_times_the_files_are_the_same(tmp_path, monkeypatch):
    """At drawn moments, between any two answers; nothing is asked twice."""
    for name in ("a", "b", "c"):
        videos, masks = write_palettes(tmp_path, name)
    asked, usual = tmp_path / "asked", measured.MeasuringDescriber.answers

    def slowly(self, asks):
        for group in usual(self, asks):
            yield group
            with asked.open("a") as file:  # only reached when the group is written
                file.write("".join(f"{ask.key} {ask.step}\n" for ask in asks))
            time.sleep(0.02)

    monkeypatch.setattr(measured.MeasuringDescriber, "answers", slowly)
    words = ("--batch-size", "1")
    assert annotated(videos, masks, tmp_path / "whole", *words) == 0
    whole = sorted(asked.read_text().splitlines())
    asked.unlink()
    draw, kills = np.random.default_rng(0), 0
    for target in sorted(draw.choice(np.arange(1, 35), 5, replace=False)):
        child = os.fork()
        if not child:
            os._exit(annotated(videos, masks, tmp_path / "broken", *words))
        while not asked.exists() or len(asked.read_text().splitlines()) < target:
            time.sleep(0.005)
        os.kill(child, signal.SIGKILL)
        kills += os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert kills == 5
    assert annotated(videos, masks, tmp_path / "broken", *words) == 0
    found = sorted(asked.read_text().splitlines())
    assert len(found) >= len(whole) - 5  # a kill may fall between the answer's line and this count
    assert len(set(found)) == len(found)
    assert written(tmp_path / "broken") == written(tmp_path / "whole")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="children are forked")
def test_two_processes_make_the_same_files(tmp_path):
    """What `accelerate launch` starts: each takes every other unit, the first writes what both answered."""
    for name in ("a", "b", "c"):
        videos, masks = write_palettes(tmp_path, name)
    assert annotated(videos, masks, tmp_path / "alone", "--batch-size", "1") == 0
    program = Path(__file__).with_name("divided_processes.py")
    done = subprocess.run(
        [sys.executable, str(program), str(videos), str(masks), str(tmp_path / "both")],
        env={**os.environ, "PYTHONPATH": str(program.parents[2]), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.count("written to") == 1
    lines = [(tmp_path / "both" / f"answers-0000{rank}.jsonl").read_text().count("\n") for rank in (0, 1)]
    assert lines == [1 + 4 * 6, 1 + 2 * 6]
    assert written(tmp_path / "both") == written(tmp_path / "alone")


def test_an_endpoint_that_goes_away_and_comes_back(tmp_path, capsys, monkeypatch):
    """What is finished makes a data set, the exit code says that something waits, the next run asks the rest alone."""
    videos, masks = write_palettes(tmp_path)
    out, away = tmp_path / "out", []

    def answer(body):
        content = body["messages"][0]["content"]
        prompt = content if isinstance(content, str) else content[-1]["text"]
        if "yellow border" in prompt and not away:
            return (503, {}, b"")
        return completion("no idea" if "Name the object" in prompt else "Yes, it is a thing.")

    with chat_server(answer) as (url, requests):
        words = ("--describer", "big", "--endpoint", url, "--retries", "0", "--prices", "1", "10", "--max-cost", "1")
        assert annotated(videos, masks, out, *words) == 1
        assert "2 objects got no answer, the first clip, object 1: video: " in capsys.readouterr().out
        assert [row["status"] for row in rows_of(out)] == ["unanswered", "unanswered", "skipped"]
        away.append("no more")
        before = len(requests)
        assert annotated(videos, masks, out, *words) == 0
        assert len(requests) - before == 4
        monkeypatch.setattr(endpoint, "PATIENCE", 1)
    assert [row["short"] for row in rows_of(out)[:2]] == ["no idea", "no idea"]
    report = json.loads((out / "dataset" / "report.json").read_text())
    assert report["tokens"] == {"requests": 120, "answers": 24, "cost": 0.0004}
    write_palettes(tmp_path / "more")
    capsys.readouterr()
    assert annotated(tmp_path / "more" / "frames", tmp_path / "more" / "masks", tmp_path / "o2", *words) == 1
    assert "stopped early" in capsys.readouterr().out


def test_a_spent_budget_counts_what_earlier_runs_spent(tmp_path, capsys):
    """20 of each answer: the third is not asked for, in this run or the next."""
    videos, masks = write_palettes(tmp_path)
    with chat_server(lambda body: completion("A thing.", 10, 10)) as (url, requests):
        words = ("--describer", "big", "--endpoint", url, "--prices", "1e6", "1e6", "--max-cost", "40")
        words += ("--batch-size", "1")
        for _ in range(2):
            assert annotated(videos, masks, tmp_path / "out", *words) == 1
            assert "stopped early" in capsys.readouterr().out
        assert len(requests) == 2


def test_another_describer_is_another_run(tmp_path, capsys):
    videos, masks = write_palettes(tmp_path)
    annotated(videos, masks, tmp_path / "out")
    (tmp_path / "prompts").mkdir()
    (tmp_path / "prompts" / "crop.txt").write_text("version: 2\n\nWhat is it?\n")
    capsys.readouterr()
    assert annotated(videos, masks, tmp_path / "out", "--prompts", str(tmp_path / "prompts")) == 2
    assert "prompts.crop is" in capsys.readouterr().err


@pytest.mark.parametrize("more", [-500, 3000], ids=["answers", "dataset"])
def test_a_full_disk_keeps_what_is_finished(tmp_path, more, capfd):
    """One clear error, while answers are kept or the data set is written, and no half of it; with room again the run
    goes on, and its files are those of an undisturbed one.
    """
    resource = pytest.importorskip("resource")
    videos, masks = write_palettes(tmp_path)
    assert annotated(videos, masks, tmp_path / "whole") == 0
    answers = (tmp_path / "whole" / "answers-00000.jsonl").read_bytes()
    room = len(answers) + more
    child = os.fork()
    if not child:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))
        os._exit(annotated(videos, masks, tmp_path / "out"))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 2
    assert "File too large" in capfd.readouterr().err
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["answers-00000.jsonl"]
    kept = (tmp_path / "out" / "answers-00000.jsonl").read_bytes()
    assert answers.startswith(kept[: kept.rindex(b"\n") + 1])
    assert 2 <= kept.count(b"\n") < 7 if more < 0 else kept == answers
    assert annotated(videos, masks, tmp_path / "out") == 0
    assert (tmp_path / "out" / "answers-00000.jsonl").read_bytes().startswith(kept[: kept.rindex(b"\n") + 1])
    assert written(tmp_path / "out") == written(tmp_path / "whole")


def test_a_round_trip(tmp_path, capsys):
    """The shipped model knows a red square; a second run measures nothing again."""
    out = tmp_path / "out"
    videos, masks = write_sav(tmp_path)
    assert annotated(videos, masks, out, "--round-trip", "desa2va-tiny", "--device", "cpu") == 0
    found = json.loads((out / "dataset" / "report.json").read_text())["round_trip"]
    assert (found["model"], found["long"]["count"], found["short"]["count"]) == ("desa2va-tiny", 2, 2)
    assert all(0 <= entry["iou"] <= 1 for entry in found["least"])
    before = (out / "round_trip.jsonl").read_bytes()
    assert before.count(b"\n") == 5
    assert annotated(videos, masks, out, "--round-trip", "desa2va-tiny", "--device", "cpu") == 0
    assert (out / "round_trip.jsonl").read_bytes() == before
    assert "round trip" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["absent", "--masklets", "absent"], "there is no file or folder absent"),
        (["."], "--masklets is missing"),
        ([".", "--masklets", ".", "--validation", "2"], "'2' is no number of at least 0 and at most 1"),
        ([".", "--masklets", ".", "--endpoint", "localhost:1"], "an endpoint is an address like"),
    ],
)
def test_wrong_words_are_one_line(words, told, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_palettes(tmp_path / "data")
    assert main(["annotate", *words, "--out", "out"]) == 2
    assert told in capsys.readouterr().err


def test_the_program_is_the_command(tmp_path, capsys):
    videos, masks = write_palettes(tmp_path)
    words = [str(videos), "--masklets", str(masks), "--out", str(tmp_path / "out"), "--limit", "1"]
    assert annotate.main(words) == 0
    assert "written to" in capsys.readouterr().out
