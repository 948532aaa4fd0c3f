"""Monitors: each finding on a log that shows it, silence on one that does not, and never twice."""

import json
import logging
import math
import types

import pytest

from desa2va.training.arguments import DeSa2VATrainingArguments
from desa2va.training.monitors import CHECKS, WINDOW, TrainingMonitor, warnings_of

HEALTHY = {
    "loss": 1.0,
    "accuracy_visual": 0.7,
    "accuracy_text": 0.65,
    "discriminator_loss": 2.0,
    "gate": 0.6,
    "mutual_information": 0.2,
    "club_nll": 1.1,
    "club_offline": 0.25,
    "grad_norm": 3.0,
    "loss_language": 0.3,
}


@pytest.fixture(scope="module")
def arguments(tmp_path_factory):
    return DeSa2VATrainingArguments(output_dir=str(tmp_path_factory.mktemp("run")), use_cpu=True)


def history_of(length=6 * WINDOW, start=0, **changes):
    """A healthy log of `length` entries; a change is a value, or a list of the last values."""
    history = [{"step": 10 * (start + i), **HEALTHY} for i in range(length)]
    for name, value in changes.items():
        values = value if isinstance(value, list) else [value] * length
        for entry, one in zip(history[-len(values) :], values, strict=True):
            entry[name] = one
    return history


def found(history, arguments):
    return {kind for kind, check in CHECKS.items() if check(history, arguments)}


def test_a_healthy_log_is_quiet(arguments):
    assert found(history_of(), arguments) == set()
    assert found([], arguments) == set()


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("discriminator_visual_wins", {"accuracy_visual": [1.0] * WINDOW}),
        ("discriminator_text_wins", {"accuracy_text": [0.992] * WINDOW}),
        ("discriminator_text_idle", {"accuracy_text": 0.51}),
        ("gate_one_sided", {"gate": [0.005] * WINDOW}),
        ("gate_one_sided", {"gate": [0.995] * WINDOW}),
        ("club_negative", {"mutual_information": [-0.09, -0.1, -0.11, -0.1, -0.1], "club_offline": 0.0}),
        ("club_runs_away", {"mutual_information": [12.0] * WINDOW}),
        ("club_lags", {"mutual_information": [0.1] * WINDOW, "club_offline": [0.5] * WINDOW}),
        ("club_saturated", {"club_nll": [-0.5] * WINDOW}),
        ("gradient_explodes", {"grad_norm": [90.0] * WINDOW}),
        ("gradient_explodes", {"grad_norm": [math.nan]}),
        ("gradient_vanishes", {"grad_norm": [1e-5] * WINDOW}),
        ("language_stuck", {"loss_language": 2.0}),
    ],
)
def test_every_failure_is_found_and_nothing_else(arguments, kind, changes):
    assert found(history_of(**changes), arguments) == {kind}


@pytest.mark.parametrize(
    "changes",
    [
        {"accuracy_visual": [1.0] * (WINDOW - 1)},  # not yet long enough
        {"accuracy_visual": [1.0, 1.0, 0.9, 1.0, 1.0]},
        {"accuracy_text": [0.5] * WINDOW},  # it had learned before: equilibrium, not idleness
        {"accuracy_text": 0.51, "discriminator_loss": [2.4, 2.2, 2.0, 1.8, 1.6]},  # still learning
        {"gate": [0.99, 0.99, 0.9, 0.99, 0.99]},
        {"mutual_information": [-0.3, 0.25, -0.28, 0.3, -0.2], "club_offline": 0.0},  # negative by chance
        {"mutual_information": [4.2] * WINDOW, "club_offline": [4.26] * WINDOW, "club_nll": 0.59},  # correlation .9
        {"mutual_information": [2.0] * WINDOW},  # q sees more than a linear fit
        {"grad_norm": [3.0, 80.0, 3.0, 2.0, 90.0]},  # single steps
        {"grad_norm": [1e-6, 1e-6, 3.0, 1e-6, 1e-6]},  # batches without objects
        {"loss_language": [2.0] * (5 * WINDOW) + [1.0] * WINDOW},
        {"loss_language": [0.2] * (5 * WINDOW) + [0.4] * WINDOW},  # learned already, a little noise
    ],
)
def test_what_looks_alike_and_is_none(arguments, changes):
    assert found(history_of(**changes), arguments) == set()


def test_a_game_that_is_off_is_not_judged(tmp_path):
    off = DeSa2VATrainingArguments(output_dir=str(tmp_path), weights={"language": 1.0}, use_cpu=True)
    assert found(history_of(accuracy_visual=1.0, club_nll=-0.5, club_offline=3.0), off) == set()
    literal = DeSa2VATrainingArguments(output_dir=str(tmp_path), adversarial_pairing="literal", use_cpu=True)
    assert found(history_of(accuracy_visual=0.5, accuracy_text=0.5), literal) == set()


def test_the_remedy_for_a_lost_game_is_not_what_is_set_already(tmp_path, arguments):
    """The non-saturating loss has a gradient there: "does nothing, choose it" would be wrong twice."""
    chosen = DeSa2VATrainingArguments(output_dir=str(tmp_path), adversarial_loss="non_saturating", use_cpu=True)
    for one, words in ((arguments, "does nothing. Choose adversarial_loss=non_saturating"), (chosen, "too weak")):
        message = CHECKS["discriminator_visual_wins"](history_of(accuracy_visual=1.0), one)
        assert words in message
    assert "non_saturating" not in message


def test_a_finding_names_arguments_that_exist(arguments):
    """The remedy is the point of a warning; a renamed argument must not leave it behind."""
    changes = {"accuracy_visual": 1.0, "accuracy_text": 0.5, "gate": 0.999, "club_nll": -0.5, "grad_norm": [99.0] * 5}
    changes |= {"loss_language": 2.0, "mutual_information": [12.0] * 5, "club_offline": 50.0}
    histories = [history_of(**changes), history_of(mutual_information=[-1.0] * 5, grad_norm=[1e-9] * 5)]
    messages = [check(history, arguments) for history in histories for check in CHECKS.values()]
    messages = [message for message in messages if message]
    assert len(messages) >= 10
    for message in messages:
        words = {word.strip(".,:;()").split("=")[0].split(".")[0] for word in message.split()}
        assert words & (set(vars(arguments)) | {"model"}), message
        logged = {"visual_mask", "club_nll", "drift_text", "drift_visual"}
        unknown = {word for word in words if "_" in word} - set(vars(arguments)) - logged
        assert not unknown, unknown


def state_of(history):
    return types.SimpleNamespace(
        log_history=list(history), global_step=history[-1]["step"], is_world_process_zero=True
    )


def test_a_finding_is_told_once_and_kept(arguments, caplog):
    """A warning at every log would bury the run; a resumed run reads its history and does not repeat it."""
    history = history_of(gate=0.999)
    state, monitor = state_of(history), TrainingMonitor()
    with caplog.at_level(logging.WARNING):
        monitor.on_log(arguments, state, None, logs=history[-1])
        monitor.on_log(arguments, state, None, logs=history[-1])
        resumed = state_of(json.loads(json.dumps(state.log_history)))
        resumed.log_history.append({**history[-1], "step": 9999})
        TrainingMonitor().on_log(arguments, resumed, None, logs=history[-1])
    assert len(caplog.records) == 1
    assert "model.fusion" in caplog.text
    kept = warnings_of(resumed.log_history)
    assert [(entry["step"], entry["warning"]) for entry in kept] == [(history[-1]["step"], "gate_one_sided")]


def test_only_logs_of_steps_are_read(arguments):
    state = state_of(history_of(gate=0.999))
    TrainingMonitor().on_log(arguments, state, None, logs={"train_loss": 1.0})
    assert warnings_of(state.log_history) == []
