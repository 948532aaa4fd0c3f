"""Ours beside theirs: what is compared with what, and what an empty cell says."""

import json

import pytest

from desa2va.eval.reports.comparison import compare, heading
from desa2va.eval.reports.opened import OpenedReport, read_report


def opened(name, figures, count=3, limit=None):
    samples = [{"id": str(number), "jf": 0.5} for number in range(count)]
    provenance = {"model": {}, "machine": {"model": "mine"}, "limit": limit}
    content = {"benchmark": name, "figures": figures, "samples": samples, "n": count, "provenance": provenance}
    return OpenedReport("report.json", content)


def test_fractions_become_percent_and_percent_stays():
    """ReVOS' script gives percent, all others fractions; a factor of 100 is easily lost."""
    assert compare("refcoco-unc-val", [opened("refcoco-unc-val", {"ciou": 0.825})]).rows[0].cells == (82.5,)
    figures = {"overall": {"jf": 70.0, "j": 68.0, "f": 72.0}}
    table = compare("revos-valid", [opened("revos-valid", figures)])
    own = dict(zip(table.metrics, table.rows[0].cells, strict=True))
    assert own["overall.jf"] == 70.0
    assert own["reasoning.jf"] is None


def test_a_row_has_its_source_and_ablations_are_left_out():
    rows = compare("refcoco-unc-val").rows
    assert not any(row.is_ours for row in rows)
    assert all(row.url.startswith("https://") and ", table " in row.source for row in rows)
    who = [row.who for row in rows]
    assert "DeSa2VA-4B" in who
    assert "Sa2VA-4B (InternVL2.5)" in who
    assert not [name for name in who if "w/o" in name or "re-prompt" in name]


def test_other_data_are_told():
    """A set in RefCOCO's layout is not RefCOCO; its score must not pass for one."""
    told = compare("refcoco-unc-val", [opened("refcoco-unc-val", {"ciou": 0.8})]).rows[0].notes
    assert told == ("3 samples where the published split has 10834: other data, the figures do not compare",)
    told = compare("reasonseg-val", [opened("reasonseg-val", {"overall": {"giou": 0.5, "ciou": 0.4}}, 200)])
    assert told.rows[0].notes == ("200 samples, as many as the published split has",)


def test_an_empty_cell_says_why():
    row = compare("mevis-valid", [opened("mevis-valid", {})]).rows[0]
    assert set(row.cells) == {None}
    assert row.notes[0] == "J&F, J, F: the truth is not public; the server scores submission.zip"
    figures = {"ap50": 0.3, "miou": 0.6, "captions": "not computed: METEOR and CIDEr need Java"}
    row = compare("gcg-val", [opened("gcg-val", figures)]).rows[0]
    assert row.notes[0] == "METEOR, CIDEr: not computed: METEOR and CIDEr need Java"


def test_headings_are_readable():
    assert heading("overall.jf") == "J&F overall"
    assert heading("precision@0.5") == "precision@0.5"
    assert heading("ciou_se") == "cIoU ± error"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"benchmark": "nothing"}, "is no report of `desa2va eval BENCHMARK`"),
        ({"samples": None}, "'samples' must be there and of kind list"),
        ({"samples": [{"iou": 1}]}, "every entry of 'samples' needs an 'id'"),
        ({"figures": 3}, "'figures' must be there and of kind dict"),
    ],
)
def test_what_is_no_report_is_named(tmp_path, run_folder, change, told):
    content = json.loads((run_folder[1] / "report.json").read_text())
    path = tmp_path / "report.json"
    path.write_text(json.dumps({**content, **change}))
    with pytest.raises(ValueError, match="report.json") as error:
        read_report(tmp_path)
    assert told in str(error.value)
    with pytest.raises(FileNotFoundError, match="there is no report"):
        read_report(tmp_path / "nowhere")
