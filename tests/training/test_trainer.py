"""The trainer: accumulation, resuming, logging, auxiliary networks."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from transformers.trainer_utils import IntervalStrategy

from desa2va.training.arguments import DeSa2VATrainingArguments, MaskLossArguments
from desa2va.training.checkpoints import OBJECTIVE_FILE
from desa2va.training.data.refshapes.dataset import RefShapes
from desa2va.training.disentangling import offline
from desa2va.training.disentangling.auxiliary import FEATURES
from desa2va.training.label_states import LabelReader
from desa2va.training.phases import build_objective, free_parameters, trainable_prefixes
from desa2va.training.state_file import read_state, write_state
from desa2va.training.train import _auxiliary
from desa2va.training.trainer import AUXILIARY_FILE, DeSa2VATrainer, _known
from tests.training.host_reads import Reads

QUIET = {"use_cpu": True, "disable_tqdm": True, "lr_scheduler_type": "constant", "seed": 0, "data_seed": 0}
QUIET |= {"per_device_train_batch_size": 2}
WEIGHTS = {"language": 1.0, "visual_mask": 1.0, "text_mask": 0.5, "fused_mask": 1.0, "iou": 0.1, "object_score": 0.1}


def trainer_of(make_model, processor, folder, weights=WEIGHTS, phase="decoupling", auxiliary=False, **fields):
    arguments = DeSa2VATrainingArguments(
        output_dir=str(folder), phase=phase, language_model="full", weights=weights, **{**QUIET, **fields}
    )
    model = make_model()
    reader = LabelReader(model, processor.tokenizer)
    free_parameters(model, trainable_prefixes(arguments))
    objective = build_objective(model, arguments, MaskLossArguments(mask_target_size=32), processor, reader)
    torch.manual_seed(0)
    networks = _auxiliary(model, arguments) if auxiliary else None
    return DeSa2VATrainer(
        model=objective,
        args=arguments,
        auxiliary=networks,
        train_dataset=RefShapes("train", level="full", conversations=2, length=64),
        data_collator=processor.collate,
    )


def weights_of(trainer):
    return {name: value.detach().clone() for name, value in trainer.model.model.named_parameters()}


def test_eight_accumulated_singles_equal_one_batch_of_eight(make_model, processor, tmp_path):
    """Objects are ragged: a plain mean of eight means would weigh a scene with one object like one with six."""
    results = []
    for size, accumulation in ((8, 1), (1, 8)):
        trainer = trainer_of(
            make_model,
            processor,
            tmp_path / f"{size}",
            per_device_train_batch_size=size,
            gradient_accumulation_steps=accumulation,
            max_steps=1,
            learning_rate=1e-2,
            max_grad_norm=0.0,
            optim="sgd",
            save_strategy="no",
        )
        trainer.optimizer = torch.optim.SGD([p for p in trainer.model.parameters() if p.requires_grad], lr=1e-2)
        trainer.train()
        results.append(weights_of(trainer))
    for name, value in results[0].items():
        torch.testing.assert_close(
            results[1][name], value, rtol=1e-3, atol=2e-5, msg=lambda m, name=name: f"{name}: {m}"
        )


@pytest.mark.parametrize("adversarial_loss", ["reversal", "non_saturating"])
def test_the_game_of_eight_singles_is_that_of_one_batch_of_eight(make_model, processor, tmp_path, adversarial_loss):
    """A mean over objects like any other: a scene with one object must not weigh like one with six."""
    results = []
    for size in (8, 2, 1):
        trainer = trainer_of(
            make_model,
            processor,
            tmp_path / f"{size}",
            {"adversarial": 1.0},
            auxiliary=True,
            adversarial_loss=adversarial_loss,
            adversarial_warmup=0,
            discriminator_noise=0.0,
            discriminator_spectral_norm=False,  # its power iteration moves at every look
            per_device_train_batch_size=size,
            gradient_accumulation_steps=8 // size,
            max_steps=1,
            max_grad_norm=0.0,
            save_strategy="no",
        )
        trainer.optimizer = torch.optim.SGD(trainer.model.model.decoupling.parameters(), lr=1.0)
        before = weights_of(trainer)["decoupling.text.layers.0.weight"]
        trainer.train()
        results.append(weights_of(trainer)["decoupling.text.layers.0.weight"] - before)
    assert results[0].abs().max() > 1e-4
    for other in results[1:]:
        torch.testing.assert_close(other, results[0], rtol=1e-3, atol=1e-6)


def test_orthogonality_of_eight_singles_is_that_of_one_batch_of_eight(make_model, processor, tmp_path):
    """Against what was remembered before the step; the first step of a training, with nothing to remember, is Eq. 7
    of each micro-batch and does depend on how the objects are divided.
    """
    results = []
    for size in (8, 2, 1):
        trainer = trainer_of(
            make_model,
            processor,
            tmp_path / f"{size}",
            {"orthogonality": 1.0},
            per_device_train_batch_size=size,
            gradient_accumulation_steps=8 // size,
            max_steps=1,
            max_grad_norm=0.0,
            save_strategy="no",
        )
        memory = trainer.model.memory
        memory.push(*torch.randn(2, 20, memory.rows.shape[2], generator=torch.Generator().manual_seed(0)))
        trainer.optimizer = torch.optim.SGD(trainer.model.model.decoupling.parameters(), lr=1.0)
        before = weights_of(trainer)["decoupling.text.layers.0.weight"]
        trainer.train()
        results.append((weights_of(trainer)["decoupling.text.layers.0.weight"] - before, memory.negatives()[0]))
    assert results[0][0].abs().max() > 1e-5
    for step, remembered in results[1:]:
        torch.testing.assert_close(step, results[0][0], rtol=1e-3, atol=1e-7)
        torch.testing.assert_close(remembered, results[0][1], rtol=1e-3, atol=1e-5)


def test_resume_continues_bit_for_bit(make_model, processor, tmp_path):
    """Model, Muon, AdamW, schedule, random state, discriminators, CLUB, queue and remembered tokens all come back."""
    weights = {**WEIGHTS, "adversarial": 0.1, "club": 0.1, "orthogonality": 0.1}
    fields = {
        "max_steps": 4,
        "save_steps": 2,
        "muon_learning_rate": 0.01,
        "muon_modules": ["mllm.model.language_model.layers"],
        "lr_scheduler_type": "cosine",
        "auxiliary": True,
    }
    straight = trainer_of(make_model, processor, tmp_path / "straight", weights, **fields)
    straight.train()
    again = trainer_of(make_model, processor, tmp_path / "again", weights, **fields)
    again.train(resume_from_checkpoint=str(tmp_path / "straight" / "checkpoint-2"))
    for one, other in (
        (weights_of(straight), weights_of(again)),
        (straight.auxiliary.state_dict(), again.auxiliary.state_dict()),
    ):
        for name, value in one.items():
            assert torch.equal(value, other[name]), name


def test_every_term_is_logged_and_the_auxiliary_networks_learn(make_model, processor, tmp_path):
    weights = {**WEIGHTS, "adversarial": 0.1, "club": 0.1, "orthogonality": 0.1}
    trainer = trainer_of(
        make_model,
        processor,
        tmp_path,
        weights,
        auxiliary=True,
        max_steps=2,
        logging_steps=1,
        save_strategy="no",
    )
    before = {name: value.clone() for name, value in trainer.auxiliary.named_parameters()}
    trainer.train()
    entry = trainer.state.log_history[1]  # CLUB knows its statistics after a step
    for name in weights:
        assert np.isfinite(entry[f"loss_{name}"]), name
    for name in ("accuracy_text", "accuracy_visual", "mutual_information", "gate", "fused_iou"):
        assert np.isfinite(entry[name]), name
    assert any(not torch.equal(before[name], value) for name, value in trainer.auxiliary.named_parameters())


def test_a_step_reads_six_numbers(make_model, processor, tmp_path, monkeypatch):
    """It was 76, and a device stands still for each. Three belong to transformers: whether anything is padded, and
    whether the loss is NaN or infinite. Ours are the number of a batch's picture tokens, whether it is padded on the
    left, and whether the loss is finite before it spoils a weight. Eleven times something is looked for by a mask.
    """
    weights = {**WEIGHTS, "adversarial": 0.1, "club": 0.1, "orthogonality": 0.1}
    fields = {"max_steps": 5, "logging_steps": 100, "save_strategy": "no"}
    trainer = trainer_of(make_model, processor, tmp_path, weights, auxiliary=True, **fields)
    usual, reads, before = trainer.training_step, Reads(), []

    def step(*args, **kwargs):
        before.append((reads.count, reads.searches))
        return usual(*args, **kwargs)

    monkeypatch.setattr(trainer, "training_step", step)
    with reads:
        trainer.train()
    # the first step fetches the auxiliary networks' counts, and CLUB gives no term before it knows its statistics
    found = [(after[0] - start[0], after[1] - start[1]) for start, after in pairwise(before[1:])]
    assert len(found) == 3
    assert all(count <= 6 and searches <= 11 for count, searches in found), found


@pytest.mark.parametrize("kinds", [("float32",), ("bfloat16",), ("float64",), ("float32", "bfloat16", "float64")])
def test_numbers_fetched_at_once_are_those_fetched_alone(kinds):
    """Bit for bit, of one kind and of several, from the least to the greatest; a mean over them is the same mean."""
    drawn = torch.randn(40, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 10.0 ** torch.arange(40)
    plain = [*drawn.tolist(), -0.0, 1e-40, 3.3e38, float("inf")]
    values = [torch.tensor(number, dtype=getattr(torch, kind)) for number in plain for kind in kinds]
    alone = [value.item() for value in values]
    assert [number.hex() for number in _known([*values, torch.tensor(float("nan"))])] == [n.hex() for n in alone]


def test_the_auxiliary_networks_are_looked_at_five_times_a_log(make_model, processor, tmp_path, monkeypatch):
    """Guards against figures at every step, which cost as much as what is learned there, and against none in a log."""
    trainer = trainer_of(
        make_model,
        processor,
        tmp_path,
        {"club": 0.1, "adversarial": 0.1},
        auxiliary=True,
    )
    looks = []
    features = {name: torch.randn(2, trainer.model.model.config.prompt_dim) for name in FEATURES}
    monkeypatch.setattr(trainer.auxiliary, "metrics", lambda _: looks.append(trainer.state.global_step) or {})
    for step in range(20):
        trainer.state.global_step, trainer.state.logging_steps = step, 10
        trainer._refresh_auxiliary(features)
    assert looks == [1, 3, 5, 7, 9, 11, 13, 15, 17, 19]
    trainer.state.logging_steps = 3
    trainer._refresh_auxiliary(features)
    trainer.args.logging_strategy = IntervalStrategy.EPOCH
    trainer._refresh_auxiliary(features)
    assert looks[-2:] == [19, 19]


def test_auxiliary_networks_are_no_part_of_what_is_saved(make_model, processor, tmp_path):
    trainer = trainer_of(
        make_model,
        processor,
        tmp_path,
        {**WEIGHTS, "club": 0.1},
        auxiliary=True,
        max_steps=1,
        save_steps=1,
    )
    trainer.train()
    saved = read_state(tmp_path / "checkpoint-1" / OBJECTIVE_FILE)
    assert not [name for name in saved if "discriminator" in name or "club" in name]
    assert (tmp_path / "checkpoint-1" / AUXILIARY_FILE).is_file()


def test_a_batch_without_objects_trains(make_model, processor, tmp_path):
    """Questions alone: no [SEG], no mask; every term that remains is finite and the step is taken."""
    trainer = trainer_of(
        make_model,
        processor,
        tmp_path,
        auxiliary=True,
        max_steps=1,
        save_strategy="no",
        weights={**WEIGHTS, "adversarial": 0.1, "club": 0.1, "orthogonality": 0.1},
    )
    trainer.train_dataset = RefShapes("train", conversations=1, length=8, kinds={"qa_color": 1.0})
    trainer.train()
    assert np.isfinite(trainer.state.log_history[-1]["train_loss"])


def test_a_broken_loss_stops_with_the_names_of_the_terms(make_model, processor, tmp_path):
    trainer = trainer_of(make_model, processor, tmp_path, max_steps=1, save_strategy="no")
    with torch.no_grad():
        trainer.model.model.decoupling.visual.layers[0].weight.fill_(float("nan"))
    with pytest.raises(FloatingPointError, match="visual_mask"):
        trainer.train()


def test_every_auxiliary_argument_arrives(make_model, processor, tmp_path):
    """An option that is accepted and goes nowhere would make an ablation of two equal runs."""
    trainer = trainer_of(
        make_model,
        processor,
        tmp_path,
        {**WEIGHTS, "adversarial": 0.1, "club": 0.1},
        auxiliary=True,
        adversarial_pairing="matched",
        adversarial_loss="non_saturating",
        auxiliary_learning_rate=2e-3,
        discriminator_learning_rate=3e-4,
        auxiliary_hidden=24,
        discriminator_spectral_norm=False,
        discriminator_noise=0.7,
        discriminator_label_smoothing=0.3,
        discriminator_gradient_penalty=5.0,
        club_components=4,
        club_log_variance_bound=2.5,
        club_start=7,
        queue_size=17,
        orthogonality_center=True,
    )
    networks, club = trainer.auxiliary, trainer.auxiliary.club
    assert (networks.pairing, networks.adversarial_loss) == ("matched", "non_saturating")
    assert (club.num_components, club.log_variance_bound, club.trunk[0].out_features) == (4, 2.5, 24)
    assert (networks.queue.size, networks.club_start) == (17, 7)
    for discriminator in (networks.visual_discriminator, networks.text_discriminator):
        options = discriminator.instance_noise, discriminator.label_smoothing, discriminator.gradient_penalty
        assert options == (0.7, 0.3, 5.0)
        assert discriminator.network[0].out_features == 24
        assert not hasattr(discriminator.network[0], "parametrizations")
    rates = {id(p): group["lr"] for group in trainer.auxiliary_optimizer.param_groups for p in group["params"]}
    assert len(rates) == len(list(networks.parameters()))
    assert {rates[id(p)] for p in club.parameters()} == {2e-3}
    assert {rates[id(p)] for p in networks.text_discriminator.parameters()} == {3e-4}
    assert {rates[id(p)] for p in networks.visual_discriminator.parameters()} == {3e-4}
    assert trainer.model.orthogonality_center


@pytest.mark.parametrize("club_steps", [1, 3])
def test_q_learns_club_steps_times_a_step_and_the_discriminators_once(make_model, processor, tmp_path, club_steps):
    weights = {**WEIGHTS, "adversarial": 0.1, "club": 0.1}
    fields = {"max_steps": 2, "save_strategy": "no", "club_steps": club_steps}
    trainer = trainer_of(make_model, processor, tmp_path, weights, auxiliary=True, **fields)
    trainer.train()
    state = trainer.auxiliary_optimizer.state
    assert {int(state[p]["step"]) for p in trainer.auxiliary.club.parameters()} == {2 * club_steps}
    assert {int(state[p]["step"]) for p in trainer.auxiliary.text_discriminator.parameters()} == {2}


def test_a_log_holds_the_offline_estimate(make_model, processor, tmp_path, monkeypatch):
    """The thermometer beside the loss; it reads the queue, which only a longer run has filled."""
    monkeypatch.setattr(offline, "LEAST_PAIRS", 8)
    fields = {"max_steps": 6, "logging_steps": 6, "save_strategy": "no"}
    trainer = trainer_of(make_model, processor, tmp_path, {**WEIGHTS, "club": 0.1}, auxiliary=True, **fields)
    trainer.train()
    entry = trainer.state.log_history[0]
    assert entry["club_offline"] >= 0
    assert entry["club_offline_r2"] <= 1


def test_auxiliary_networks_of_an_older_version_start_anew_and_say_so(make_model, processor, tmp_path, caplog):
    """A checkpoint whose CLUB has no statistics: a wall of missing keys would end an interrupted training."""
    weights, fields = {**WEIGHTS, "club": 0.1}, {"auxiliary": True, "save_steps": 1}
    trainer = trainer_of(make_model, processor, tmp_path, weights, max_steps=1, **fields)
    trainer.train()
    path = tmp_path / "checkpoint-1" / AUXILIARY_FILE
    state = read_state(path)
    state["networks"] = {name: value for name, value in state["networks"].items() if "statistics" not in name}
    write_state(state, path)
    again = trainer_of(make_model, processor, tmp_path, weights, max_steps=2, **fields)
    with caplog.at_level("WARNING"):
        again.train(resume_from_checkpoint=str(tmp_path / "checkpoint-1"))
    assert "start anew" in caplog.text
    assert int(again.auxiliary.steps) == 1


def adversarial_gradients(trainer, step, total, batch):
    """Gradient of W_t and W_v under the adversarial term alone, at a step of a training of `total`."""
    trainer.state.global_step, trainer.state.max_steps = step, total
    trainer.model.zero_grad()
    torch.manual_seed(0)
    trainer.compute_loss(trainer.model, dict(batch)).backward()
    decoupling = trainer.model.model.decoupling
    return [part.layers[0].weight.grad.abs().sum().item() for part in (decoupling.text, decoupling.visual)]


def test_the_game_starts_late_and_ends_early(make_model, processor, batch, tmp_path):
    """Before its start and at the end of its annealing the game gives exactly nothing, in between it does."""
    trainer = trainer_of(
        make_model,
        processor,
        tmp_path,
        {"adversarial": 1.0},
        auxiliary=True,
        discriminator_spectral_norm=False,  # its power iteration moves at every look
        adversarial_start=10,
        adversarial_warmup=5,
        adversarial_anneal="linear",
        adversarial_anneal_steps=20,
    )
    assert adversarial_gradients(trainer, 0, 100, batch) == [0.0, 0.0]
    assert adversarial_gradients(trainer, 9, 100, batch) == [0.0, 0.0]
    full = adversarial_gradients(trainer, 50, 100, batch)
    assert min(full) > 0
    assert adversarial_gradients(trainer, 89, 100, batch) == pytest.approx([value / 2 for value in full], rel=1e-4)
    assert adversarial_gradients(trainer, 99, 100, batch) == [0.0, 0.0]
