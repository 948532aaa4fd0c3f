"""What can be known of a stage before its model is there is told before the first stage begins."""

import os

import pytest

from desa2va.training.arguments import DeSa2VATrainingArguments
from desa2va.training.phases import validated_names
from desa2va.training.train import run_recipe

VALIDATED_ON = {"data": {"validation": {"dataset": "refshapes", "options": {"length": 4}}}}
QUIET = {"max_steps": 2, "use_cpu": True, "disable_tqdm": True, "save_steps": 1}
VALIDATED = {"eval_strategy": "steps", "eval_steps": 1}
BEST = {**VALIDATED, "load_best_model_at_end": True}


def recipe(folder, training, **later):
    stages = [{"name": name, "training": {"phase": name}} for name in ("text_pretraining", "decoupling")]
    stages.append({"name": "last", "training": {"phase": "fusion", **training}, **later})
    return {"output_dir": str(folder), "init_from": "desa2va-tiny", "training": QUIET, "stages": stages}


@pytest.mark.parametrize(
    ("training", "later", "message"),
    [
        (
            {**BEST, "metric_for_best_model": "fused_iuo"},
            VALIDATED_ON,
            "'fused_iuo'; did you mean 'fused_iou'",
        ),
        (
            {**BEST, "metric_for_best_model": "score_ciou"},
            VALIDATED_ON,
            "gives 'score_ciou'; there are fused_",
        ),
        ({**BEST, "metric_for_best_model": "loss_club"}, VALIDATED_ON, "gives 'loss_club'"),
        (VALIDATED, {}, "eval_strategy=steps needs data.validation or score"),
        ({"early_stopping_patience": 1}, {}, "needs load_best_model_at_end"),
        ({**BEST, "early_stopping_patience": 0}, VALIDATED_ON, "must be at least 1"),
        ({**BEST, "save_steps": 3, "eval_steps": 2}, VALIDATED_ON, "multiple of the evaluation steps"),
        (VALIDATED, {"score": {"benchmark": "refcoco-unc-val"}}, "score needs `desa2va train`"),
        (VALIDATED, {"score": {"limit": 4}}, "score needs a benchmark"),
        (VALIDATED, {"data": {"validation": {"dataset": "none.json"}}}, "none.json"),
        ({}, {"data": {"dataset": "none.json"}}, "none.json"),
        ({"warm_start": ["fit_txt"]}, {}, "warm_start holds 'fit_txt'"),
        ({"fsdp": True, "muon_learning_rate": 0.1}, {}, "FSDP does not go with Muon"),
    ],
)
def test_a_later_stage_is_looked_at_before_the_first_one(training, later, message, tmp_path):
    """A wrong name of the figure that chooses the best checkpoint ended the third stage at its first validation, after
    the two before it.
    """
    before = dict(os.environ)
    with pytest.raises((ValueError, FileNotFoundError), match=f"stage last: .*{message}"):
        run_recipe(recipe(tmp_path, training, **later))
    assert not (tmp_path / "text_pretraining").exists()
    assert dict(os.environ) == before


def test_a_term_that_counts_nothing_is_no_figure(tmp_path):
    """It is not computed, so no validation has it."""
    weights = {"visual_mask": 1.0}
    arguments = DeSa2VATrainingArguments(output_dir=str(tmp_path), use_cpu=True, weights=weights)
    names = validated_names(arguments)
    assert {"loss", "loss_language", "loss_visual_mask", "fused_iou"} <= names
    assert "loss_alignment" not in names
