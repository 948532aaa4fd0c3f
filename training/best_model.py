"""What a training is judged by while it runs: the scorer that its program hands it, and when it ends early.

Enters: section `score` of a configuration, and arguments. Leaves: a scorer for the trainer, and callbacks.
(Engineering; no paper section.)
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from transformers import EarlyStoppingCallback, Trainer

from desa2va.modeling_desa2va.modeling_desa2va import DeSa2VAModel

from .arguments import DeSa2VATrainingArguments

Scorer = Callable[[DeSa2VAModel, Any], dict[str, float]]  # model and processor to figures
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


def early_stopping(arguments: DeSa2VATrainingArguments) -> list[EarlyStoppingCallback]:
    """The callback of transformers, where patience is limited."""
    if arguments.early_stopping_patience is None:
        return []
    return [EarlyStoppingCallback(arguments.early_stopping_patience, arguments.early_stopping_threshold)]


def stopped_early(trainer: Trainer) -> bool:
    """Whether patience is used up."""
    callbacks = [found for found in trainer.callback_handler.callbacks if isinstance(found, EarlyStoppingCallback)]
    return any(found.early_stopping_patience_counter >= found.early_stopping_patience for found in callbacks)


__all__ = ["OpenScorer", "Scorer", "early_stopping", "make_scorer", "stopped_early"]
