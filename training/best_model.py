"""What a training is judged by while it runs: the scorer that its program hands it, and when it ends early.

Enters: section `score` of a configuration, and arguments. Leaves: a scorer for the trainer, and callbacks.
(Engineering; no paper section.)
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from transformers import EarlyStoppingCallback, Trainer

from desa2va.modeling_desa2va.modeling_desa2va import DeSa2VAModel

from .arguments import DeSa2VATrainingArguments


class Scorer(Protocol):
    """Asks a model questions while it is trained."""

    def __call__(self, model: DeSa2VAModel, processor: Any) -> dict[str, float]:
        """The figures. A collective call."""

    def figure_names(self) -> set[str]:
        """The names of the figures, before a model has been asked."""


OpenScorer = Callable[[dict[str, Any], Path], Scorer]  # section `score` and a stage's folder to a scorer


def make_scorer(config: dict[str, Any], folder: Path, open_scorer: OpenScorer | None) -> Scorer | None:
    """What section `score` asks for.

    Raises:
        ValueError: it names no benchmark, or this program has no scorer.
    """
    section = config.get("score", {})
    if not section:
        return None
    if "benchmark" not in section:
        raise ValueError("score needs a benchmark, a name of `desa2va eval`")
    if open_scorer is None:
        raise ValueError("score needs `desa2va train` (on several devices `accelerate launch -m desa2va train`)")
    return open_scorer(section, folder)


def check_best(arguments: DeSa2VATrainingArguments, known: set[str], scorer: Scorer | None) -> None:
    """What a training is validated on, and by which figure the best checkpoint is chosen.

    Args:
        arguments: of the stage. known: names that its validation set gives; empty without one. scorer: of its section
            `score`.

    Raises:
        ValueError: a validation of nothing, or a figure that no validation gives.
    """
    if arguments.eval_strategy == "no":
        return
    if not known and scorer is None:
        raise ValueError(f"training.eval_strategy={arguments.eval_strategy.value} needs data.validation or score")
    if arguments.metric_for_best_model is None:
        return
    name = arguments.metric_for_best_model.removeprefix("eval_")
    if scorer is not None and name.startswith("score_"):
        known = known | {f"score_{figure}" for figure in scorer.figure_names()}
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.8)
        remedy = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(sorted(known)) or 'those of score'}"
        raise ValueError(f"training.metric_for_best_model: no validation of this stage gives {name!r}; {remedy}")


def early_stopping(arguments: DeSa2VATrainingArguments) -> list[EarlyStoppingCallback]:
    """The callback of transformers, where patience is limited."""
    if arguments.early_stopping_patience is None:
        return []
    return [EarlyStoppingCallback(arguments.early_stopping_patience, arguments.early_stopping_threshold)]


def stopped_early(trainer: Trainer) -> bool:
    """Whether patience is used up."""
    callbacks = [found for found in trainer.callback_handler.callbacks if isinstance(found, EarlyStoppingCallback)]
    return any(found.early_stopping_patience_counter >= found.early_stopping_patience for found in callbacks)


__all__ = ["OpenScorer", "Scorer", "check_best", "early_stopping", "make_scorer", "stopped_early"]
