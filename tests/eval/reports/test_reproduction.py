"""A report asked again: which samples, what agrees, and that another model or other data are told."""

import json

import numpy as np
import pytest

from desa2va.cli import main
from desa2va.eval.reports.reproduction import Pair, compared, spread_units
from desa2va.training.data.refshapes.disk import write_refshapes


def pairs(*differences, before=0.5):
    return [Pair(str(k), before, before + value, ("ok", "ok")) for k, value in enumerate(differences)]


def test_units_are_spread_and_always_the_same():
    """Samples in a row come from one video or one photographer."""
    assert spread_units([1] * 10, 100) == list(range(10))
    chosen = spread_units([4] * 100, 37)
    assert chosen == spread_units([4] * 100, 37)
    assert len(chosen) == 10  # 40 samples, whole units
    assert max(np.diff([0, *chosen, 100])) <= 20
    assert spread_units([3, 5], 1) in ([0], [1])


def test_the_paired_test_by_hand():
    """Five differences of one sign: of 2 ** 5 signs two are as one-sided, p = 1 / 16; mixed signs say nothing."""
    assert compared(pairs(0.01, 0.02, 0.03, 0.04, 0.05), {}, {}).p_value == pytest.approx(1 / 16)
    assert compared(pairs(0.01, -0.02, 0.015), {}, {}).p_value == pytest.approx(1.0)
    assert compared(pairs(0.0, 0.0), {}, {}).p_value == 1.0


@pytest.mark.parametrize(
    ("differences", "identical", "agrees"),
    [
        ([0.0] * 5, True, True),
        ([1e-5] * 50, False, True),  # one-sided, and of no weight
        ([0.3, -0.3, *[0.0] * 100], False, True),  # two masks that flip on another device
        ([0.009] * 50, False, False),  # small but in one direction
        ([-0.4] * 4, False, False),  # too few for a test, too large for chance
    ],
)
def test_what_agrees(differences, identical, agrees):
    found = compared(pairs(*differences), {}, {})
    assert (found.identical, found.agrees) == (identical, agrees)


def test_settings_that_differ_are_notes():
    found = compared(pairs(0.0), {"torch": "1", "dtype": "float32"}, {"torch": "2", "dtype": "float32"})
    assert found.notes == ("torch was 1, is 2",)
    with pytest.raises(ValueError, match="none of the samples"):
        compared([], {}, {})


@pytest.fixture(scope="module")
def run_of_the_shipped_model(tmp_path_factory):
    root = tmp_path_factory.mktemp("reproduced")
    write_refshapes(root / "data", "refcoco", splits={"val": 4}, progress=False, conversations=2)
    words = ["eval", "refcoco-unc-val", "--data", str(root / "data"), "--out", str(root / "out"), "--device", "cpu"]
    assert main([*words, "--batch-size", "2"]) == 0
    return root


def test_the_shipped_model_says_it_again(run_of_the_shipped_model, capsys):
    """By the command line: model and data are those the report names, and every bit is the same."""
    root = run_of_the_shipped_model
    capsys.readouterr()
    assert main(["reproduce", str(root / "out"), "--limit", "3", "--device", "cpu"]) == 0
    told = capsys.readouterr().out
    assert "4 of 8 samples asked again: identical" in told


def test_a_report_that_is_not_true_is_told(run_of_the_shipped_model, tmp_path, capsys):
    """Scores that were typed, weights and data of another kind; each in its own words and not with code 0."""
    root = run_of_the_shipped_model
    content = json.loads((root / "out" / "report.json").read_text())
    words = ["reproduce", str(tmp_path / "r.json"), "--limit", "8", "--device", "cpu"]

    def told(change):
        report = json.loads(json.dumps(content))
        change(report)
        (tmp_path / "r.json").write_text(json.dumps(report))
        code, out = main(words), capsys.readouterr()
        return code, out.out + out.err

    def better(report):
        for sample in report["samples"]:
            sample["iou"] = min(1.0, sample["iou"] + 0.2) if sample["iou"] < 0.8 else sample["iou"] - 0.3

    code, text = told(better)
    assert code == 1
    assert "DOES NOT AGREE" in text
    code, text = told(lambda report: report["provenance"].update(data_sha256="0" * 64))
    assert code == 2
    assert "other data than the report's" in text
    code, text = told(lambda report: report["provenance"]["model"].update(weights_sha256="0" * 64))
    assert code == 2
    assert "other weights than the report's" in text
    code, text = told(lambda report: report["provenance"]["model"].update(torch="0.1"))
    assert code == 0
    assert "torch was 0.1, is" in text
    code, text = told(lambda report: report["provenance"]["machine"].pop("model"))
    assert code == 2
    assert "name it with --model" in text
