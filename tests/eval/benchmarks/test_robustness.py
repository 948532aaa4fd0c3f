"""Robustness: the variants of a sample, figures by hand, what is done to a picture, and the shipped model."""

import io
import json

import numpy as np
import pytest
from PIL import Image

from desa2va.cli import main
from desa2va.eval.benchmarks.names import open_benchmark
from desa2va.eval.benchmarks.questions import Answer
from desa2va.eval.benchmarks.robust_answers import RobustAnswerer, recoded, round_trip
from desa2va.eval.benchmarks.runner import Run
from desa2va.processing import processing_desa2va as room
from tests.eval.benchmarks.layouts import answer_of, box, write_clips, write_refcoco
from tests.training.data.readers.picture_layouts import SIZE, box_mask

RECODED = ["jpeg60", "jpeg75", "jpeg85", "jpeg95", "darker", "brighter"]
NAME = "robustness-refcoco-unc-val"


@pytest.fixture
def root(tmp_path):
    """Two objects on the first picture, the first with two sentences; one on the second."""
    pictures = {9: [(1, 1, ["the box", "left one"]), (2, 2, ["the tall one"])], 11: [(3, 1, ["that"])]}
    return write_refcoco(tmp_path / "data", pictures)


def questions(root, **options):
    plan = Run(open_benchmark(NAME), root, root / "out", **options).plan()
    return {question.id: question for _, found in plan.all_questions() for question in found}


def test_the_variants_of_a_sample(root):
    """With another target in the picture the other prompts mean that one; alone, a mirror image and foreign words."""
    found = questions(root)
    samples = list(dict.fromkeys(name.rpartition("/")[0] for name in found))
    assert len(samples) == 2
    first, second = (
        {name.rpartition("/")[2]: found[name] for name in found if name.startswith(f"{one}/")} for one in samples
    )
    shared = ["plain", "wording1", "wording2", "wording3", *RECODED, "point", "box", "mask", "wide", "tall"]
    other = ["other_words", "other_point", "other_box", "other_mask"]
    assert sorted(first) == sorted([*shared, "sentence1", *other])
    assert sorted(second) == sorted([*shared, *other])
    assert [
        first[name].prompt for name in ("plain", "wording1", "wording2", "wording3", "sentence1", "other_words")
    ] == [
        "Please segment the box.",
        "segment the box",
        "Find the box.",
        "Can you segment the box?",
        "Please segment left one.",
        "Please segment the tall one.",
    ]
    assert first["jpeg60"].prompt == first["plain"].prompt
    assert np.array_equal(first["box"].truth(), box(1))
    assert np.array_equal(first["other_box"].truth(), box(2))
    assert np.array_equal(second["other_mask"].truth(), np.flip(box(1), 2))
    assert second["other_words"].prompt == "Please segment the box."


def test_a_limit_counts_pictures(root):
    """Half of a sample's variants would make figures of nothing."""
    assert len({name.rpartition("/")[0] for name in questions(root, limit=1)}) == 1
    assert len(questions(root, limit=1)) == 20


def test_figures_by_hand(root, evaluate):
    """The first sample alone.

    Wordings: the target, its half, the target, nothing: (1/2 + 1 + 0 + 1/2 + 0 + 0) / 6 = 1/3. The other sentence: the
    half, 1/2. JPEG 60 finds nothing, 75 and the darker one the half. Words: the target, then the other object: moved
    by 1. The point stays on the target whatever it meets; the box follows; the mask means the wrong one of both.
    """
    half = box_mask(4, 4, 24, 14)[None]
    told = {"error_px": 0.5, "seen_px": 1.5, "mask_px": 3.0}
    answers = {name: answer_of(box(1)) for name in ("plain", "wording2", "jpeg85", "jpeg95", "brighter")}
    answers |= {name: answer_of(half) for name in ("wording1", "sentence1", "jpeg75", "darker")}
    answers |= {"other_words": answer_of(box(2)), "point": answer_of(box(1)), "other_point": answer_of(box(1))}
    answers |= {"box": answer_of(box(1)), "other_box": answer_of(half)}
    answers |= {"mask": answer_of(box(2)), "other_mask": answer_of(box(1))}
    answers |= {
        "wide": Answer("ok", text=json.dumps(told)),
        "tall": Answer("ok", text=json.dumps({**told, "seen_px": None})),
    }
    sample = next(iter(questions(root))).rpartition("/")[0]
    known = {f"{sample}/{name}": answer for name, answer in answers.items()}
    report = evaluate(NAME, root, known, limit=1)
    figures = report["figures"]
    assert figures["wordings"] == {"agreement": pytest.approx(1 / 3), "agreement_se": None, "n": 1}
    assert figures["sentences"]["agreement"] == 0.5
    assert [figures[name]["flips"] for name in RECODED] == [1, 0, 0, 0, 0, 0]
    assert [figures[name]["agreement"] for name in RECODED] == [0, 0.5, 1, 1, 0.5, 1]
    kinds = ("words", "point", "box", "mask")
    assert [figures[name]["moved"] for name in kinds] == [1, 0, 0.5, 1]
    assert [figures[name]["still"] for name in kinds] == [0, 1, 0, 0]
    assert [figures[name]["followed"] for name in kinds] == [1, 0, 1, 0]
    assert figures["wide"] == {"error_px": 0.5, "seen_px": 1.5, "mask_px": 3.0, "within": 0, "n": 1}
    assert figures["tall"] == {"error_px": 0.5, "seen_px": None, "mask_px": 3.0, "within": 1, "n": 1}
    assert {entry["variant"]: entry.get("iou") for entry in report["samples"]}["jpeg75"] == 0.5


def test_a_sample_that_failed_counts(root, evaluate):
    """An answer that did not come is one of another status, and no box held."""
    sample = next(iter(questions(root))).rpartition("/")[0]
    known = {f"{sample}/{name}": RuntimeError("no") for name in ("jpeg60", "wide")}
    figures = evaluate(NAME, root, {f"{sample}/plain": answer_of(box(1)), **known}, limit=1)["figures"]
    assert figures["jpeg60"]["flips"] == 1
    assert (figures["wide"]["within"], figures["wide"]["error_px"]) == (0, None)


def test_pictures_written_anew(root):
    """The quality and the brightness are those that the name says; the record's own file stays."""
    record = questions(root)[next(iter(questions(root)))].record
    pixels = np.asarray(Image.open(record.paths[0]).convert("RGB")).astype(float)
    for name, factor in (("darker", 0.95), ("brighter", 1.05)):
        again = np.asarray(Image.open(io.BytesIO(recoded(record, name).media[0])))
        assert np.abs(again - np.minimum(pixels * factor, 255)).max() <= 0.5
    files = [recoded(record, name).media[0] for name in ("jpeg60", "jpeg95")]
    assert [Image.open(io.BytesIO(file)).format for file in files] == ["JPEG", "JPEG"]
    tables = [Image.open(io.BytesIO(file)).quantization[0] for file in files]
    assert sum(tables[0]) > 3 * sum(tables[1])
    assert record.media == ()


class Listener:
    """Takes the place of a model that is asked."""

    model = processor = None

    def __init__(self):
        self.heard = []

    def __call__(self, asked):
        self.heard.append([(question.dialogue.kind, len(question.record.media)) for question in asked])
        return [Answer("no_seg_token", text=question.dialogue.kind) for question in asked]


def test_words_share_one_call_and_answers_keep_their_order(root):
    chosen = [found for name, found in questions(root, limit=1).items() if "wording" in name or "jpeg" in name]
    chosen = [chosen[5], *chosen[:5]]
    listener = Listener()
    answers = RobustAnswerer(listener)(chosen)
    assert [answer.text for answer in answers] == [question.dialogue.kind for question in chosen]
    assert listener.heard[0] == [("wording1", 0), ("wording2", 0), ("wording3", 0)]
    assert sorted(listener.heard[1:]) == [[("jpeg60", 1)], [("jpeg75", 1)], [("jpeg85", 1)]]


def test_every_frame_of_a_video_is_written_anew(tmp_path):
    masks = np.stack([box_mask(4, 4, 24, 24)] * 3)
    said = {"0": {"exp": "it", "obj_id": [0], "anno_id": [7]}}
    write_clips(
        tmp_path / "video_datas/mevis/valid_u", {"v": (np.full((3, *SIZE, 3), 90, np.uint8), said)}, masks={7: masks}
    )
    plan = Run(open_benchmark("robustness-mevis-valid_u"), tmp_path, tmp_path / "out").plan()
    (record,) = plan.records
    assert len(recoded(record, "jpeg60").media) == 3


@pytest.mark.parametrize("shape", ["wide", "tall"])
def test_a_box_on_a_long_picture_comes_back(root, processor, shape, monkeypatch):
    """Guards scales of the wrong side, which square pictures hide: here they are off by a factor of eight."""
    question = questions(root)[next(iter(questions(root)))]
    off = round_trip(processor, question, shape)
    assert off["error_px"] <= 1
    assert off["seen_px"] <= 1
    right = room.sam_prompts
    monkeypatch.setattr(
        room, "sam_prompts", lambda one, sizes, *more: right(one, [size[::-1] for size in sizes], *more)
    )
    wrong = round_trip(processor, question, shape)
    assert wrong["error_px"] > 10
    assert wrong["seen_px"] > 10


def test_the_shipped_model(tmp_path, capsys):
    """By the command line, on two scenes: every prompt moves its mask, no box is off."""
    words = ["eval", "robustness", "--limit", "2", "--device", "cpu", "--out", str(tmp_path)]
    assert main(words) == 0
    assert "wordings" in capsys.readouterr().out
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["benchmark"] == "robustness-refshapes-standard-test"
    figures = report["figures"]
    assert figures["wordings"]["agreement"] > 0.5
    assert all(figures[kind]["n"] == 2 and figures[kind]["still"] == 0 for kind in ("words", "point", "box", "mask"))
    assert all(figures[shape]["within"] == 1 for shape in ("wide", "tall"))
    assert main([*words, "--score-only"]) == 0
    assert json.loads((tmp_path / "report.json").read_text()) == report


def test_what_can_not_be_is_one_line(tmp_path, capsys, root):
    assert main(["eval", "robustness", "--of", "mevis-valid", "--data", str(root)]) == 2
    assert "robustness needs the truth, which is not public for mevis-valid" in capsys.readouterr().err
    assert main(["eval", "robustness", "--of", "mme-test", "--data", str(root)]) == 2
    assert "robustness is about masks; mme-test scores words alone" in capsys.readouterr().err
    words = ["eval", "robustness", "--of", "refcoco-unc-val", "--data", str(root), "--out", str(tmp_path / "o")]
    assert main([*words, "--baseline", "whole"]) == 2
    assert "asks the model in its own ways; leave out --baseline" in capsys.readouterr().err
    assert main([*words, "--prompt", "Mark {}."]) == 2
    assert "asks in its own words; leave out the prompt" in capsys.readouterr().err
    assert main(["eval", "robustness", "--of", "refcoco-unc-vl"]) == 2
    assert "did you mean 'refcoco-unc-val'?" in capsys.readouterr().err
