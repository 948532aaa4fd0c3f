"""Kept answers to scores, by one process or by several at once: J and F of long videos take longer than their answers.

Enters: a plan and its answers. Leaves: what was scored, in the order of the plan, the same whoever scored it.
(Engineering; no paper section.)
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from desa2va.eval.metrics.collected import Collected

from .answer_file import AnswerFolder
from .plan import Plan
from .questions import FAILED, Scores

_SHARES = 4  # of a worker: one that has the long videos must not keep the others waiting
Fresh = Callable[[], Scores | None]
Opened = tuple[Fresh, Plan, AnswerFolder]


@dataclass
class Scored:
    """Scored units.

    Attributes:
        scores: what the figures are made of; `None` where the truth is not public. samples: their values.
        failed: ids and reasons. seconds: of every unit.
    """

    scores: Scores | None
    samples: list[dict[str, Any]] = field(default_factory=list)
    failed: list[dict[str, str]] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)


def score_units(scores: Scores | None, plan: Plan, answers: AnswerFolder, units: Iterable[int]) -> Scored:
    """Scores some units.

    Args:
        scores: fresh. plan, answers: of the run. units: their numbers.

    Raises:
        ValueError: an answer that does not fit its sample; it is named.
    """
    found = Scored(scores)
    for unit in units:
        questions = plan.questions(unit)
        given, spent = answers.read(unit, [question.id for question in questions])
        found.seconds.append(spent)
        for question, answer in zip(questions, given, strict=True):
            values = scores.add(question, answer) if scores else {}
            expression = question.dialogue.ids.get("text", question.prompt)
            found.samples.append({"id": question.id, "expression": expression, "status": answer.status, **values})
            if answer.status == FAILED:
                found.failed.append({"id": question.id, "reason": answer.reason})
    return found


def score_with_workers(scores: Scores | None, opened: Callable[[], Opened], units: int, workers: int) -> Scored:
    """Scores all units by several processes.

    Args:
        scores: fresh. opened: to fresh scores, the plan and the answers; goes to each process by pickle.
        units: their number. workers: of processes.

    Raises:
        ValueError: see `score_units`.
    """
    count = min(units, workers * _SHARES)
    borders = [units * share // count for share in range(count + 1)]
    found = Scored(scores)
    # Not forked: a process that has asked a model has threads and perhaps a GPU, which do not survive that.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, initializer=_prepare, initargs=(opened,)) as pool:
        for collected, part in pool.map(_score_share, pairwise(borders)):
            found.samples += part.samples
            found.failed += part.failed
            found.seconds += part.seconds
            if scores is not None:
                join_scores(scores, collected)
    return found


_WORKER: dict[str, Any] = {}  # of a worker's process: how the run is opened, then the run


def _prepare(opened: Callable[[], Opened]) -> None:
    _WORKER["opened"] = opened


def _score_share(borders: tuple[int, int]) -> tuple[dict[str, Any], Scored]:
    """One share: what its scores collected, and the rest. Opened here, where errors are told by their words."""
    if "run" not in _WORKER:
        _WORKER["run"] = _WORKER["opened"]()
    fresh, plan, answers = _WORKER["run"]
    found = score_units(fresh(), plan, answers, range(*borders))
    collected = {} if found.scores is None else collected_by(found.scores)
    found.scores = None
    return collected, found


def collected_by(scores: Any) -> dict[str, Any]:
    """What samples have left in it: metrics, lists, dictionaries and scores of groups. All else is a setting, also a
    mapping that can only be read.
    """
    kinds = (Collected, list, dict)
    return {
        name: value for name, value in vars(scores).items() if isinstance(value, kinds) or hasattr(value, "figures")
    }


def join_scores(scores: Any, collected: dict[str, Any]) -> None:
    """Adds what another has collected, which comes behind its own."""
    for name, value in collected.items():
        setattr(scores, name, _joined(getattr(scores, name), value))


def _joined(own: Any, other: Any) -> Any:
    if isinstance(own, Collected):
        own.merge(other)
    elif isinstance(own, list):
        own.extend(other)
    elif isinstance(own, dict):
        for key, value in other.items():
            own[key] = _joined(own[key], value) if key in own else value
    elif hasattr(own, "figures"):
        join_scores(own, collected_by(other))
    return own


__all__ = ["Scored", "collected_by", "join_scores", "score_units", "score_with_workers"]
