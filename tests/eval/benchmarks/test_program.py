"""The whole way with the shipped model, by the command line; and the names that it takes."""

import json

import pytest

from desa2va.cli import main
from desa2va.eval import evaluate_desa2va
from desa2va.eval.benchmarks.names import BENCHMARKS, open_benchmark
from desa2va.processing.files import decode_mask
from desa2va.training.data.readers import READERS
from desa2va.training.data.refshapes.disk import write_refshapes


def test_every_name_is_a_benchmark_of_a_split_that_its_reader_has():
    for name in BENCHMARKS:
        benchmark = open_benchmark(name)
        assert benchmark.name == name
        split_by = benchmark.options.get("split_by")
        assert name == "-".join(filter(None, (benchmark.dataset, split_by, benchmark.split)))
        assert benchmark.split in READERS[benchmark.dataset].splits
        assert (benchmark.scores is None) == (benchmark.submission is not None)


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


def test_the_shipped_model_on_videos(tmp_path):
    """By the other program, which launchers start; the same answers twice."""
    root = tmp_path / "data"
    write_refshapes(root / "video_datas" / "mevis", "mevis", splits={"valid_u": 1}, progress=False, conversations=2)
    reports = []
    for out in (tmp_path / "one", tmp_path / "two"):
        words = ["mevis-valid_u", "--data", str(root), "--out", str(out), "--device", "cpu", "--limit", "2"]
        assert evaluate_desa2va.main(words) == 0
        reports.append(json.loads((out / "report.json").read_text()))
        reports[-1]["provenance"].pop("seconds")
    assert reports[0] == reports[1]
    assert reports[0]["n"] == 2
    assert reports[0]["figures"]["jf"] > 0.2


def test_a_missing_data_folder_is_one_line(tmp_path, capsys):
    assert main(["eval", "revos-valid-x", "--data", str(tmp_path)]) == 2
    assert "did you mean 'revos-valid'?" in capsys.readouterr().err if "revos-valid" in BENCHMARKS else True
    assert main(["eval", "mevis-valid_u", "--data", str(tmp_path / "no"), "--out", str(tmp_path / "o")]) == 2
    assert "no" in capsys.readouterr().err
    assert not (tmp_path / "o").exists()
