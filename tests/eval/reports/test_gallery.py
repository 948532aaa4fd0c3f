"""The gallery is drawn from kept answers and data alone, and shows what they hold."""

import io
import shutil

import numpy as np
import pytest
from PIL import Image

from desa2va.eval.benchmarks.names import open_benchmark
from desa2va.eval.benchmarks.runner import Run
from desa2va.eval.reports.gallery import DIMMED, draw_panels, gallery, shown_frames
from desa2va.eval.reports.opened import read_report
from tests.eval.benchmarks.layouts import answer_of, box, write_clips, write_refcoco


def pixels(panel):
    return np.asarray(Image.open(io.BytesIO(panel.jpeg))).astype(int)


def test_best_and_worst_by_their_scores(report, run_folder):
    """Six samples of known masks: two are right, four are not."""
    cases = gallery(report, run_folder[0], 2)
    assert [(case.group, case.id) for case in cases[:2]] == [("best", "4/40"), ("best", "1/10")]
    assert [case.score for case in cases] == sorted([case.score for case in cases if case.group == "best"])[::-1] + [
        case.score for case in cases if case.group != "best"
    ]
    worst = [case for case in cases if case.group == "worst"]
    assert [(case.id, case.score, case.status) for case in worst] == [
        ("1/11", 0.0, "no_seg_token"),
        ("3/30", 0.0, "no_seg_token"),
    ]
    assert worst[0].answer == "There is none."
    assert all([panel.title for panel in case.panels] == ["picture", "truth", "prediction"] for case in cases)


def test_panels_show_masks_where_they_are(run_folder):
    """Outside of a mask a panel is dark, inside it is the picture."""
    plan = Run(open_benchmark("refcoco-unc-val"), run_folder[0], run_folder[1]).plan()
    question = plan.questions(0)[0]
    picture, truth, prediction = map(pixels, draw_panels(question, answer_of(box(2))))
    right, answered = box(1)[0], box(2)[0]
    assert abs(truth[~right].mean() - DIMMED * picture[~right].mean()) < 12
    assert abs(truth[8:20, 8:20].mean() - picture[8:20, 8:20].mean()) < 40
    assert prediction[answered].mean() > 2 * prediction[~answered].mean()


def test_a_video_shows_frames_with_its_target(tmp_path):
    """An object that is there for a short while must be seen."""
    frames = np.zeros((12, 48, 64, 3), np.uint8)
    mask = np.zeros((12, 48, 64), bool)
    mask[5:8, 4:20, 4:20] = True
    words = {"0": {"exp": "it", "obj_id": [0], "anno_id": [0]}}
    write_clips(tmp_path / "video_datas" / "mevis" / "valid_u", {"v": (frames, words)}, masks={0: mask})
    question = Run(open_benchmark("mevis-valid_u"), tmp_path, tmp_path / "o").plan().questions(0)[0]
    assert shown_frames(question) == [5, 6, 7]
    panels = draw_panels(question, answer_of(mask))
    assert [panel.title for panel in panels] == ["frames 5, 6, 7", "truth", "prediction"]
    assert panels[0].size == (3 * 64, 48)


def test_answers_and_data_of_something_else_are_named(report, run_folder, tmp_path):
    """A gallery of another run's masks would look right."""
    alone = tmp_path / "alone"
    alone.mkdir()
    shutil.copy(report.path, alone)
    with pytest.raises(FileNotFoundError, match="holds no answers"):
        gallery(read_report(alone), run_folder[0], 1)
    with pytest.raises((FileNotFoundError, ValueError), match="nowhere"):
        gallery(report, tmp_path / "nowhere", 1)
    other = write_refcoco(tmp_path / "other", {9: [(1, 2, ["the box"])]})
    with pytest.raises(ValueError, match="data_sha256 is"):
        gallery(report, other, 1)
