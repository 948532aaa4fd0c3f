"""Twenty steps of phase 3 with every term on, on batches of no, one and many objects, in both precisions."""

import math

import pytest
import torch
from transformers import TrainerCallback

from desa2va.training.arguments import DeSa2VATrainingArguments, MaskLossArguments
from desa2va.training.data.refshapes.dataset import RefShapes
from desa2va.training.label_states import LabelReader
from desa2va.training.phases import build_objective, free_parameters, trainable_prefixes
from desa2va.training.recipe_file import read_config
from desa2va.training.train import _auxiliary
from desa2va.training.trainer import DeSa2VATrainer

KINDS = ("qa_color", "no_target", "attribute", "multiple", "caption")


class Watch(TrainerCallback):
    """Notes what is not finite, and which parameters were ever moved."""

    def __init__(self):
        self.broken, self.reached = [], set()

    def on_pre_optimizer_step(self, args, state, control, model=None, **kwargs):
        for name, parameter in model.named_parameters():
            if parameter.grad is None:
                continue
            if not torch.isfinite(parameter.grad).all():
                self.broken.append((state.global_step, name))
            if parameter.grad.abs().sum() > 0:
                self.reached.add(name)


@pytest.fixture(scope="module")
def samples():
    """Two samples of every kind: 0 objects (questions, nothing there), 1, and many."""
    sets = [RefShapes("train", level="full", conversations=1, length=2, kinds={kind: 1.0}) for kind in KINDS]
    return [dataset[index] for dataset in sets for index in range(2)]


@pytest.mark.parametrize(("bf16", "size"), [(False, 1), (True, 2)])
def test_every_term_and_every_gradient_stays_finite(make_model, processor, samples, tmp_path, bf16, size):
    """The 10,000 steps of `tiny/stability` in short: a division by what an odd batch does not have shows here."""
    counts = {sum(len(conversation.masks) for conversation in sample.conversations) for sample in samples}
    assert {0, 1} < counts
    fields = read_config("tiny/stability")["training"]
    fields |= {"max_steps": 10, "per_device_train_batch_size": size, "warm_start": [], "adversarial_warmup": 2}
    fields |= {"use_cpu": True, "bf16": bf16, "logging_steps": 1, "save_strategy": "no", "disable_tqdm": True}
    fields |= {"discriminator_gradient_penalty": 1.0, "orthogonality_center": size == 2, "seed": size}
    arguments = DeSa2VATrainingArguments(output_dir=str(tmp_path), **fields)
    model, watch = make_model(), Watch()
    reader = LabelReader(model, processor.tokenizer)
    free_parameters(model, trainable_prefixes(arguments))
    trainer = DeSa2VATrainer(
        model=build_objective(model, arguments, MaskLossArguments(mask_target_size=32), processor, reader),
        args=arguments,
        auxiliary=_auxiliary(model, arguments),
        train_dataset=samples,
        data_collator=processor.collate,
        callbacks=[watch],
    )
    trainer.train()
    assert watch.broken == []
    for part in ("mllm", "decoupling.text", "decoupling.visual", "segmenter.visual_decoder", "fusion"):
        assert any(name.startswith(f"model.{part}") for name in watch.reached), f"no gradient ever reached {part}"
    logs = trainer.state.log_history[:-1]
    for entry in logs:
        wrong = {name: value for name, value in entry.items() if not math.isfinite(value)}
        assert not wrong, (entry["step"], wrong)
    seen = set().union(*logs)
    assert {f"loss_{name}" for name, weight in arguments.weights.items() if weight} <= seen
    assert all(torch.isfinite(value).all() for value in trainer.auxiliary.state_dict().values())
