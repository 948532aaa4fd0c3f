"""Monitors: what a training's own log says is going wrong, said once, with the argument that changes it.

Enters: the log entries of a run (`state.log_history`). Leaves: findings, at most one of each kind: a warning in the
program's log, and an entry `{"step", "warning", "message"}` in the log history, which `trainer_state.json` and
`stage.json` keep. Section 3.2 of the paper plays a game whose failures are silent: a discriminator that wins, or one
that learns nothing, leaves a loss that looks healthy.

A monitor has no state of its own: it reads the history, so a resumed run neither forgets nor repeats a finding.
"""

from __future__ import annotations

import logging
import math
import statistics
from collections.abc import Callable
from functools import partial
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState

from .arguments import DeSa2VATrainingArguments

logger = logging.getLogger(__name__)

WINDOW = 5  # logs that have to agree
WON = 0.99  # accuracy of a discriminator that is never wrong
CHANCE = 0.02  # how far from 1/2 an accuracy, from an end a gate, from 0 an information may be by chance
LEARNED = 0.6  # accuracy that shows a discriminator once learned something
FLAT = 0.01  # relative change of a loss that does not move
GRADIENT_GROWTH, GRADIENT_DECAY = 20.0, 1e-3  # against the median of the run so far
LANGUAGE_DONE = 0.5  # nats per token under which the language loss need not fall any more

History = list[dict[str, Any]]
Check = Callable[[History, DeSa2VATrainingArguments], "str | None"]


def values_of(history: History, name: str) -> list[float]:
    """All logged values of one name, oldest first."""
    return [entry[name] for entry in history if name in entry]


def window_of(history: History, name: str) -> list[float]:
    """The last `WINDOW` values of one name; empty while there are fewer."""
    values = values_of(history, name)
    return values[-WINDOW:] if len(values) >= WINDOW else []


def discriminator_wins(side: str, history: History, arguments: DeSa2VATrainingArguments) -> str | None:
    """The discriminator of one side is never wrong: reversed, its gradient vanishes; otherwise the weight is too
    small to matter.
    """
    values = window_of(history, f"accuracy_{side}")
    if not values or min(values) < WON or not arguments.weights.get("adversarial", 0):
        return None
    effect, remedy = "the adversarial term does nothing", "adversarial_loss=non_saturating or "
    if arguments.adversarial_loss == "non_saturating":
        effect, remedy = "the adversarial term is too weak for the others", ""
    return (
        f"the {side} discriminator is right on {min(values):.1%} of its features or more: {effect}. Choose {remedy}"
        "adversarial_pairing=matched with weights.adversarial near 1, and watch drift_text and drift_visual; "
        "discriminator_noise, discriminator_gradient_penalty and a lower discriminator_learning_rate soften its "
        "certainty only"
    )


def discriminator_idle(side: str, history: History, arguments: DeSa2VATrainingArguments) -> str | None:
    """The discriminator of one side never learned anything. One that did and is at 1/2 now has met its equal."""
    name = f"accuracy_{side}"
    values, losses = window_of(history, name), window_of(history, "discriminator_loss")
    wanted = arguments.weights.get("adversarial", 0) and arguments.adversarial_pairing != "literal"
    if not values or not wanted or max(values_of(history, name)) > LEARNED:
        return None
    moves = bool(losses) and max(losses) - min(losses) > FLAT * abs(statistics.fmean(losses))
    if moves or any(abs(value - 0.5) > CHANCE for value in values):
        return None
    return (
        f"the {side} discriminator guesses (accuracy {statistics.fmean(values):.2f}) and its loss is flat: it has "
        "learned nothing. Lower discriminator_noise or discriminator_gradient_penalty, raise "
        "discriminator_learning_rate or auxiliary_hidden"
    )


def gate_one_sided(history: History, arguments: DeSa2VATrainingArguments) -> str | None:
    """The fusion takes one mask only."""
    values = window_of(history, "gate")
    if not values or not (max(values) < CHANCE or min(values) > 1 - CHANCE):
        return None
    name, other = ("text", "visual") if max(values) < CHANCE else ("visual", "text")
    return (
        f"the gate is at {statistics.fmean(values):.3f}: the fused mask is the {name} mask and the {other} branch is "
        f"unused. Raise weights.{other}_mask, lower learning_rate, or set model.fusion=mean"
    )


def club_negative(history: History, arguments: DeSa2VATrainingArguments) -> str | None:
    """The raw estimate is below zero, where mutual information cannot be, by more than chance."""
    values = window_of(history, "mutual_information")
    if not values:
        return None
    mean = statistics.fmean(values)
    if mean > -CHANCE or mean > -2 * statistics.stdev(values) / math.sqrt(len(values)):
        return None
    return (
        f"CLUB estimates {mean:.3f} nats per dimension, below zero by more than chance: q does not fit the features "
        "it meets, and the term is clamped to nothing. Raise auxiliary_learning_rate, lower auxiliary_every, or lower "
        "queue_size, whose features are too old"
    )


def club_runs_away(history: History, arguments: DeSa2VATrainingArguments) -> str | None:
    """The estimate is beyond half of `exp(bound)`, about the most that q can claim of standardised features."""
    values, limit = window_of(history, "mutual_information"), 0.5 * math.exp(arguments.club_log_variance_bound)
    if not values or statistics.fmean(values) < limit:
        return None
    return (
        f"CLUB estimates {statistics.fmean(values):.2f} nats per dimension, more than {limit:.2f}: text and visual "
        "prompt have become one. Raise weights.club, or lower club_log_variance_bound if it rises by q alone"
    )


def club_lags(history: History, arguments: DeSa2VATrainingArguments) -> str | None:
    """The running estimate is under half of what a fit to remembered pairs finds: q falls, not the information.

    The offline figure knows linear dependence only, so the running one may well be larger.
    """
    running, offline = window_of(history, "mutual_information"), window_of(history, "club_offline")
    if not running or not offline or not arguments.weights.get("club", 0):
        return None
    estimate, found = statistics.fmean(running), statistics.fmean(offline)
    if found < 5 * CHANCE or estimate > 0.5 * found:
        return None
    return (
        f"CLUB estimates {estimate:.3f} nats per dimension where a fresh fit to remembered pairs finds {found:.3f}: "
        "q lags behind the prompts, and the term is minimised without them. Raise club_steps or "
        "auxiliary_learning_rate, or lower weights.club"
    )


def club_saturated(history: History, arguments: DeSa2VATrainingArguments) -> str | None:
    """The residual of q is under half of the smallest variance it may state: the likelihood measures the bound."""
    bound = arguments.club_log_variance_bound
    values, limit = window_of(history, "club_nll"), 0.5 * (math.log(2 * math.pi) - bound) + 0.25
    if not values or max(values) >= limit or not arguments.weights.get("club", 0):
        return None
    return (
        f"club_nll is {statistics.fmean(values):.2f}, under {limit:.2f}: q is held by its variance bound and "
        "underestimates the information. Raise club_log_variance_bound"
    )


def gradient_explodes(history: History, arguments: DeSa2VATrainingArguments) -> str | None:
    """A gradient norm that is no number, or a window far above the run so far."""
    values = values_of(history, "grad_norm")
    if any(not math.isfinite(value) for value in values[-WINDOW:]):
        return "the gradient norm is not finite. Lower learning_rate; with bf16 or fp16 try without"
    if len(values) < 2 * WINDOW:
        return None
    usual, now = statistics.median(values[:-WINDOW]), statistics.median(values[-WINDOW:])
    if now <= GRADIENT_GROWTH * usual:
        return None
    return (
        f"the gradient norm is {now:.3g}, it was {usual:.3g}. Lower learning_rate (and muon_learning_rate), lengthen "
        "warmup_steps, or lower max_grad_norm"
    )


def gradient_vanishes(history: History, arguments: DeSa2VATrainingArguments) -> str | None:
    """No gradient in any log of the window, measured against the run so far."""
    values = values_of(history, "grad_norm")
    if len(values) < 2 * WINDOW:
        return None
    usual, now = statistics.median(values[:-WINDOW]), max(values[-WINDOW:])
    if not now < GRADIENT_DECAY * usual:
        return None
    return (
        f"the gradient norm is {now:.3g}, it was {usual:.3g}: nothing learns any more. Check that the weights of the "
        "phase's terms are not 0 and that trainable names what should learn, or lower learning_rate and start over"
    )


def language_stuck(history: History, arguments: DeSa2VATrainingArguments) -> str | None:
    """The answers, `[SEG]` among them, are not learned: without them no mask is asked for."""
    values = values_of(history, "loss_language")
    if len(values) < 4 * WINDOW or not arguments.weights.get("language", 0):
        return None
    first, last = statistics.fmean(values[:WINDOW]), statistics.fmean(values[-WINDOW:])
    if last < LANGUAGE_DONE or last < (1 - 2 * FLAT) * first:
        return None
    return (
        f"the language loss is {last:.2f} and was {first:.2f}: answers and their [SEG] are not learned. Raise "
        "weights.language or lora_rank, use language_model=full, or lower learning_rate if it rises"
    )


CHECKS: dict[str, Check] = {
    **{f"discriminator_{side}_wins": partial(discriminator_wins, side) for side in ("visual", "text")},
    **{f"discriminator_{side}_idle": partial(discriminator_idle, side) for side in ("visual", "text")},
    "gate_one_sided": gate_one_sided,
    "club_negative": club_negative,
    "club_runs_away": club_runs_away,
    "club_lags": club_lags,
    "club_saturated": club_saturated,
    "gradient_explodes": gradient_explodes,
    "gradient_vanishes": gradient_vanishes,
    "language_stuck": language_stuck,
}


def warnings_of(history: History) -> list[dict[str, Any]]:
    """The findings a log history holds, each `{"step", "warning", "message"}`."""
    return [entry for entry in history if "warning" in entry]


class TrainingMonitor(TrainerCallback):
    """Runs `CHECKS` after every logging step."""

    def on_log(
        self,
        args: DeSa2VATrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Warns of what is new and writes it into `state.log_history`."""
        if "loss" not in (logs or {}):
            return
        known = {entry["warning"] for entry in warnings_of(state.log_history)}
        for kind, check in CHECKS.items():
            message = None if kind in known else check(state.log_history, args)
            if message is None:
                continue
            state.log_history.append({"step": state.global_step, "warning": kind, "message": message})
            if state.is_world_process_zero:
                logger.warning("step %d, %s: %s", state.global_step, kind, message)


__all__ = ["CHECKS", "TrainingMonitor", "warnings_of"]
