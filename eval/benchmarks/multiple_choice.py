"""Multiple choice: MMBench, SEED-Bench (also about parts of videos), AI2D, MMStar and ScienceQA.

Enters: the name of a benchmark, `<set>-<split>`. Leaves: what it asks and how it scores, as VLMEvalKit does without a
judge ("exact matching"): the option that an answer names by its letter or else by its text (`infer_choice`), and an
answer that names none, or several, is wrong. (With a judge that can not tell either, VLMEvalKit draws an option at
random; no judge, no draw.) MMBench asks every question once for each rotation of its options, and a question is right
if it is right every time; of its test splits a server alone knows the answers. (Paper section 4.1.)
"""

from __future__ import annotations

from collections import Counter
from string import ascii_uppercase
from typing import Any

from desa2va.eval.metrics.answers import infer_choice
from desa2va.eval.metrics.choices import MultipleChoice
from desa2va.training.data.question_sets import ROTATION
from desa2va.training.data.readers import FRAMES, HIDDEN, QUESTION_GROUPS

from .questions import Answer, Benchmark, Question
from .submission import AnswerTable

CIRCULAR = ("mmbench", "mmbench_v11")
WORDING = (
    'hint, question, options by letter, "Answer with the option\'s letter from the given choices directly." '
    "(in Chinese where the question is)"
)
PROTOCOL = "VLMEvalKit with exact matching: an answer that names no option, or several, is wrong"
CIRCULAR_PROTOCOL = (
    f"{PROTOCOL}; circular: a question is right if it is under all rotations of its options; vanilla: unrotated alone"
)
HIDDEN_PROTOCOL = "the answers are not public: submission.tsv is what MMBench's server scores"
VIDEO_PROTOCOL = f"{PROTOCOL}; {FRAMES} frames, frame i at i/{FRAMES + 1} of the part that is asked about"
Row = tuple[int, str, dict[str, str], str, dict[str, str]]


class ChoiceScores:
    """Accuracy over samples and by their groups."""

    def __init__(self) -> None:
        self.metric = MultipleChoice()

    def add(self, question: Question, answer: Answer) -> dict[str, Any]:
        """Score one sample: the option that was `chosen`, if one was, the `truth`, and whether it is `right`."""
        self.metric.add(*row_of(question, answer))
        return judged_choice(question, answer)

    def figures(self) -> dict[str, Any]:
        """Those of `MultipleChoice`."""
        return self.metric.compute()


class CircularScores:
    """`circular` and `vanilla` accuracy. Of a limited run the former counts questions that had all their rotations."""

    def __init__(self) -> None:
        self._rows: list[Row] = []
        self._due: dict[int, int] = {}

    def add(self, question: Question, answer: Answer) -> dict[str, Any]:
        """As `ChoiceScores.add`."""
        self._rows.append(row_of(question, answer))
        self._due[self._rows[-1][0] % ROTATION] = _rotations(question)
        return judged_choice(question, answer)

    def figures(self) -> dict[str, Any]:
        """Those of `MultipleChoice` in both protocols; `None` where no question counts."""
        asked = Counter(index % ROTATION for index, *_ in self._rows)
        circular, vanilla = MultipleChoice(circular=True), MultipleChoice()
        for row in self._rows:
            base = row[0] % ROTATION
            if asked[base] == self._due[base]:
                circular.add(*row)
            if row[0] == base:
                vanilla.add(*row)
        both = {"circular": circular, "vanilla": vanilla}
        return {name: metric.compute() if len(metric) else None for name, metric in both.items()}


def row_of(question: Question, answer: Answer) -> Row:
    """What `MultipleChoice.add` takes."""
    ids = question.dialogue.ids
    return int(ids["index"]), answer.text, options_of(question), str(ids["answer"]), groups_of(question)


def judged_choice(question: Question, answer: Answer) -> dict[str, Any]:
    """An answer's own values, for the report."""
    chosen, truth = infer_choice(answer.text, options_of(question)), str(question.dialogue.ids["answer"])
    return {"answer": answer.text, "chosen": chosen, "truth": truth, "right": chosen == truth}


def options_of(question: Question) -> dict[str, str]:
    """The options of a question by letter."""
    ids = question.dialogue.ids
    return {letter: str(ids[letter]) for letter in ascii_uppercase if letter in ids}


def groups_of(question: Question) -> dict[str, str]:
    """The groups that a question counts in."""
    ids = question.dialogue.ids
    return {name: str(ids[name]) for name in QUESTION_GROUPS if name in ids}


def _rotations(question: Question) -> int:
    """How often the data set asks a question; its rotations share its picture and with it its record."""
    base = int(question.dialogue.ids["index"]) % ROTATION
    return sum(int(dialogue.ids["index"]) % ROTATION == base for dialogue in question.record.dialogues)


def _protocol(split: str, circular: bool) -> str:
    if split in HIDDEN:
        return HIDDEN_PROTOCOL
    return VIDEO_PROTOCOL if split == "video" else CIRCULAR_PROTOCOL if circular else PROTOCOL


def benchmark(name: str) -> Benchmark:
    """The benchmark of a name."""
    dataset, split = name.split("-")
    circular, hidden = dataset in CIRCULAR, split in HIDDEN
    return Benchmark(
        name=name,
        protocol=_protocol(split, circular),
        id_names=("question_id",) if split == "video" else ("index",),
        wording=WORDING,
        scores=None if hidden else lambda root: CircularScores() if circular else ChoiceScores(),
        submission=AnswerTable() if hidden else None,
        masks=False,
    )


__all__ = [
    "PROTOCOL",
    "WORDING",
    "ChoiceScores",
    "CircularScores",
    "benchmark",
    "groups_of",
    "judged_choice",
    "options_of",
    "row_of",
]
