"""Who answers and who scores does not change a report: over one benchmark of each family that scores masks."""

import json
import multiprocessing
import zlib
from dataclasses import replace

import numpy as np
import pytest

from desa2va.eval.benchmarks import grounded_pictures, scoring
from desa2va.eval.benchmarks.names import open_benchmark
from desa2va.eval.benchmarks.processes import Processes
from desa2va.eval.benchmarks.questions import Answer
from desa2va.eval.benchmarks.runner import Run, answer_all, finished_run, score_run
from desa2va.eval.benchmarks.scoring import collected_by, join_scores, score_units, score_with_workers
from tests.eval.benchmarks.layouts import MODEL, answer_of, write_clips, write_refcoco
from tests.eval.benchmarks.test_grounded_pictures import write_gcg
from tests.eval.benchmarks.test_ref_davis17 import FIRST, SECOND, write_davis
from tests.training.data.readers.picture_layouts import SIZE, box_mask
from tests.training.data.readers.test_reasonseg import question, shape
from tests.training.data.readers.video_layouts import dump, track

pytestmark = pytest.mark.usefixtures("own_files")

FRAMES = np.full((4, *SIZE, 3), 90, np.uint8)
TRACK = np.stack([box_mask(4, 4, 24, 24)] * 4)
SAID = {str(k): {"exp": f"it {k}", "obj_id": [0], "anno_id": [7], "type_id": k % 2} for k in range(5)}
PICTURES = {
    9: [(1, 1, ["the box", "left one"]), (2, 2, ["the tall one"])],
    11: [(3, 2, ["that"])],
    12: [(4, 3, ["it"])],
}


def write_reasonseg(root):
    for name in "abc":
        question(root, "val", name, ["the cup"], [shape("target", 5, 5, 20, 20)], is_sentence=name == "b")


def write_revos(root):
    folder = root / "video_datas" / "revos"
    write_clips(folder, {"v": (FRAMES, SAID)}, masks={7: TRACK}, words="meta_expressions_valid_.json")
    dump({"v": {"masks_rle": track(TRACK)}}, folder / "mask_dict_foreground.json")


def write_ref_sav(root):
    names = {"words": "meta_expressions_valid.json", "pictures": "videos"}
    write_clips(root / "ref_sav_eval", {"v": (FRAMES, SAID), "w": (FRAMES, SAID)}, masks={7: TRACK}, **names)


WRITERS = {
    "refcoco-unc-val": lambda root: write_refcoco(root, PICTURES),
    "grefcoco-unc-val": lambda root: write_refcoco(
        root, {9: [(1, [1, 2], ["both"]), (2, [-1], ["a cat"])], 11: [(3, [3], ["it"])]}, "grefcoco", "grefs(unc).p"
    ),
    "reasonseg-val": write_reasonseg,
    "mevis-valid_u": lambda root: write_clips(
        root / "video_datas/mevis/valid_u", {"v": (FRAMES, SAID), "w": (FRAMES, SAID)}, masks={7: TRACK}
    ),
    "mevis-valid": lambda root: write_clips(root / "video_datas/mevis/valid", {"v": (FRAMES, SAID)}),
    "ref_sav-valid": write_ref_sav,
    "revos-valid": write_revos,
    "ref_davis17-valid": lambda root: write_davis(root, FIRST + 2 * SECOND),
    "gcg-val": write_gcg,
    "refshapes-full-test": lambda root: None,
    "robustness-refcoco-unc-val": lambda root: write_refcoco(root, PICTURES),
}
DISTANCES = '{"error_px": 0.25, "seen_px": null, "mask_px": 2.0}'


def answered(questions):
    """The truth, its upper half, nothing or no answer at all, as the id has it."""
    answers = []
    for asked in questions:
        draw = zlib.crc32(asked.id.encode()) % 4
        truth = asked.truth()
        truth[:, SIZE[0] // 4 :] &= draw == 0
        if draw == 3 and len(questions) == 1:
            raise ValueError("no")
        given = Answer("no_seg_token") if draw == 2 else answer_of(truth, scores=[0.25 + draw / 4])
        answers.append(replace(given, text=DISTANCES))
    return answers


class Alone(Processes):
    """One of several processes whose others are not there to be waited for."""

    def wait(self):
        pass


def stable(report):
    report = json.loads(json.dumps(report))
    report["provenance"].pop("seconds")
    return report


@pytest.fixture(params=WRITERS)
def run(request, tmp_path, monkeypatch):
    """A run of each family, not yet answered."""
    monkeypatch.setattr("desa2va.eval.benchmarks.refshapes_pictures.SCENES", 9)
    monkeypatch.setattr(grounded_pictures, "PhraseSimilarity", lambda: str.__eq__)
    monkeypatch.setattr(grounded_pictures, "can_score_captions", lambda: False)
    WRITERS[request.param](tmp_path)
    # There are two pictures of grounded conversation, which would be one unit.
    size = 1 if request.param == "gcg-val" else 2
    return Run(open_benchmark(request.param), tmp_path, tmp_path / "one", batch_size=size)


def test_processes_kills_and_shares_do_not_change_a_report(run, tmp_path):
    """Two processes; a kill in the middle of a line; scores of two shares, joined: the report of one process."""
    plan = run.plan()
    assert len(plan.units) > 1
    answers = answer_all(run, plan, answered, MODEL)
    expected = stable(score_run(run, plan, answers))
    two = replace(run, folder=tmp_path / "two")
    for rank in (1, 0):
        both = answer_all(two, plan, answered, MODEL, processes=Alone(rank, 2))
    assert len(list(two.folder.glob("answers-*.jsonl"))) == 2
    assert stable(score_run(two, plan, both)) == expected
    killed = replace(run, folder=tmp_path / "killed")
    killed.folder.mkdir()
    written = (run.folder / "answers-00000.jsonl").read_bytes()
    (killed.folder / "answers-00000.jsonl").write_bytes(written[: len(written) * 2 // 3])
    assert stable(score_run(killed, plan, answer_all(killed, plan, answered, MODEL))) == expected
    if run.benchmark.scores is not None:
        figures = shares_joined(run, plan, answers).figures()
        assert json.loads(json.dumps(figures)) == expected["figures"]


def shares_joined(run, plan, answers):
    """What workers do, without their processes: fresh scores for each share, joined behind one another."""
    scores = run.benchmark.scores(run.data)
    middle = len(plan.units) // 2
    for units in (range(middle), range(middle, len(plan.units))):
        part = score_units(run.benchmark.scores(run.data), plan, answers, units)
        join_scores(scores, collected_by(part.scores))
    return scores


def test_workers_give_the_report_of_one_process(tmp_path, monkeypatch):
    """Real processes, which open the run by its names; an answer that does not fit is told by its sample there too."""
    WRITERS["ref_davis17-valid"](tmp_path)
    run = Run(open_benchmark("ref_davis17-valid"), tmp_path, tmp_path / "one", batch_size=2)
    plan = run.plan()
    answers = answer_all(run, plan, answered, MODEL)
    expected = score_run(run, plan, answers)
    assert score_run(*finished_run(run), workers=2) == expected
    path = run.folder / "answers-00000.jsonl"
    path.write_text(path.read_text().replace(f"[{SIZE[0]}, {SIZE[1]}]", f"[{SIZE[1]}, {SIZE[0]}]", 1))
    forked = multiprocessing.get_context("fork")  # the words of an error need no second import
    monkeypatch.setattr(scoring.multiprocessing, "get_context", lambda method: forked)
    with pytest.raises(ValueError, match=r"sample bear/\d: object 0, frame 0"):
        score_run(*finished_run(run), workers=2)


def test_more_workers_than_units_score_each_once():
    """Guards empty shares, and shares that overlap."""
    seen = []

    class Now:
        def __init__(self, *args, **more):
            pass

        def __enter__(self):
            return self

        def __exit__(self, *error):
            pass

        def map(self, _, shares):
            seen.extend(shares)
            return []

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("desa2va.eval.benchmarks.scoring.ProcessPoolExecutor", Now)
        for units, workers in ((3, 8), (10, 2), (1, 1)):
            seen.clear()
            score_with_workers(None, lambda: None, units, workers)
            assert [unit for share in seen for unit in range(*share)] == list(range(units))
            assert all(first < last for first, last in seen)
