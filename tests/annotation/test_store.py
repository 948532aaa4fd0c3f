"""Answers on disk: what a kill leaves, and what belongs to another run."""

import json
import os

import pytest

from desa2va.annotation.store import Answers, AnswersWriter, Said

IDENTITY = {"describer": {"name": "a"}, "batch_size": 2}


def said(number, text="text", dropped=None):
    return Said("clip", str(number), text, [0, 4], dropped)


def written(folder, rank=0):
    with AnswersWriter(Answers(folder, IDENTITY), rank) as writer:
        writer.write("crop", [said(1), said(2, "", "no words")], (10, 2))
        writer.write("blanked", [said(1)], (5, 1))
    return folder / f"answers-{rank:05d}.jsonl"


def test_what_is_written_is_read(tmp_path):
    """Which step comes next follows from it; a dropped masklet has none."""
    written(tmp_path)
    answers = Answers(tmp_path, IDENTITY)
    assert answers.of(("clip", "1")) == {"crop": said(1), "blanked": said(1)}
    assert [answers.next_step(("clip", str(k))) for k in (1, 2, 3)] == ["check", None, "crop"]
    assert answers.dropped(("clip", "2")) == "crop: no words"
    assert answers.tokens == [15, 3]


def test_every_cut_of_the_last_line_costs_that_line_alone(tmp_path):
    """What a kill or a full disk leaves is cut off when the file is opened again, and nothing before it."""
    path = written(tmp_path)
    whole = path.read_bytes()
    last = whole.rstrip(b"\n").rindex(b"\n") + 1
    for length in (last, last + 1, len(whole) - 1):
        path.write_bytes(whole[:length])
        with AnswersWriter(Answers(tmp_path, IDENTITY), 0) as writer:
            assert writer.answers.next_step(("clip", "1")) == "blanked"
            writer.write("blanked", [said(1)], (5, 1))
        assert path.read_bytes() == whole
    path.write_bytes(whole[:20])
    assert Answers(tmp_path, IDENTITY).of(("clip", "1")) == {}


def test_a_short_expression_may_fail_alone(tmp_path):
    with AnswersWriter(Answers(tmp_path, IDENTITY), 0) as writer:
        for step in ("crop", "blanked", "check", "scene", "video"):
            writer.write(step, [said(1)], (0, 0))
        writer.write("short", [said(1, "x", "too long")], (0, 0))
    answers = Answers(tmp_path, IDENTITY)
    assert answers.dropped(("clip", "1")) is None
    assert answers.next_step(("clip", "1")) is None
    assert "short" not in answers.texts(("clip", "1"))


def test_another_run_is_refused(tmp_path):
    written(tmp_path)
    with pytest.raises(ValueError, match='describer.name is "a", not "b"'):
        Answers(tmp_path, {**IDENTITY, "describer": {"name": "b"}})


def test_damage_is_told(tmp_path):
    path = written(tmp_path)
    line = json.loads(path.read_text().splitlines()[1])
    path.write_text(path.read_text() + json.dumps(line) + "\n")
    with pytest.raises(ValueError, match="object 1: crop is answered twice; remove the file"):
        Answers(tmp_path, IDENTITY)
    path.write_text(path.read_text().splitlines()[0] + '\n{"step": "crop", "said": [{"video": 3}]}\n')
    with pytest.raises(ValueError, match=r"answers-00000.jsonl"):
        Answers(tmp_path, IDENTITY)


@pytest.mark.skipif(os.name == "nt", reason="no such locks")
def test_two_processes_do_not_write_one_file(tmp_path):
    answers = Answers(tmp_path, IDENTITY)
    with AnswersWriter(answers, 0), pytest.raises(BlockingIOError, match="another process"):
        AnswersWriter(answers, 0)
