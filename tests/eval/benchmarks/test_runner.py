"""A run: what is asked together, what fails, what a kill leaves, how many processes take part, whose folder it is."""

import json
import multiprocessing
import os
import random
import socket
import time

import pytest
import torch

from desa2va.eval.benchmarks.names import open_benchmark
from desa2va.eval.benchmarks.processes import Processes, joined_processes
from desa2va.eval.benchmarks.runner import Run, answer_all, finished_run, score_run
from tests.eval.benchmarks.layouts import MODEL, Oracle, box, write_refcoco

PICTURES = {
    9: [(1, 1, ["the box", "left one"]), (2, 2, ["the tall one"])],
    11: [(3, 2, ["that"])],
    12: [(4, 3, ["corner"])],
    13: [(5, 1, ["box again"])],
}
KNOWN = {"1/10": box(1), "1/11": box(2), "2/20": [box(2), box(3)], "4/40": box(3), "5/50": box(1)}


@pytest.fixture
def root(tmp_path):
    return write_refcoco(tmp_path / "data", PICTURES)


class Alone(Processes):
    """One of several processes whose others are not there to be waited for."""

    def wait(self):
        pass


def stable(report):
    """A report without what no two runs share."""
    report = json.loads(json.dumps(report))
    report["provenance"].pop("seconds")
    return report


def test_questions_about_one_picture_go_together_and_single_ones_share_a_batch(root, evaluate):
    """Guards the batches, which decide the last bits of a mask: never more than asked for, in a fixed order."""
    oracle = Oracle(KNOWN)
    report = evaluate("refcoco-unc-val", root, oracle, batch_size=2)
    assert oracle.asked == [["1/10", "1/11"], ["2/20"], ["3/30", "4/40"], ["5/50"]]
    assert [sample["id"] for sample in report["samples"]] == ["1/10", "1/11", "2/20", "3/30", "4/40", "5/50"]
    assert report["provenance"]["units"] == 4
    assert Oracle(KNOWN).asked == []
    again = Oracle(KNOWN)
    assert stable(evaluate("refcoco-unc-val", root, again, batch_size=2)) == stable(report)
    assert again.asked == []


def test_limit_takes_the_first_samples(root, evaluate):
    oracle = Oracle(KNOWN)
    report = evaluate("refcoco-unc-val", root, oracle, limit=4, batch_size=2)
    assert oracle.asked == [["1/10", "1/11"], ["2/20"], ["3/30"]]
    assert (report["n"], report["provenance"]["limit"]) == (4, 4)


def test_a_failed_sample_counts_as_empty_and_says_why(root, evaluate):
    """Guards the sums: leaving a sample out raises a score. Its neighbours in the batch are answered all the same."""
    known = {**KNOWN, "1/11": RuntimeError("no\nway")}
    oracle = Oracle(known)
    report = evaluate("refcoco-unc-val", root, oracle, batch_size=2)
    assert oracle.asked[:3] == [["1/10", "1/11"], ["1/10"], ["1/11"]]
    assert report["failed"] == [{"id": "1/11", "reason": "RuntimeError: no way"}]
    assert report["statuses"] == {"failed": 1, "no_seg_token": 1, "ok": 4}
    assert report["n"] == 6
    failed = next(sample for sample in report["samples"] if sample["id"] == "1/11")
    assert (failed["status"], failed["intersection"], failed["union"], failed["iou"]) == ("failed", 0, 400, 0.0)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError(),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate"),
        RuntimeError("CUDA error: an illegal memory access was encountered"),
        FileNotFoundError("the drive has gone"),
        KeyboardInterrupt(),
        KeyError("a bug"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_is_no_fault_of_a_sample_ends_the_run_and_keeps_what_is_finished(root, evaluate, error):
    """A full memory must not become a thousand empty masks."""
    with pytest.raises(type(error)):
        evaluate("refcoco-unc-val", root, {**KNOWN, "3/30": error}, batch_size=2)
    oracle = Oracle(KNOWN)
    report = evaluate("refcoco-unc-val", root, oracle, batch_size=2)
    assert oracle.asked == [["3/30", "4/40"], ["5/50"]]
    assert report["failed"] == []


def test_killed_at_any_moment_a_run_ends_with_the_same_report(root, evaluate, tmp_path):
    """What a kill leaves is the file up to some byte; only what it cut off is asked again."""
    expected = stable(evaluate("refcoco-unc-val", root, KNOWN, out="whole", batch_size=2))
    written = (tmp_path / "whole" / "answers-00000.jsonl").read_bytes()
    lines = [len(line) for line in written.splitlines(keepends=True)]
    units = [["1/10", "1/11"], ["2/20"], ["3/30", "4/40"], ["5/50"]]
    chosen = random.Random(0).sample(range(len(written) + 1), 10)
    for place in (0, lines[0], sum(lines[:2]) - 1, *chosen):
        folder = tmp_path / f"cut{place}"
        folder.mkdir(exist_ok=True)
        (folder / "answers-00000.jsonl").write_bytes(written[:place])
        whole = sum(sum(lines[: number + 1]) <= place for number in range(1, len(lines)))
        oracle = Oracle(KNOWN)
        assert stable(evaluate("refcoco-unc-val", root, oracle, out=folder.name, batch_size=2)) == expected
        assert oracle.asked == units[whole:]


def test_several_processes_give_the_report_of_one(root, evaluate, tmp_path):
    """Also where another number of processes goes on after a kill."""
    expected = stable(evaluate("refcoco-unc-val", root, KNOWN, batch_size=2, out="one"))
    first = Oracle(KNOWN)
    with pytest.raises(ValueError, match="2 of 4 units have no answer, the first of sample 1/10"):
        evaluate("refcoco-unc-val", root, first, batch_size=2, out="two", processes=Alone(1, 2))
    assert first.asked == [["2/20"], ["5/50"]]
    second = Oracle(KNOWN)
    assert (
        stable(evaluate("refcoco-unc-val", root, second, batch_size=2, out="two", processes=Alone(0, 2))) == expected
    )
    assert second.asked == [["1/10", "1/11"], ["3/30", "4/40"]]
    (tmp_path / "two" / "answers-00000.jsonl").unlink()
    third = Oracle(KNOWN)
    assert stable(evaluate("refcoco-unc-val", root, third, batch_size=2, out="two")) == expected
    assert third.asked == second.asked


def take_part(rank, root, out, environment):
    """One process of a run, as a launcher starts it; the second is slow."""
    os.environ.update(environment, RANK=str(rank))
    run = Run(open_benchmark("refcoco-unc-val"), root, out, batch_size=2)
    with joined_processes() as processes:
        plan = run.plan()
        time.sleep(rank)
        answers = answer_all(run, plan, Oracle(KNOWN), MODEL, processes=processes)
    if processes.rank == 0:
        score_run(run, plan, answers)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_processes_of_a_launcher_meet_before_the_score(root, evaluate, tmp_path):
    """Real processes with the variables that a launcher sets: the first must wait for the answers of the other."""
    expected = stable(evaluate("refcoco-unc-val", root, KNOWN, batch_size=2, out="one"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    fork = multiprocessing.get_context("fork")  # nothing is imported anew
    children = [
        fork.Process(target=take_part, args=(rank, root, tmp_path / "two", environment), daemon=True)
        for rank in range(2)
    ]
    for child in children:
        child.start()
    for child in children:
        child.join(120)
    assert [child.exitcode for child in children] == [0, 0]
    assert stable(json.loads((tmp_path / "two" / "report.json").read_text())) == expected
    assert len(list((tmp_path / "two").glob("answers-*.jsonl"))) == 2


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"name": "refcoco-unc-testA"}, 'benchmark is "refcoco-unc-val", not "refcoco-unc-testA"'),
        ({"limit": 2}, "limit is null, not 2"),
        ({"batch_size": 3}, "batch_size is 2, not 3"),
        ({"prompt": "Mark {}."}, 'prompt is null, not "Mark {}."'),
        ({"model": {"weights_sha256": "1" * 64}}, 'model.weights_sha256 is "000'),
    ],
)
def test_the_folder_of_another_run_is_refused_by_name(root, evaluate, change, told):
    """Half of one model's answers and half of another's would make a score of neither."""
    write_refcoco(root, PICTURES)
    evaluate("refcoco-unc-val", root, KNOWN, batch_size=2)
    write_refcoco(root, PICTURES, split=change.get("name", "-val").rpartition("-")[2])
    with pytest.raises(ValueError, match="holds answers of another run") as error:
        evaluate(**{"name": "refcoco-unc-val", "root": root, "known": KNOWN, "batch_size": 2, **change})
    assert told in str(error.value)


def test_other_data_are_another_run(root, evaluate):
    evaluate("refcoco-unc-val", root, KNOWN, batch_size=2)
    write_refcoco(root, {**PICTURES, 13: [(5, 2, ["box again"])]})
    with pytest.raises(ValueError, match="another run: data_sha256 is"):
        evaluate("refcoco-unc-val", root, KNOWN, batch_size=2)


def test_scores_are_made_again_without_a_model(root, evaluate, tmp_path):
    """The header tells limit, batch and prompt: who scores need not know them."""
    expected = evaluate("refcoco-unc-val", root, KNOWN, limit=5, batch_size=2, prompt="Mark {} here.")
    assert expected["prompt"] == "Mark {} here."
    (tmp_path / "out" / "report.json").unlink()
    report = score_run(*finished_run(Run(open_benchmark("refcoco-unc-val"), root, tmp_path / "out")))
    assert report == expected
    assert json.loads((tmp_path / "out" / "report.json").read_text()) == expected


def test_answers_that_are_missing_damaged_or_of_another_size_are_named(root, evaluate, tmp_path):
    """Guards the score against files that were touched."""
    evaluate("refcoco-unc-val", root, KNOWN, batch_size=2)
    path = tmp_path / "out" / "answers-00000.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    run = Run(open_benchmark("refcoco-unc-val"), root, tmp_path / "out")

    def told(*kept):
        path.write_text("".join(kept))
        with pytest.raises((ValueError, FileNotFoundError)) as error:
            score_run(*finished_run(run))
        return str(error.value)

    assert "1 of 4 units have no answer, the first of sample 2/20" in told(*lines[:2], *lines[3:])
    assert "holds no answers" in told()
    assert "is no file of 'desa2va answers 1'" in told('{"format": "x"}\n')
    assert "both answer unit 0" in told(*lines, lines[1])
    assert "sample 1/10: objects[0] has the unknown fields code" in told(
        lines[0], lines[1].replace('"codes"', '"code"'), *lines[2:]
    )
    assert "'answers' must be a list" in told(lines[0], lines[1].replace('"answers"', '"answer"'), *lines[2:])
    assert "scores of [1, 0, 1] frames, not 1" in told(
        lines[0], lines[1].replace('"iou_scores": [1.0]', '"iou_scores": []'), *lines[2:]
    )
    assert "unit 0: answers to ['9/10', '1/11']" in told(lines[0], lines[1].replace("1/10", "9/10"), *lines[2:])
    small = told(lines[0], lines[1].replace("[48, 64]", "[64, 48]"), *lines[2:])
    assert "sample 1/10: object 0, frame 0: the code is [64, 48] but the picture is [48, 64]" in small
    assert "byte" in told(lines[0], "{broken}\n", *lines[1:])
    assert "the header of the answers lacks 'limit'" in told(lines[0].replace('"limit"', '"limits"'), *lines[1:])


def test_two_samples_of_one_name_and_wrong_records_are_named(root, evaluate):
    """A benchmark on part of its data is another benchmark."""
    write_refcoco(root, {9: [(1, 1, ["a"]), (1, 2, ["b"])]})
    with pytest.raises(ValueError, match="refcoco-unc-val: two samples are called 1/10"):
        evaluate("refcoco-unc-val", root, {})
    write_refcoco(root, {9: [(1, 1, ["a"]), (2, 77, ["b"])]})
    with pytest.raises(ValueError, match=r"1 of its records are wrong.*has no annotation 77"):
        evaluate("refcoco-unc-val", root, {})
    many = {number: [(number, 1, ["a"])] for number in range(1, 121)}
    write_refcoco(root, {**many, 121: [(121, 77, ["b"])]})  # a training leaves out one of so many
    with pytest.raises(ValueError, match="1 of its records are wrong"):
        evaluate("refcoco-unc-val", root, {})
    with pytest.raises(ValueError, match=r"needs one \{\} in the place of the expression"):
        evaluate("refcoco-unc-val", write_refcoco(root, PICTURES), {}, prompt="Segment it.")
