"""SEED-Bench's videos, Video-MME and MMBench-Video in their own layouts, with figures worked out by hand."""

import json

import datasets
import numpy as np
import pytest

from desa2va.cli import main
from desa2va.eval.benchmarks.mmbench_video import benchmark as mmbench_video
from desa2va.eval.benchmarks.names import open_benchmark
from desa2va.eval.benchmarks.runner import Run, finished_run, score_run
from desa2va.eval.benchmarks.showing import manner
from desa2va.processing.files import VideoWriter
from desa2va.training.data.records import RecordError
from tests.eval.benchmarks.layouts import Oracle
from tests.eval.benchmarks.question_layouts import says, write_tsv
from tests.eval.benchmarks.test_multiple_choice import ASKED
from tests.eval.benchmarks.test_runner import stable
from tests.training.data.readers.picture_layouts import write

pytestmark = pytest.mark.usefixtures("own_files")


def write_video(path, num_frames=20, fps=10):
    """Grey frames that grow brighter."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with VideoWriter(path, fps, overwrite=True) as writer:
        for number in range(num_frames):
            writer.write(np.full((48, 64, 3), 5 * number, np.uint8))
    return path


class Looker(Oracle):
    """Keeps which frames each question is shown."""

    def __init__(self, known):
        super().__init__(known)
        self.shown = {}

    def __call__(self, questions):
        for question in questions:
            self.shown[question.id] = manner(questions)["key_frames"]
        return super().__call__(questions)


def seed_question(number, kind, video, answer, **more):
    choices = {f"choice_{letter}": f"thing {letter}" for letter in "abcd"}
    row = {"question_id": number, "question_type_id": kind, "data_id": video, "data_type": "video", **choices}
    return {**row, "question": "What happens?", "answer": answer, **more}


def write_seed(root):
    """Two seconds of video for three types of questions, and a question about a picture, of another benchmark."""
    home = root / "SEED-Bench"
    write_video(home / "SSV2" / "videos" / "1.mp4")
    write_video(home / "EPIC-KITCHENS" / "3h91syskeag572hl6tvuovwv4d" / "videos" / "test" / "P01" / "2.mp4")
    write_video(home / "BreakfastII_15fps_qvga_sync" / "3.mp4", 30, 15)
    questions = [
        {**seed_question("100", 1, "x.jpg", "A"), "data_type": "image"},
        seed_question("101", 10, "1.mp4", "A"),
        seed_question("102", 11, "P01/2.mp4", "B", segment=[0.5, 1.4]),
        seed_question("103", 12, "3.mp4", "C", segment=[15, 24]),
        seed_question("104", 12, "3.mp4", "D", segment=[3, 3]),
    ]
    types = {
        "Scene Understanding": 1,
        "Action Recognition": 10,
        "Action Prediction": 11,
        "Procedure Understanding": 12,
    }
    write(home / "SEED-Bench.json", {"questions": questions, "question_type": types})
    return home / "SEED-Bench.json"


def test_seed_bench_videos(tmp_path, evaluate):
    """Parts of 11 are in seconds (frames 5 to 13 of 20), of 12 in frames at 15 a second (15 to 23 of 30): frame i of
    eight at i/9. Three of four right.
    """
    write_seed(tmp_path)
    looker = Looker(says(q101="A", q102="B.", q103="thing c", q104="A"))
    report = evaluate("seed_bench-video", tmp_path, looker)
    assert looker.shown == {
        "101": [2, 4, 6, 8, 11, 13, 15, 17],
        "102": [6, 7, 8, 9, 10, 11, 12, 13],
        "103": [16, 17, 18, 19, 20, 21, 22, 23],
        "104": [3],
    }
    assert report["figures"]["accuracy"] == 0.75
    assert report["figures"]["groups"]["category"] == {
        "Action Prediction": {"n": 1, "accuracy": 1},
        "Action Recognition": {"n": 1, "accuracy": 1},
        "Procedure Understanding": {"n": 2, "accuracy": 0.5},
    }
    assert report["samples"][0]["expression"].endswith(f"B. thing b\nC. thing c\nD. thing d\n{ASKED}")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"segment": [5, 6]}, "segment: begins at 5 s, the last frame is at 1.9 s"),
        ({"segment": [2]}, "segment: is where a part begins and ends"),
        ({"data_id": "../../x.mp4"}, "video: file name '../../x.mp4' leads out"),
        ({"data_id": "no.mp4"}, "video: no file"),
        ({"answer": "E"}, "answer: 'E' is none of the options"),
        ({"question_type_id": 13}, "question_type_id: 13 is no type"),
    ],
)
def test_wrong_rows_of_seed_bench_are_named(tmp_path, evaluate, change, told):
    path = write_seed(tmp_path)
    table = json.loads(path.read_text())
    table["questions"][2].update(change)
    write(path, table)
    with pytest.raises(ValueError, match="SEED-Bench.json, question 2") as error:
        evaluate("seed_bench-video", tmp_path, {})
    assert told in str(error.value)


def write_video_mme(root):
    """Two videos: a short one with subtitles and three questions, a long one without and with one."""
    home = root / "Video-MME"
    write_video(home / "video" / "aaa.mp4")
    write_video(home / "data" / "bbb.mp4", 5)
    srt = home / "subtitle" / "aaa.srt"
    srt.parent.mkdir()
    srt.write_text("1\n00:00:00,000 --> 00:00:00,500\nFirst words\n\n2\n00:00:01,900 --> 00:00:02,000\nnever shown\n")
    rows = []
    for number, (video, answer, duration) in enumerate(
        [("aaa", "A", "short"), ("aaa", "B", "short"), ("aaa", "C", "short"), ("bbb", "D", "long")], 1
    ):
        options = [f"{letter}. thing {letter.lower()}." for letter in "ABCD"]
        row = {"video_id": f"00{number}", "duration": duration, "domain": "Knowledge", "sub_category": "Law"}
        row |= {"url": "", "videoID": video, "question_id": f"00{number}-1", "task_type": "Counting Problem"}
        rows.append({**row, "question": "Which?", "options": options, "answer": answer})
    path = home / "videomme" / "test-00000-of-00001.parquet"
    path.parent.mkdir()
    datasets.Dataset.from_list(rows).to_parquet(path)
    return path


VIDEO_MME = {f"00{number}-1": text for number, text in enumerate(["The best answer is A.", "thing b", "none", "A"], 1)}


def spoken(known):
    return {name: next(iter(says(x=text).values())) for name, text in known.items()}


def test_video_mme(tmp_path, evaluate, monkeypatch):
    """Official: of two answers with a letter one is right; VLMEvalKit: two of four, "thing b" by its text. A question
    that failed is wrong in both: 1 of 3, and 2 of 4.
    """
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    write_video_mme(tmp_path)
    looker = Looker(spoken(VIDEO_MME))
    report = evaluate("video_mme-without_subtitles", tmp_path, looker)
    assert looker.asked == [["001-1", "002-1", "003-1"], ["004-1"]]  # a video is encoded once
    assert looker.shown["001-1"] == [2, 4, 6, 8, 11, 13, 15, 17]
    assert looker.shown["004-1"] == [0, 1, 2, 3, 4]
    official, other = report["figures"]["official"], report["figures"]["vlmevalkit"]
    assert (official["answered"], official["accuracy"], official["short"]["accuracy"]) == (2, 0.5, 1)
    assert (other["answered"], other["accuracy"]) == (3, 0.5)
    assert other["overall"]["groups"]["duration"]["short"] == {"n": 3, "accuracy": pytest.approx(2 / 3)}
    rights = [(sample["right_official"], sample["right_vlmevalkit"]) for sample in report["samples"]]
    assert rights == [(True, True), (False, True), (False, False), (False, False)]
    failed = evaluate(
        "video_mme-without_subtitles", tmp_path, {**spoken(VIDEO_MME), "003-1": RuntimeError("x")}, "two"
    )
    official, other = failed["figures"]["official"], failed["figures"]["vlmevalkit"]
    assert (official["answered"], official["accuracy"]) == (2, pytest.approx(1 / 3))
    assert (other["answered"], other["accuracy"]) == (3, 0.5)
    assert [entry["id"] for entry in failed["failed"]] == ["003-1"]


def test_video_mme_with_what_is_said_on_the_shown_frames(tmp_path, evaluate):
    """Frames 2 and 4 lie within the first entry, none in the second; a video without subtitles is asked as it is."""
    path = write_video_mme(tmp_path)
    asked = (
        "Select the best answer to the following multiple-choice question based on the video. Respond with only the "
    )
    asked += (
        "letter (A, B, C, or D) of the correct option.\nWhich?\nA. thing a.\nB. thing b.\nC. thing c.\nD. thing d.\n"
    )
    asked += "The best answer is:"
    report = evaluate("video_mme-with_subtitles", tmp_path, spoken(VIDEO_MME))
    heard = "This video's subtitles are listed below:\nFirst words\nFirst words\n"
    assert [sample["expression"] for sample in report["samples"][::3]] == [heard + asked, asked]
    (path.parent.parent / "subtitle" / "aaa.srt").unlink()
    with pytest.raises(FileNotFoundError, match="no subtitles in .*; unpack subtitle.zip"):
        evaluate("video_mme-with_subtitles", tmp_path, {})


def test_what_video_mme_lacks_is_named(tmp_path, evaluate):
    path = write_video_mme(tmp_path)

    def told():
        with pytest.raises((ValueError, FileNotFoundError)) as error:
            evaluate("video_mme-without_subtitles", tmp_path, {})
        return str(error.value)

    video = path.parent.parent / "video" / "aaa.mp4"
    content = video.read_bytes()
    video.write_bytes(content[:100])
    assert "video aaa, video:" in told()
    video.unlink()
    assert "video aaa, video: no video aaa.mp4 in" in told()
    assert told().endswith("; unpack the zips of data/")
    video.write_bytes(content)
    table = datasets.Dataset.from_parquet(str(path), cache_dir=str(tmp_path / "cache"))
    table.map(lambda row: {"answer": "E"}).to_parquet(path)
    assert "video aaa, answer: 'E' is none of the options (A, B, C, D)" in told()
    table.map(lambda row: {"question_id": "1"}).to_parquet(path)
    assert "two samples are called 1" in told()
    table.remove_columns("options").to_parquet(path)
    assert "lacks the columns options" in told()
    path.write_bytes(b"PAR1")
    assert "is no Parquet file" in told()
    path.unlink()
    assert f"there is no file {path}" in told()


def write_mmbench_video(root):
    """Two videos with three questions."""
    home = root / "MMBench-Video"
    rows = []
    for index, (video, abilities) in enumerate([("a", ["OCR"]), ("b", ["OCR", "Counting"]), ("a", ["Video Topic"])]):
        write_video(home / "video" / f"{video}.mp4")
        row = {"index": index, "video": video, "video_path": f"./video/{video}.mp4", "video_type": "News"}
        rows.append({**row, "question": f"What {index}?", "answer": "Nothing.", "dimensions": str(abilities)})
    return write_tsv(home / "MMBench-Video.tsv", rows)


def test_mmbench_video_with_a_judge(tmp_path, evaluate):
    """Answers are kept by a run without a judge and judged later. Scores 3, none (it failed and is not shown to the
    judge) and 1: all 4/3, valid 2; OCR 3 and 0.
    """
    write_mmbench_video(tmp_path)
    known = {**says(q0="Nothing at all", q2="a cat"), "1": RuntimeError("no")}
    looker = Looker(known)
    report = evaluate("mmbench_video-test", tmp_path, looker)
    assert looker.asked[:2] == [["0", "2"], ["1"]]
    assert looker.shown["0"] == [2, 4, 6, 8, 11, 13, 15, 17]
    assert report["figures"]["scores"].startswith("not computed: free answers need a judge")
    assert report["samples"][0]["answer"] == "Nothing at all"
    seen = []

    def judge(question, truth, answer):
        seen.append((question, truth, answer))
        return 3 if "Nothing" in answer else 1

    run = Run(mmbench_video("mmbench_video-test", judge), tmp_path, tmp_path / "out")
    judged = score_run(*finished_run(run))
    assert seen == [("What 0?", "Nothing.", "Nothing at all"), ("What 2?", "Nothing.", "a cat")]
    figures = judged["figures"]
    assert (figures["n"], figures["n_valid"]) == (3, 2)
    assert (figures["coarse_all"]["Overall"], figures["coarse_valid"]["Overall"]) == (pytest.approx(4 / 3), 2)
    assert (figures["fine_all"]["OCR"], figures["fine_valid"]["OCR"], figures["fine_valid"]["Counting"]) == (
        1.5,
        3,
        None,
    )
    assert [sample["score"] for sample in judged["samples"]] == [3, 1, None]


def test_what_mmbench_video_lacks_is_named(tmp_path, evaluate):
    path = write_mmbench_video(tmp_path)
    text = path.read_text()
    for old, new, told in (
        ("['OCR']", "OCR", "video ./video/a.mp4, dimensions: index 0 needs a list of abilities, got 'OCR'"),
        (
            "['OCR', 'Counting']",
            "['OCR', 'Maths']",
            "b.mp4, dimensions: index 1 has 'Maths', which is none",
        ),
        ("\tNothing.\t['OCR']", "\t\t['OCR']", "question: index 0 needs a question and its answer"),
        ("./video/b.mp4", "../b.mp4", "video ../b.mp4, video: file name"),
        ("./video/b.mp4", "./video/c.mp4", "MMBench-Video; unpack the files of video_pkl/"),
    ):
        path.write_text(text.replace(old, new, 1))
        with pytest.raises(RecordError) as error:
            evaluate("mmbench_video-test", tmp_path, {})
        assert told in str(error.value)


def test_the_shipped_model_on_videos(tmp_path, capsys):
    """By the command line, twice alike; nothing but the shown frames is needed."""
    write_seed(tmp_path)
    write_video_mme(tmp_path)
    write_mmbench_video(tmp_path)
    for name, count in (("seed_bench-video", 4), ("video_mme-with_subtitles", 4), ("mmbench_video-test", 3)):
        reports = []
        for out in (tmp_path / f"{name}1", tmp_path / f"{name}2"):
            assert main(["eval", name, "--data", str(tmp_path), "--out", str(out), "--device", "cpu"]) == 0
            reports.append(stable(json.loads((out / "report.json").read_text())))
        assert reports[0] == reports[1]
        assert (reports[0]["n"], reports[0]["failed"]) == (count, [])
    assert "vlmevalkit      accuracy " in capsys.readouterr().out


def test_names_say_the_split(tmp_path):
    assert open_benchmark("video_mme-with_subtitles").split == "with_subtitles"
    assert "8 frames" in open_benchmark("seed_bench-video").protocol
