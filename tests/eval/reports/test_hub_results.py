"""What the Hub reads: its own parsers read it back, and it is of the model in the folder."""

import json
import shutil

import pytest
import yaml
from huggingface_hub import ModelCard, metadata_load

from desa2va.card import index_results, write_card
from desa2va.cli import main
from desa2va.eval.provenance import weights_sha256
from desa2va.eval.reports.hub_results import add_to_model, eval_result, headline
from desa2va.eval.reports.opened import OpenedReport, read_report
from desa2va.model_files import locate

WEIGHTS = "f" * 64


def opened(name, figures, weights=WEIGHTS):
    provenance = {"model": {"weights_sha256": weights}, "data_sha256": "d" * 64}
    return OpenedReport("r.json", {"benchmark": name, "figures": figures, "n": 7, "provenance": provenance})


def test_the_main_figures_by_hand():
    assert headline(opened("refcoco-unc-val", {"n": 7, "ciou": 0.5, "ciou_se": 0.1})) == {"n": 7, "ciou": 0.5}
    figures = {"n": 7, "referring": {"jf": 60.0}, "overall": {"n": 7, "jf": 70.0, "j": 69.0}}
    assert headline(opened("revos-valid", figures)) == {"n": 7, "jf": 70.0, "j": 69.0}
    figures = {"expression": {"jf": 0.7}, "four_annotators": None}
    assert headline(opened("ref_davis17-valid", figures)) == {"n": 7, "jf": 0.7}
    with pytest.raises(ValueError, match="has none of the figures"):
        headline(opened("mevis-valid", {}))


def test_an_entry_is_what_the_hub_documents():
    """Keys of https://huggingface.co/docs/hub/eval-results; fractions become percent, percent stays."""
    report = opened("refcoco_m-validation", {"ciou": 0.82354})
    entry = eval_result(report, "moondream/refcoco-m")
    assert entry[0]["dataset"] == {"id": "moondream/refcoco-m", "task_id": "default"}
    assert entry[0]["value"] == 82.35
    assert WEIGHTS in entry[0]["notes"]
    figures = {"overall": {"jf": 70.126}}
    entry = eval_result(opened("revos-valid", figures), "a/b:revos")[0]
    assert (entry["value"], entry["dataset"]["task_id"]) == (70.13, "revos")


def test_the_hubs_own_reader_takes_it():
    hub = pytest.importorskip("huggingface_hub")
    if not hasattr(hub, "parse_eval_result_entries"):
        pytest.skip("this huggingface_hub does not know .eval_results yet")
    found = hub.parse_eval_result_entries(eval_result(opened("refcoco-unc-val", {"ciou": 0.5}), "a/b:c"))
    assert (found[0].dataset_id, found[0].task_id, found[0].value) == ("a/b", "c", 50.0)


@pytest.fixture
def model_folder(tmp_path):
    """The shipped model's folder, to write into."""
    return shutil.copytree(locate("desa2va-tiny"), tmp_path / "model")


@pytest.fixture
def own_report(run_folder, model_folder, tmp_path):
    """The report of a run as if this model had answered."""
    content = json.loads((run_folder[1] / "report.json").read_text())
    content["provenance"]["model"] = {"weights_sha256": weights_sha256(model_folder)}
    path = tmp_path / "own" / "report.json"
    path.parent.mkdir()
    path.write_text(json.dumps(content))
    return path


def test_card_evaluation_and_entry_are_written_and_stay(model_folder, own_report, tmp_path, capsys):
    """A card rendered anew by a later save must not forget the figures."""
    before = json.loads((model_folder / "evaluation.json").read_text())
    words = ["report", str(own_report), "--out", str(tmp_path / "page"), "--card", str(model_folder)]
    assert main([*words, "--hub-dataset", "me/refcoco:val"]) == 0
    entry = yaml.safe_load((model_folder / ".eval_results" / "refcoco-unc-val.yaml").read_text())
    ciou = json.loads(own_report.read_text())["figures"]["ciou"]
    assert entry[0]["value"] == pytest.approx(100 * ciou, abs=0.01)
    write_card(model_folder)
    results = {result.dataset_name: result for result in ModelCard.load(model_folder / "README.md").data.eval_results}
    assert "refcoco-unc-val" in results
    assert len(metadata_load(model_folder / "README.md")["model-index"][0]["results"]) > 1
    after = json.loads((model_folder / "evaluation.json").read_text())
    assert {name: after[name] for name in before if isinstance(before[name], dict) and name in after}
    assert main([*words, "--replace"]) == 0
    assert "name it with --hub-dataset" in capsys.readouterr().out


def test_a_hand_written_card_keeps_its_words_and_its_other_results(model_folder, own_report):
    other = index_results({"mine": {"ciou": 0.3}})
    page = model_folder / "README.md"
    facts = yaml.safe_dump({"license": "mit", "model-index": [{"name": "m", "results": other}]})
    page.write_text(f"---\n{facts}---\n# By hand\n")
    for _ in range(2):
        add_to_model([read_report(own_report)], model_folder)
    assert page.read_text().endswith("# By hand\n")
    found = metadata_load(page)
    names = [result["dataset"]["name"] for result in found["model-index"][0]["results"]]
    assert names[0] == "mine"
    assert names.count("refcoco-unc-val") == 1
    assert found["license"] == "mit"


def test_reports_of_other_weights_are_refused(model_folder, report):
    """A card with the figures of another model is worse than one without."""
    with pytest.raises(ValueError, match="is of weights 0000"):
        add_to_model([report], model_folder)


def test_refcoco_plus_is_not_refcoco():
    """Their names differ in a sign that slugs drop."""
    results = index_results({"refcoco-unc-val": {"ciou": 0.1}, "refcoco+-unc-val": {"ciou": 0.2}})
    assert len({result["dataset"]["type"] for result in results}) == 2
