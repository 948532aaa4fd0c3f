"""README's figures of the shipped model are those of its evaluation."""

import json
from pathlib import Path

import pytest

import desa2va
from desa2va.eval.provenance import weights_sha256

MODEL = Path(desa2va.__file__).parent / "assets" / "desa2va-tiny"
README = " ".join((Path(desa2va.__file__).resolve().parent.parent / "README.md").read_text(encoding="utf-8").split())
REPORTS = json.loads((MODEL / "evaluation.json").read_text(encoding="utf-8"))
STANDARD, FULL = REPORTS["standard test"], REPORTS["full test"]
ROWS = {
    "standard, seed 0": "standard test",
    "standard, seed 1 (fresh scenes)": "standard_seed1",
    "easy, seed 0": "easy test",
    "full, seed 0": "full test",
}


def short(value):
    """As the page writes a share: `.917`."""
    return f"{value:.3f}".removeprefix("0")


def with_error(scores, name="ciou"):
    return f"{short(scores[name])} ± {short(scores[f'{name}_se'])}"


def test_every_report_is_of_the_weights_beside_it():
    """Scores of the stage that was rounded stood in the card once."""
    assert {*ROWS.values(), "robustness-refshapes-standard-test"} == set(REPORTS)
    assert {report["provenance"]["weights_sha256"] for report in REPORTS.values()} == {weights_sha256(MODEL)}


@pytest.mark.parametrize("row", ROWS)
def test_a_row_is_what_was_measured(row):
    """A page is written by hand, and weights are replaced."""
    report = REPORTS[ROWS[row]]
    kinds = [report["by_kind"].get(kind) for kind in ("attribute", "relation", "superlative")]
    cells = ["" if kind is None else with_error(kind) for kind in kinds]
    line = " | ".join([row, *cells, with_error(report), short(report["floor"]["ciou"])])
    assert f"| {' '.join(line.split())} |" in README.replace("**", "")


def test_what_stands_below_the_table():
    """Tasks, videos, questions and the rest of the second table."""
    by_kind, tasks = FULL["by_kind"], FULL["tasks"]
    negation, multiple = (
        f"{short(by_kind[kind]['ciou'])}, floor {short(by_kind[kind]['floor_ciou'])}"
        for kind in ("negation", "multiple")
    )
    caption, region, turns, found, example = (tasks[name] for name in ("caption", "region", "turns", "set", "example"))
    video, asked, no_target = STANDARD["video"], STANDARD["qa"], STANDARD["no_target"]
    branch, errors, pieces = STANDARD["by_branch"], STANDARD["error_prediction"], STANDARD["in_pieces"]
    told = [
        f"negation ({negation}), multiple ({multiple})",
        f"grounded captions mIoU {short(caption['miou'])}, AP50 {short(caption['ap50'])}, every word right "
        f"{short(caption['exact'])}; region captions right {short(region['exact'])}; second turns "
        f"{short(turns['accuracy'])}; sets F1 {short(found['positive_micro_f1'])}, by example "
        f"{short(example['positive_micro_f1'])}.",
        f"For videos: sets F1 {short(tasks['video set']['positive_micro_f1'])}, regions "
        f"{short(tasks['video region']['exact'])}, captions right in every word "
        f"{short(tasks['video caption']['exact'])}.",
        f"asked for | {STANDARD['seg_rate']:.1%} |".replace("%", " %"),
        f"mean IoU | {with_error(video['attribute'], 'one_prompt_iou')} |",
        f"mean IoU; J&F | {short(video['attribute']['mean_iou'])}; {short(video['attribute']['jf'])} |",
        " / ".join(short(video[kind]["jf"]) for kind in ("motion", "late", "occlusion")),
        " / ".join(
            f"{short(asked[kind]['accuracy'])} ({short(asked[kind]['majority'])})"
            for kind in ("color", "count", "exist")
        ),
        f"no mask given | {short(no_target['n_acc'])} |",
        " / ".join(short(branch[name]) for name in ("text", "visual", "fused")),
        f"{short(errors['disagreement']['auroc'])} ({short(errors['predicted_iou']['auroc'])}), "
        f"{errors['disagreement']['wrong']} wrong of {errors['disagreement']['n']} |",
        f"(true ones) | {short(pieces['predicted'])} ({short(pieces['true'])}) |",
    ]
    assert [line for line in told if line not in README] == []
