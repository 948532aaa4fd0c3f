"""The report of `desa2va eval refshapes` on a page, beside a run of a benchmark."""

import json

import pytest

from desa2va.cli import main
from desa2va.eval.reports.opened import read_report
from desa2va.eval.reports.refshapes import as_benchmark


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """What the command writes."""
    path = tmp_path_factory.mktemp("refshapes") / "standard.json"
    words = ["eval", "refshapes", "--limit", "4", "--videos", "1", "--device", "cpu"]
    assert main([*words, "--json", str(path)]) == 0
    return path


def test_both_forms_stand_on_one_page(written, run_folder, tmp_path, capsys):
    """One of the two was refused, though `desa2va report` says that it shows reports of benchmarks."""
    assert main(["report", str(written), str(run_folder[1]), "--out", str(tmp_path / "page")]) == 0
    assert "no gallery" in capsys.readouterr().out
    text = (tmp_path / "page" / "report.md").read_text(encoding="utf-8")
    assert "## refshapes-standard-test, desa2va-tiny" in text
    assert "## refcoco-unc-val, oracle" in text
    content, report = json.loads(written.read_text()), read_report(written)
    assert report.figure("overall.ciou") == content["ciou"]
    assert report.groups()["relation"]["giou"] == content["by_kind"]["relation"]["giou"]
    assert report.groups()["no target"]["n_acc"] == content["no_target"]["n_acc"]
    assert report.groups()["qa color"]["accuracy"] == content["qa"]["color"]["accuracy"]
    assert report.groups()["video all"]["jf"] == content["video"]["all"]["jf"]
    assert f"{report.content['n']} samples, 0 failed" in text
    assert report.content["provenance"]["model"] == {
        **{name: content["provenance"][name] for name in ("weights_sha256", "prompt_mode", "dtype")}
    }


def test_what_is_no_such_report_is_named(written, tmp_path):
    content = json.loads(written.read_text())
    with pytest.raises(ValueError, match="here: refshapes-standard-train is no benchmark"):
        as_benchmark({**content, "split": "train"}, "here")
    with pytest.raises(ValueError, match="'by_kind', 'provenance' and 'statuses' must be objects"):
        as_benchmark({**content, "by_kind": []}, "here")
    path = tmp_path / "report.json"
    path.write_text(json.dumps({**content, "n": "ten"}))
    with pytest.raises(ValueError, match="'n' must be there and of kind int"):
        read_report(path)
