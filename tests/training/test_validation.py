"""Validation while training: by command, and by the stock trainer around the bare model."""

import json

import pytest
import torch
from transformers import Trainer, TrainingArguments

from desa2va.training.arguments import DeSa2VATrainingArguments, MaskLossArguments
from desa2va.training.data.refshapes import RefShapes
from desa2va.training.label_states import LabelReader
from desa2va.training.phases import build_objective, free_parameters, trainable_prefixes
from desa2va.training.train import run_stage
from desa2va.training.trainer import DeSa2VATrainer
from tests.training.host_reads import Reads

QUIET = {"use_cpu": True, "disable_tqdm": True, "report_to": "none"}
WEIGHTS = {"language": 1.0, "visual_mask": 1.0, "fused_mask": 1.0, "iou": 0.1}


class Epochs:
    """Notes what every epoch was made of."""

    def __init__(self):
        self.data, self.seen = RefShapes("train", conversations=1, length=2), []

    def set_epoch(self, epoch):
        self.data.set_epoch(epoch)

    def __len__(self):
        return len(self.data)

    def __getitem__(self, index):
        self.seen.append(self.data[index].name)
        return self.data[index]


def trainer_of(make_model, processor, folder, dataset, **fields):
    arguments = DeSa2VATrainingArguments(
        output_dir=str(folder), language_model="frozen", weights=WEIGHTS, **{**QUIET, "save_strategy": "no", **fields}
    )
    model = make_model()
    reader = LabelReader(model, processor.tokenizer, shared=True)
    free_parameters(model, trainable_prefixes(arguments))
    return DeSa2VATrainer(
        model=build_objective(model, arguments, MaskLossArguments(mask_target_size=32), processor, reader),
        args=arguments,
        train_dataset=dataset,
        eval_dataset=RefShapes("validation", conversations=2, length=6),
        data_collator=processor.collate,
    )


def test_every_epoch_is_told_to_the_data(make_model, processor, tmp_path):
    """accelerate tells the sampler, and the data only where there is none: every epoch drew the same samples."""
    dataset = Epochs()
    trainer = trainer_of(make_model, processor, tmp_path, dataset, num_train_epochs=3, per_device_train_batch_size=1)
    trainer.train()
    assert sorted(dataset.seen) == [f"refshapes/train/{number}" for number in range(6)]


def test_a_validation_does_not_depend_on_batches_and_draws_nothing_from_the_training(make_model, processor, tmp_path):
    """A mean of batch means weighs a picture with one object like one with six."""
    found = []
    for size in (1, 4):
        trainer = trainer_of(make_model, processor, tmp_path, Epochs(), per_device_eval_batch_size=size)
        before = torch.get_rng_state()
        metrics = trainer.evaluate()
        assert torch.equal(torch.get_rng_state(), before)
        found.append({name: value for name, value in metrics.items() if "second" not in name and "time" not in name})
    assert {"eval_loss", "eval_loss_language", "eval_loss_visual_mask", "eval_fused_iou"} <= set(found[0])
    assert found[0] == pytest.approx(found[1], rel=1e-4)
    terms = sum(WEIGHTS[name] * found[0][f"eval_loss_{name}"] for name in WEIGHTS)
    assert found[0]["eval_loss"] == pytest.approx(terms)


def test_the_terms_of_a_step_look_for_their_masks_once(make_model, processor, tmp_path, monkeypatch):
    """Every term of every mask looked for the pairs that show something; the scores look once more."""
    objective = trainer_of(make_model, processor, tmp_path, Epochs()).model
    whole, reads = objective._mask_terms, Reads()

    def counted(*args):
        with reads:
            return whole(*args)

    monkeypatch.setattr(objective, "_mask_terms", counted)
    output = objective(**processor.collate([RefShapes("train", conversations=2, length=2)[0]]))
    assert {"visual_mask", "fused_mask", "iou"} <= set(output["terms"])
    assert (reads.count, reads.searches) == (0, 2)


def test_terms_are_read_when_they_are_logged(make_model, processor, tmp_path):
    """Every term and metric was read in every step. One number still is: whether the loss is finite."""
    trainer = trainer_of(make_model, processor, tmp_path, Epochs())
    batch = processor.collate([RefShapes("train", conversations=2, length=2)[0]])
    with Reads() as alone:
        output = trainer.model(**batch)
    with Reads() as whole:
        trainer.compute_loss(trainer.model, dict(batch))
    assert whole.count <= alone.count + 1
    logs = {"loss": 1.0}
    trainer.log(logs)
    for name, term in output["terms"].items():
        assert logs[f"loss_{name}"] == pytest.approx(float(term.detach()), abs=1e-4)


STAGE = {
    "init_from": "desa2va-tiny",
    "mask_loss": {"mask_target_size": 32},
    "data": {
        "options": {"conversations": 1},
        "validation": {"dataset": "refshapes", "options": {"length": 4, "conversations": 1}},
    },
    "training": {
        "phase": "decoupling",
        "language_model": "frozen",
        "weights": WEIGHTS,
        "max_steps": 2,
        "learning_rate": 0.005,  # the second step is worse than the first
        "lr_scheduler_type": "constant",
        "per_device_train_batch_size": 2,
        "save_strategy": "steps",
        "save_steps": 1,
        "eval_strategy": "steps",
        "eval_steps": 1,
        "load_best_model_at_end": True,
        **QUIET,
    },
}


def test_the_best_checkpoint_is_what_a_stage_ends_with(tmp_path):
    """The stock trainer looks for weights of another name, warns, and goes on with the last ones."""
    folder = run_stage({**STAGE, "output_dir": str(tmp_path)})
    state = json.loads((folder / "trainer_state.json").read_text())
    first, second, last = (entry["eval_loss"] for entry in state["log_history"] if "eval_loss" in entry)
    assert first < second
    assert last == first == json.loads((folder / "stage.json").read_text())["validation"]["eval_loss"]
    assert state["best_model_checkpoint"] == str(folder / "checkpoint-1")


def test_validating_without_a_validation_set_is_refused(tmp_path):
    data = {"options": {"conversations": 1}}
    with pytest.raises(ValueError, match="eval_strategy=steps needs data.validation"):
        run_stage({**STAGE, "data": data, "output_dir": str(tmp_path)})


def test_the_stock_trainer_finds_an_eval_loss(make_model, processor, scenes, tmp_path):
    """A second argument called like a label kept it from seeing that there are labels."""
    trainer = Trainer(
        model=make_model(),
        args=TrainingArguments(output_dir=str(tmp_path), remove_unused_columns=False, **QUIET),
        eval_dataset=scenes,
        data_collator=processor.collate,
    )
    assert trainer.label_names == ["labels"]
    assert trainer.evaluate()["eval_loss"] > 0


def test_a_stock_resume_that_would_lose_the_language_model_is_told(make_model, tmp_path):
    """It loaded 589 of 704 weights, listed the others in a log and trained on."""
    model = make_model()
    model.save_pretrained(tmp_path)
    trainer = Trainer(model=model, args=TrainingArguments(output_dir=str(tmp_path), **QUIET))
    with pytest.raises(ValueError, match="are not the model's.*use `desa2va train`"):
        trainer.train(resume_from_checkpoint=str(tmp_path))
