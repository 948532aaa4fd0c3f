"""The whole way with the shipped model, by the command line; and the names that it takes."""

import json
import shutil
from pathlib import Path

import pytest

from desa2va.cli import main
from desa2va.eval import evaluate_desa2va
from desa2va.eval.benchmarks.names import BENCHMARKS, open_benchmark
from desa2va.processing.files import decode_mask
from desa2va.training.data.readers import READERS
from desa2va.training.data.refshapes.disk import write_refshapes
from tests.eval.benchmarks.layouts import write_refcoco
from tests.modeling_desa2va.conversion.published import write_sa2va


def test_every_name_is_a_benchmark_of_a_split_that_its_reader_has():
    for name in BENCHMARKS:
        benchmark = open_benchmark(name)
        assert benchmark.name == name
        split_by = benchmark.options.get("split_by")
        assert name == "-".join(filter(None, (benchmark.dataset, split_by, benchmark.split)))
        own = benchmark.dataset == "refcoco_m" or benchmark.dataset.startswith("refshapes-")
        assert own or benchmark.split in READERS[benchmark.dataset].splits
        assert (benchmark.scores is None) == (benchmark.submission is not None)


def test_help_lists_every_benchmark(capsys):
    """What can not be found in the help does not exist for who looks there."""
    for words in (["eval", "--help"], ["eval", "mmbench_video-test", "--help"]):
        with pytest.raises(SystemExit) as end:
            main(words)
        assert end.value.code == 0
        told = capsys.readouterr().out
        assert all(name in told for name in (BENCHMARKS if len(words) == 2 else ("--judge-url", "--score-only")))


@pytest.fixture(scope="module")
def refcoco(tmp_path_factory):
    return write_refshapes(
        tmp_path_factory.mktemp("set"), "refcoco", splits={"val": 3}, progress=False, conversations=3
    )


def test_the_shipped_model_on_pictures(refcoco, tmp_path, shipped, capsys):
    """Guards the way from files to figures: the masks are those the model gives to each question alone."""
    out = tmp_path / "out"
    words = ["eval", "refcoco-unc-val", "--data", str(refcoco), "--out", str(out), "--device", "cpu"]
    assert main([*words, "--batch-size", "2"]) == 0
    assert "written to" in capsys.readouterr().out
    report = json.loads((out / "report.json").read_text())
    model, processor = shipped
    units = [json.loads(line) for line in (out / "answers-00000.jsonl").read_text().splitlines()[1:]]
    answers = {entry["id"]: entry for unit in units for entry in unit["answers"]}
    records = list(READERS["refcoco"].read(refcoco, "val"))
    assert len(answers) == report["n"] == sum(len(record.dialogues) for record in records)
    for record in records:
        for dialogue in record.dialogues:
            inputs = processor(images=record.paths[0], text=dialogue.turns[0][0])
            result = processor.post_process(model.generate(**inputs), inputs)[0]
            found = answers[f"{dialogue.ids['ref_id']}/{dialogue.ids['sent_id']}"]
            assert (found["status"], found["text"]) == (result.status, result.raw_text)
            for own, other in zip(found["objects"], result.objects, strict=True):
                differing = decode_mask(own["codes"][0]) ^ other.mask() if own["codes"][0] else other.mask()
                assert differing.mean() < 0.002  # sums of other batches differ in their last bits
    assert report["figures"]["ciou"] > 0.3
    provenance = report["provenance"]
    assert provenance["machine"]["model"] == "desa2va-tiny"
    assert len(provenance["model"]["weights_sha256"]) == len(provenance["data_sha256"]) == 64
    assert (provenance["model"]["dtype"], provenance["batch_size"]) == ("float32", 2)
    assert main([*words, "--score-only"]) == 0
    assert json.loads((out / "report.json").read_text()) == report
    assert main([*words, "--batch-size", "3"]) == 2
    assert "batch_size is 2, not 3; choose another folder" in capsys.readouterr().err


@pytest.fixture(scope="module")
def mevis(tmp_path_factory):
    root = tmp_path_factory.mktemp("set")
    write_refshapes(root / "video_datas" / "mevis", "mevis", splits={"valid_u": 1}, progress=False, conversations=2)
    return root


def test_the_shipped_model_on_videos(mevis, tmp_path):
    """By the other program, which launchers start; the same answers twice."""
    reports = []
    for out in (tmp_path / "one", tmp_path / "two"):
        words = ["mevis-valid_u", "--data", str(mevis), "--out", str(out), "--device", "cpu", "--limit", "2"]
        assert evaluate_desa2va.main(words) == 0
        reports.append(json.loads((out / "report.json").read_text()))
        reports[-1]["provenance"].pop("seconds")
    assert reports[0] == reports[1]
    assert reports[0]["n"] == 2
    assert reports[0]["figures"]["jf"] > 0.2


def test_a_picture_that_can_not_be_decoded_is_an_empty_answer(refcoco, tmp_path, capsys):
    """Its header is sound, so the reader takes it; all that is asked about it fails, and nothing else."""
    data = tmp_path / "data"
    shutil.copytree(refcoco, data)
    first, *others = READERS["refcoco"].read(data, "val")
    path = Path(first.paths[0])
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    words = ["eval", "refcoco-unc-val", "--data", str(data), "--out", str(tmp_path / "out"), "--device", "cpu"]
    assert main(words) == 0
    assert f"{len(first.dialogues)} failed" in capsys.readouterr().out
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["n"] == sum(len(record.dialogues) for record in (first, *others))
    assert report["statuses"]["failed"] == len(report["failed"]) == len(first.dialogues)
    assert all(path.name in entry["reason"] for entry in report["failed"])
    assert {sample["iou"] for sample in report["samples"] if sample["status"] == "failed"} == {0}


def test_floor_and_ceiling_of_pictures(refcoco, tmp_path):
    """The whole picture needs no model; a true box tells SAM-2 what is meant; both are runs of their own."""
    figures = {}
    for baseline in ("whole", "box", "point"):
        out = tmp_path / baseline
        words = ["refcoco-unc-val", "--data", str(refcoco), "--out", str(out), "--device", "cpu"]
        assert evaluate_desa2va.main([*words, "--baseline", baseline]) == 0
        report = json.loads((out / "report.json").read_text())
        assert report["provenance"]["model"]["baseline"] == baseline
        figures[baseline] = report
    areas = [sample["intersection"] for sample in figures["whole"]["samples"]]
    pixels = {sample["union"] for sample in figures["whole"]["samples"]}
    assert len(pixels) == 1
    assert figures["whole"]["figures"]["giou"] == pytest.approx(sum(areas) / len(areas) / pixels.pop())
    assert figures["box"]["figures"]["giou"] > 0.6
    assert figures["point"]["figures"]["giou"] > 2 * figures["whole"]["figures"]["giou"]


def test_the_ceiling_of_videos(mevis, tmp_path):
    """The box lies on the frame that shows most; memory does the rest. No sample is worse for a better key frame."""
    reports = {}
    for baseline in ("box", "key_frames", None):
        out = tmp_path / str(baseline)
        words = ["mevis-valid_u", "--data", str(mevis), "--out", str(out), "--device", "cpu", "--limit", "2"]
        assert evaluate_desa2va.main([*words, *(["--baseline", baseline] if baseline else [])]) == 0
        reports[baseline] = json.loads((out / "report.json").read_text())
    assert reports["box"]["figures"]["j"] > 0.4
    pairs = zip(reports["key_frames"]["samples"], reports[None]["samples"], strict=True)
    assert all(best["j"] >= own["j"] for best, own in pairs)


def test_a_published_sa2va_is_scored_under_its_folder(refcoco, tmp_path):
    """Its folder is no model of ours, which the hash of the weights took for an error, here and in RefShapes."""
    model = tmp_path / "Sa2VA-1B"
    write_sa2va(model, "Sa2VA-1B")
    words = ["--model", str(model), "--device", "cpu", "--limit", "1"]
    more = ["--data", str(refcoco), "--out", str(tmp_path / "out"), "--prompt", "Please segment {} in this image."]
    assert evaluate_desa2va.main(["refcoco-unc-val", *words, *more]) == 0
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["prompt"] == "Please segment {} in this image."
    assert evaluate_desa2va.main(["refshapes", *words, "--videos", "0", "--json", str(tmp_path / "r.json")]) == 0
    weights = json.loads((tmp_path / "r.json").read_text())["provenance"]["weights_sha256"]
    assert report["provenance"]["model"]["weights_sha256"] == weights


def test_what_can_not_be_is_one_line(tmp_path, capsys):
    """Before a model is loaded or a folder made."""
    assert main(["eval", "mevis-vlid_u", "--data", str(tmp_path)]) == 2
    assert "did you mean 'mevis-valid_u'?" in capsys.readouterr().err
    words = ["--data", str(tmp_path / "no"), "--out", str(tmp_path / "o"), "--model", "nowhere"]
    assert main(["eval", "mevis-valid_u", *words]) == 2
    assert "meta_expressions.json" in capsys.readouterr().err
    assert main(["eval", "mevis-valid", *words, "--baseline", "box"]) == 2
    assert "the truth, which is not public for mevis-valid" in capsys.readouterr().err
    root = str(write_refcoco(tmp_path / "data", {9: [(1, 1, ["the box"])]}))
    assert main(["eval", "refcoco-unc-val", "--data", root, "--out", words[3], "--baseline", "key_frames"]) == 2
    assert "--baseline key_frames is for videos; refcoco-unc-val asks about pictures" in capsys.readouterr().err
    assert not (tmp_path / "o").exists()
