"""Accuracy of answers that are right or wrong: multiple choice, yes and no, by group.

Answers with the truth and the groups of their question enter, accuracies leave (paper section 4.1, image and video
chat). `answers` reads the answers. All figures are fractions, but MME's, which are points as its script prints them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from desa2va.training.data.question_sets import ASKED_OF_EACH, COGNITION, MME_TASKS, PERCEPTION, ROTATION

from .answers import LETTER_RULES, YES_NO_RULES, first_letter, infer_choice, read_yes_no
from .collected import Collected, one_of, require_unique
from .uncertainty import exact_mean, mean_with_error

FAILED = ""  # in the place of a letter: no answer came


def grouped_accuracy(hits: Sequence[bool], groups: Sequence[Mapping[str, str]]) -> dict[str, Any]:
    """Accuracy over all questions and within each group.

    Args:
        hits: whether each question was answered rightly; at least one.
        groups: of each question, e.g. `{"category": "Instance Identity", "split": "dev"}`.

    Returns:
        `n`, `accuracy`, `accuracy_se`, and `groups`: per kind of group and name `n` and `accuracy`, sorted by name.
    """
    members: dict[str, dict[str, list[bool]]] = defaultdict(lambda: defaultdict(list))
    for hit, names in zip(hits, groups, strict=True):
        for kind, name in names.items():
            members[kind][str(name)].append(hit)
    accuracy, error = mean_with_error(hits)
    by_group = {
        kind: {name: {"n": len(some), "accuracy": exact_mean(some)} for name, some in sorted(parts.items())}
        for kind, parts in sorted(members.items())
    }
    return {"n": len(hits), "accuracy": accuracy, "accuracy_se": error, "groups": by_group}


class MultipleChoice(Collected):
    """Collects answers to multiple-choice questions (MMBench, SEED-Bench, AI2D, MMStar, ScienceQA).

    An answer that names no option, or several, is wrong. SEED-Bench's accuracy per type and over all questions are
    the groups' and the overall accuracy (its official protocol ranks the losses of the choices instead of reading an
    answer; published numbers of chat models read).

    Args:
        circular: MMBench's protocol: a question counts once, and only if all its rotations were answered rightly.
            Otherwise every row counts.
    """

    def __init__(self, circular: bool = False) -> None:
        super().__init__()
        self.circular = circular

    def add(
        self, index: int, answer: str, options: Mapping[str, str], truth: str, groups: Mapping[str, str] | None = None
    ) -> None:
        """Add one row.

        Args:
            index: of the question; rotation k of question i is `i + k * 1,000,000`.
            answer: what the model wrote. options: texts by capital letter, those that exist.
            truth: the letter.
            groups: e.g. `category`, `l2-category`, `split`; those of the unrotated row count.

        Raises:
            ValueError: the truth is no option.
        """
        if truth not in options:
            raise ValueError(f"question {index}: the true option {truth!r} is not among {', '.join(options)}")
        self.rows.append((int(index), infer_choice(answer, options), truth, dict(groups or {})))

    def compute(self) -> dict[str, Any]:
        """The figures of `grouped_accuracy`, and `unresolved`: rows whose answer named no single option.

        Raises:
            ValueError: no row was added, an index occurs twice, or a rotation has no unrotated row.
        """
        indices, said, truths, groups = self.columns()
        require_unique("question", indices)
        hits = {index: letter == truth for index, letter, truth in zip(indices, said, truths, strict=True)}
        named = dict(zip(indices, groups, strict=True))
        if self.circular:
            whole = {index: True for index in hits if index < ROTATION}
            for index, hit in hits.items():
                if index % ROTATION not in whole:
                    raise ValueError(f"question {index} is a rotation, but question {index % ROTATION} was not added")
                whole[index % ROTATION] &= hit
            hits = whole
        figures = grouped_accuracy(list(hits.values()), [named[index] for index in hits])
        return {**figures, "unresolved": said.count(None)}


class VideoMME(Collected):
    """Collects answers to Video-MME's questions.

    * "official": the first of A to D in the answer; a question without one is left out of the accuracy. Leaving
      questions open can therefore raise it; `answered` says how many were not.
    * "vlmevalkit": every question counts; where there is no such letter, `infer_choice` is tried.

    Args:
        rule: "official" or "vlmevalkit".

    Raises:
        ValueError: unknown rule.
    """

    def __init__(self, rule: str = "official") -> None:
        super().__init__()
        self.rule = one_of("rule", rule, LETTER_RULES)

    def add(self, answer: str | None, options: Mapping[str, str], truth: str, groups: Mapping[str, str]) -> None:
        """Add one question.

        Args:
            answer: what the model wrote; `None` where no answer came, which is wrong by both rules.
            options: texts by letter. truth: the letter.
            groups: `duration` (short, medium, long), `domain`, `sub_category`, `task_type`.

        Raises:
            ValueError: no duration.
        """
        if "duration" not in groups:
            raise ValueError(f"a question of Video-MME needs its duration among its groups, got {sorted(groups)}")
        letter = FAILED if answer is None else first_letter(answer, self.rule)
        if letter is None and self.rule == "vlmevalkit":
            letter = infer_choice(answer, options)
        self.rows.append((letter, truth, dict(groups)))

    def compute(self) -> dict[str, Any]:
        """The measures.

        Returns:
            `n`, `answered`, and for `overall` and each duration the figures of `grouped_accuracy` (`None` where no
            question counts).

        Raises:
            ValueError: no question was added.
        """
        letters, truths, groups = self.columns()
        counted = [place for place, letter in enumerate(letters) if self.rule == "vlmevalkit" or letter is not None]
        figures: dict[str, Any] = {"n": len(self), "answered": len(self) - letters.count(None) - letters.count(FAILED)}
        for duration in ("overall", *sorted({names["duration"] for names in groups})):
            some = [place for place in counted if duration in ("overall", groups[place]["duration"])]
            hits = [letters[place] == truths[place] for place in some]
            figures[duration] = grouped_accuracy(hits, [groups[place] for place in some]) if some else None
        return figures


class YesNo(Collected):
    """Collects answers to yes-no questions.

    Args:
        rule: how answers are read, "official" or "vlmevalkit", see `read_yes_no`.

    Raises:
        ValueError: unknown rule.
    """

    def __init__(self, rule: str = "official") -> None:
        super().__init__()
        self.rule = one_of("rule", rule, YES_NO_RULES)

    def add(self, answer: str, truth: bool, groups: Mapping[str, str] | None = None) -> None:
        """Add one question: what the model wrote, whether yes is right, and its groups."""
        self.rows.append((read_yes_no(answer, self.rule), bool(truth), dict(groups or {})))

    def compute(self) -> dict[str, Any]:
        """The figures of `grouped_accuracy`, and `unresolved`: answers that say neither, which are wrong.

        Raises:
            ValueError: no question was added.
        """
        said, truths, groups = self.columns()
        figures = grouped_accuracy([one == other for one, other in zip(said, truths, strict=True)], groups)
        return {**figures, "unresolved": said.count(None)}


class MME(YesNo):
    """Collects MME's questions, two per picture.

    Score of a task: share of right answers plus share of pictures with both right, times 100 (at most 200). Perception
    is the sum over its ten tasks (at most 2000), cognition over its four (at most 800). VLMEvalKit calls cognition
    "reasoning".
    """

    def add(self, answer: str, truth: bool, task: str, picture: str) -> None:
        """Add one question: what the model wrote, whether yes is right, its task and its picture.

        Raises:
            ValueError: MME has no such task.
        """
        one_of("task", task, MME_TASKS)
        self.rows.append((read_yes_no(answer, self.rule), bool(truth), task, picture))

    def compute(self) -> dict[str, Any]:
        """The measures.

        Returns:
            `n`, `unresolved`; `perception`, `cognition`: sums over the tasks that are there; `missing`: those that are
            not; `tasks`: `score`, `accuracy` and `accuracy_plus` of each, in points.

        Raises:
            ValueError: no question was added, or a picture has not two.
        """
        said, truths, tasks, pictures = self.columns()
        answers: dict[str, dict[str, list[bool]]] = defaultdict(lambda: defaultdict(list))
        for letter, truth, task, picture in zip(said, truths, tasks, pictures, strict=True):
            answers[task][picture].append(letter == truth)
        scores = {task: _task_score(task, answers[task]) for task in MME_TASKS if task in answers}
        sums = {
            name: sum(scores[task]["score"] for task in group if task in scores)
            for name, group in (("perception", PERCEPTION), ("cognition", COGNITION))
        }
        missing = [task for task in MME_TASKS if task not in scores]
        return {"n": len(self), "unresolved": said.count(None), **sums, "missing": missing, "tasks": scores}


def _task_score(task: str, pictures: Mapping[str, Sequence[bool]]) -> dict[str, float]:
    """One task of MME, in points."""
    odd = next((name for name, answers in pictures.items() if len(answers) != ASKED_OF_EACH), None)
    if odd is not None:
        raise ValueError(f"picture {odd!r} of {task} has {len(pictures[odd])} questions; MME asks two of each")
    right = np.asarray(list(pictures.values()))
    accuracy, plus = 100 * exact_mean(right.ravel()), 100 * exact_mean(right.all(axis=1))
    return {"score": accuracy + plus, "accuracy": accuracy, "accuracy_plus": plus}


__all__ = ["MME", "MultipleChoice", "VideoMME", "YesNo", "grouped_accuracy"]
