"""Judges on the command line: an endpoint that is a stub here, and a model of transformers that always says 2."""

import json

import pytest
import torch
from transformers import AutoTokenizer, GPT2Config, GPT2LMHeadModel

from desa2va.cli import main
from desa2va.eval.benchmarks.judges import KEPT, EndpointJudge, KeptJudge, LocalJudge, read_grade, read_grades
from desa2va.openai_client import EndpointError
from tests.desa2va.chat_server import chat_server, completion
from tests.eval.benchmarks.test_question_videos import write_mmbench_video


@pytest.mark.parametrize(
    ("said", "grade"),
    [("3", 3), (" 0.", 0), ("Grade: 2", 2), ("**1**", 1), ("2\n2", 2), ("(3)", 3)]
    + [
        ("", None),
        ("4", None),
        ("12", None),
        ("2.5", None),
        ("-1", None),
        ("1 or 2", None),
        ("2-3", None),
        ("Q3", None),
    ],
)
def test_a_grade_is_the_one_that_is_named(said, grade):
    """A half grade read as 2 or 5, or the first of two, would be a grade that the judge did not give."""
    assert read_grade(said) == grade


@pytest.fixture
def grades():
    """An endpoint's answers: 3 where the candidate says nothing, else a word that is no grade."""
    return lambda body: completion("3" if "Candidate: nothing" in body["messages"][1]["content"] else "good")


def test_what_was_judged_is_not_asked_again(tmp_path, grades):
    """Every grade costs; a line that a kill cut off is asked again, another judge or wording is asked anew."""
    with chat_server(grades) as (url, requests):
        judge = KeptJudge(EndpointJudge("big", url), tmp_path)
        assert judge("What?", "Nothing.", "nothing") == 3
        assert judge("What?", "Nothing.", "a cat") is None
        path = tmp_path / KEPT
        path.write_bytes(path.read_bytes()[:-5])
        again = KeptJudge(EndpointJudge("big", url), tmp_path)
        assert again("What?", "Nothing.", "nothing") == 3
        assert len(requests) == 2
        assert again("What?", "Nothing.", "a cat") is None
        assert len(requests) == 3
        assert KeptJudge(EndpointJudge("small", url), tmp_path)("What?", "Nothing.", "nothing") == 3
        assert len(requests) == 4
    assert len(read_grades(path)) == 3
    system, asked = requests[0]["body"]["messages"]
    assert "0, 1, 2 or 3" in system["content"]
    assert asked["content"] == "Question: What?\nTrue answer: Nothing.\nCandidate: nothing\nGrade:"


@pytest.mark.parametrize("line", ['{"key": "a", "grade": 7}', '{"grade": 1}', "[]", "nonsense"])
def test_a_damaged_file_of_grades_is_named(tmp_path, line):
    (tmp_path / KEPT).write_text(f"{line}\n")
    with pytest.raises(ValueError, match=f"{KEPT}, line 0"):
        KeptJudge(EndpointJudge("big", "http://localhost/v1"), tmp_path)


def test_the_command_line_with_an_endpoint(tmp_path, capsys, grades, monkeypatch):
    """Answers are made, then judged; with --score-only kept ones are, and nothing is paid twice. No answer of the
    model is "nothing", so no grade is read: 0 of all, none valid.
    """
    monkeypatch.setenv("OPENAI_API_KEY", "own")
    write_mmbench_video(tmp_path)
    words = ["eval", "mmbench_video-test", "--data", str(tmp_path), "--out", str(tmp_path / "out"), "--device", "cpu"]
    with chat_server(grades) as (url, requests):
        judge = ["--judge", "big", "--judge-url", url]
        assert main([*words, *judge]) == 0
        asked = len(requests)
        assert {request["headers"]["Authorization"] for request in requests} == {"Bearer own"}
        assert main([*words, *judge, "--score-only"]) == 0
        assert len(requests) == asked
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    figures = report["figures"]
    assert (figures["n"], figures["n_valid"], figures["coarse_all"]["Overall"]) == (3, 0, 0)
    assert figures["judge"] == f"big at {url}, wording 1"
    assert len(read_grades(tmp_path / "out" / KEPT)) == asked - 1  # one to see whether it answers at all
    capsys.readouterr()


def test_what_can_not_be_judged_is_told_before_anything_is_answered(tmp_path, capsys):
    write_mmbench_video(tmp_path)
    words = [
        "eval",
        "mmbench_video-test",
        "--data",
        str(tmp_path),
        "--out",
        str(tmp_path / "out"),
        "--model",
        "nowhere",
    ]

    def told(*more):
        assert main([*words, *more]) == 2
        return capsys.readouterr().err

    with chat_server(lambda body: (401, {}, b"who are you")) as (url, _):
        assert "refuses: HTTP 401" in told("--judge", "big", "--judge-url", url)
        assert "--judge-url needs --judge" in told("--judge-url", url)
        assert "leave out --score-workers" in told("--judge", "big", "--judge-url", url, "--score-workers", "2")
    assert "an endpoint is an address" in told("--judge", "big", "--judge-url", "localhost")
    assert str(tmp_path / "no") in told("--judge", str(tmp_path / "no"))
    assert not (tmp_path / "out").exists()
    words[1] = "mmstar-val"
    assert "grades free answers, of mmbench_video-test; mmstar-val has none" in told("--judge", "big")


def test_an_endpoint_that_fails_keeps_what_is_graded(tmp_path, grades):
    """The run ends with the endpoint's words, and goes on behind the last grade."""
    answers = iter([completion("1"), (403, {}, b"out of credit")])
    with chat_server(lambda body: next(answers)) as (url, _):
        judge = KeptJudge(EndpointJudge("big", url), tmp_path)
        assert judge("a", "b", "c") == 1
        with pytest.raises(EndpointError, match="out of credit"):
            judge("d", "e", "f")
    assert list(read_grades(tmp_path / KEPT).values()) == [1]


@pytest.fixture
def always_two(tmp_path, processor):
    """A folder with a language model of 16 channels that says 2 and ends: its blocks add nothing, behind the digit
    comes the end, behind all else the digit.
    """
    tokenizer = processor.tokenizer
    digit, end = tokenizer.convert_tokens_to_ids("2"), tokenizer.eos_token_id
    ends = {"eos_token_id": end, "bos_token_id": end, "pad_token_id": end}
    model = GPT2LMHeadModel(
        GPT2Config(vocab_size=len(tokenizer), n_embd=16, n_layer=1, n_head=2, tie_word_embeddings=False, **ends)
    )
    with torch.no_grad():
        for name in ("wte", "wpe"):
            getattr(model.transformer, name).weight.zero_()
        for part in (model.transformer.h[0].attn, model.transformer.h[0].mlp):
            part.c_proj.weight.zero_()
        model.transformer.wte.weight[:, 0] = 1
        model.transformer.wte.weight[digit] = torch.eye(16)[1]
        model.lm_head.weight.zero_()
        model.lm_head.weight[digit, 0] = model.lm_head.weight[end, 1] = 1
    folder = tmp_path / "judge"
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("template", [None, "{% for turn in messages %}{{ turn['content'] }} {% endfor %}"])
def test_a_model_of_transformers(tmp_path, always_two, template):
    """With a template for conversations and without; its weights tell it from another of its name."""
    tokenizer = AutoTokenizer.from_pretrained(always_two)
    tokenizer.chat_template = template
    tokenizer.save_pretrained(always_two)
    judge = KeptJudge(LocalJudge(str(always_two), "cpu"), tmp_path)
    judge.check()
    assert judge("What is it?", "a cat", "a dog") == 2
    assert f"{always_two}, weights " in judge.identity
    (entry,) = map(json.loads, (tmp_path / KEPT).read_text().splitlines())
    assert entry["said"].strip() == "2"
